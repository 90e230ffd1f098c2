"""The network on chip: single-flit packets on a mesh, with or without contention; it knows nothing of spikes."""
