"""Simulate cycles and energy of cores and network (docs/timing.md)."""
