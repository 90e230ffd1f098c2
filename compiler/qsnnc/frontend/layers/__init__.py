"""Turn an accumulator and a quantizer into a layer with integer thresholds. Pure functions."""
