"""A linear or moving operator on quantized tensors: an accumulator with integer weights. Knows no quantizer."""
