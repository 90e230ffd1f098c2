"""Simulate the network on chip: single-flit packets on a mesh, with or without contention."""
