"""What stays off the chip: encoder.onnx and readout.onnx."""
