"""Hold an ONNX graph as frozen data, with onnxruntime (optimisation off) as the reference for its results."""
