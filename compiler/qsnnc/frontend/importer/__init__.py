"""Read an ONNX file as a checked model; refuse by name what is not supported."""
