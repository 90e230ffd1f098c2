"""A run of elementwise operators as a quantizer: its levels, bounds and thresholds, found by evaluation. Knows no layer."""
