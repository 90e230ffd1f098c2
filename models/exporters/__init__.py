"""Four networks trained on the digits, quantized and exported by other tools."""
