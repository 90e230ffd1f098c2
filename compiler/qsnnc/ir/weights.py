"""Count the bits that integer weights need."""

from __future__ import annotations

from qsnnc.ir.layers import Connection, Int


def bits_needed(weights: Int) -> int:
    """Count the bits that the weights need: 1 for {0, 1}, else two's complement."""
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    if low >= 0 and high <= 1:
        return 1
    return max(1, (-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


def bits_of_connections(connections: tuple[Connection, ...]) -> int:
    """Count the bits of the widest weight of a layer's connections."""
    return max(bits_needed(link.weights) for link in connections)


def weight_range(bits: int) -> tuple[int, int]:
    """Return the smallest and largest weight of a width: 0 and 1 for one bit, else two's complement."""
    return (0, 1) if bits == 1 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
