"""When, how much, and what is in the way: the cycles of cores and network, and energy (docs/timing.md)."""
