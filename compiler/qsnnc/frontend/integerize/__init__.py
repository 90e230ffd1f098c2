"""Visit the nodes in order, decide which operators form a quantizer, and emit layers. The only package with state."""
