"""Find the levels, error bounds and thresholds of a run of elementwise operators by evaluating it."""
