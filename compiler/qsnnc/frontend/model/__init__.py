"""An ONNX graph as frozen data, with onnxruntime (optimisation off) as its meaning. Interprets nothing."""
