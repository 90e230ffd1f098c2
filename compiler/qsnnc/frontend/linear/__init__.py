"""Turn linear and data-movement operators on quantized tensors into accumulators with integer weights."""
