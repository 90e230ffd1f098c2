"""Place cores without regard to traffic, for comparison: row by row, at random, or along a Hilbert curve."""

from __future__ import annotations

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.place.bounds import usable_cells


def row_major(cores: int, chip: ChipSpec) -> Int:
    """Place cores row by row over the working cells; returns x, y of each."""
    return usable_cells(chip)[:cores]


def at_random(cores: int, chip: ChipSpec, seed: int) -> Int:
    """Place cores at random over the working cells; returns x, y of each."""
    cells = usable_cells(chip)
    return np.random.default_rng(seed).permutation(cells)[:cores]


def hilbert(cores: int, chip: ChipSpec) -> Int:
    """Place cores along the Hilbert curve of the smallest square around the grid; returns x, y of each."""
    cells = usable_cells(chip)
    return cells[np.argsort(_along(cells, max(chip.grid)), kind="stable")][:cores]


def _along(cells: Int, side: int) -> Int:
    """Return the index of each cell on the curve: quadrant by quadrant, each turned so that neighbours connect."""
    x, y = cells.T.copy()
    found = np.zeros(len(cells), np.int64)
    half = 1 << max(0, (side - 1).bit_length() - 1)
    while half:
        right, lower = (x & half) > 0, (y & half) > 0
        found += half * half * ((3 * right) ^ lower)
        flip = right & ~lower
        x, y = np.where(flip, ~x, x) & (half - 1), np.where(flip, ~y, y) & (half - 1)
        x, y = np.where(lower, x, y), np.where(lower, y, x)
        half >>= 1
    return found
