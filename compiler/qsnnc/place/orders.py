"""Placements that know no traffic, to measure others against: row by row, at random, along a Hilbert curve."""

from __future__ import annotations

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.place.bounds import usable_cells


def row_major(cores: int, chip: ChipSpec) -> Int:
    """x, y of each core: row by row over the cells that work."""
    return usable_cells(chip)[:cores]


def at_random(cores: int, chip: ChipSpec, seed: int) -> Int:
    """x, y of each core: any cells that work."""
    cells = usable_cells(chip)
    return np.random.default_rng(seed).permutation(cells)[:cores]


def hilbert(cores: int, chip: ChipSpec) -> Int:
    """x, y of each core: along the Hilbert curve of the smallest square that holds the grid, over the cells that work."""
    cells = usable_cells(chip)
    return cells[np.argsort(_along(cells, max(chip.grid)), kind="stable")][:cores]


def _along(cells: Int, side: int) -> Int:
    """Where on the curve each cell lies: quadrant by quadrant, each turned so that its neighbours connect."""
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
