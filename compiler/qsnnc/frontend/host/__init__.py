"""Build the parts that stay off the chip: encoder.onnx and readout.onnx."""
