"""The range of every number that an option takes, light to import: help texts state them, functions check them."""

from __future__ import annotations

MANY = (1 << 31) - 1  # of what is counted: images, cores, packets
SEED = (1 << 63) - 1
THREADS = 1024
BATCH = 1 << 20  # images
WORKERS = 1024  # of a cluster that is started here
SEEDS = 100_000  # of a sweep, for each rate
RUNS = 1_000_000  # of a sweep
LEVEL = (1 << 20) - 1  # of an activation
EFFORT = 1000  # of the placement, times the default

# the network alone
SIDE = 1024  # of a mesh
FLITS = 1 << 20  # of a FIFO
CYCLES = 1 << 30  # measured, and before
STEP_CYCLES = 1024  # in a router, on a link, until a credit is known

#: what one value of an option may be long in characters
CHARACTERS = 4096
