"""The only stateful room: visits the nodes in order, decides when a run of operators is a quantizer, and emits layers."""
