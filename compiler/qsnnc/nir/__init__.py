"""Spiking networks from NIR files (HDF5): read, interpreted under stated semantics, and put on an integer grid.

`reading` and `writing` know the file, `flattening` the edges, `semantics` what a producer means, `neurons` and `tensors`
what a node computes, `grid` how floats become integers, `integerize` the layer graph that comes of it.
"""
