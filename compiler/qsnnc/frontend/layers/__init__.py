"""An accumulator and a quantizer as a layer with integer thresholds: pure functions."""
