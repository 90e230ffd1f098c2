"""Bound and prove float32 arithmetic: exact sums and interval rules. Independent of ONNX graphs and tensors."""
