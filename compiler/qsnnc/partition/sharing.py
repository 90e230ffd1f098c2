"""Prove that a layer needs more cores than `bounds` says, by which output positions can share a core.

Consider any tiling, and a core with fold f that holds n neurons. Let cap_f(p) be a number that no core with fold f exceeds
in neurons if it holds one of output position p. Charge each neuron of the core 1 / cap_f(p) of a core, p being its output
position. As n <= cap_f(p) for each of them, the core's neurons are charged at most n * 1/n = 1 together. So there are at
least as many cores as all neurons are charged, and output position p is charged at least the cheapest way to distribute its
neurons over folds.

If no other output position can be in a core with p at fold f, a core there holds neurons of p alone: p may then be charged
whole cores, ceil(n_p / c_f) for n_p neurons and c_f neurons a core.

cap_f(p) comes from trying all sets of output positions that contain p and together read no more axons than a core has
(`kernel.most_beside`): at most the neurons of the largest, and the columns of a core. A set with p has only output positions
that fit a core together with p. If all that do share a tile with p, they are few, and all sets can be tried.

As in `bounds`, an axon counts as read by all neurons of an output position.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.lower.neurons import NeuronLayer
from qsnnc.partition.bounds import Bound

#: sets of output positions that are tried for each of them and fold
BUDGET = 2_000
#: output positions up to which a layer is looked at
MOST_OUTPUTS = 100_000


def sharing_bound(neurons: NeuronLayer, chip: ChipSpec, bound: Bound) -> Bound:
    """Return a bound of a layer's cores that is at least the one given."""
    sizes = neurons.output_size
    if len(sizes) > MOST_OUTPUTS:
        return bound
    limits = [(chip.columns // (fold * neurons.weight_bits), fold * chip.axons) for fold in chip.folds]
    limits = [(room, axons) for room, axons in limits if room]
    cores = fewest_cores(neurons.output_tiles, neurons.tile_width, sizes, limits)
    return replace(bound, cores=cores, limiting="axons") if cores > bound.cores else bound


def fewest_cores(tiles: Int, width: Int, size: Int, limits: list[tuple[int, int]], budget: int = BUDGET) -> int:
    """Bound the cores of some output positions from below.

    Parameters
    ----------
    tiles : ndarray, int64, (output positions, taps)
        What each reads; -1 is the padding.
    width, size : ndarray, int64, (tiles,) and (output positions,)
        Axons of each tile, neurons of each output position.
    limits : list of (int, int)
        Neurons and axons of a core, for each fold: fewer neurons, more axons from one to the next.
    """
    from qsnnc.partition import kernel  # numba, as in `fill`

    mine = np.flatnonzero(size > 0)
    tiles, size = np.ascontiguousarray(tiles[mine], np.int64), size[mine].astype(np.int64)
    width = width.astype(np.int64)
    if not len(size):
        return 0
    start, readers = _readers(tiles, len(width))
    axons = _axons(tiles, width)
    caps = np.zeros((len(size), len(limits), 2), np.int64)
    found = np.empty((len(size), 2), np.int64)
    for fold, (room, most) in enumerate(limits):
        held, chosen = np.zeros(len(width), np.int64), np.full(len(size), -1, np.int64)
        near = np.empty_like(chosen), np.empty_like(chosen)
        kernel.most_beside(tiles, width, size, start, readers, axons, room, most, budget, held, chosen, *near, found)
        caps[:, fold] = found
    rows, count = np.unique(np.concatenate([size[:, None], caps.reshape(len(size), -1)], axis=1), axis=0, return_counts=True)
    rooms = [room for room, _ in limits]
    charged = (
        _charge(int(row[0]), row[1:].reshape(-1, 2).tolist(), rooms) * times
        for row, times in zip(rows, count.tolist(), strict=True)
    )
    return ceil(sum(charged, Fraction(0)))


def _charge(size: int, caps: list[list[int]], rooms: list[int]) -> Fraction:
    """The fewest cores that an output position can be charged: whole ones where it is alone, and parts of shared ones."""
    alone = max((room for (cap, single), room in zip(caps, rooms, strict=True) if cap and single), default=0)
    shared = max((cap for cap, single in caps if not single), default=0)
    assert alone or shared, "a neuron that fits no core must have been refused before"
    if not shared:
        return Fraction(-(-size // alone))
    whole = range(-(-size // alone) + 1) if alone else range(1)
    return min(k + Fraction(max(0, size - k * alone), shared) for k in whole)


def _axons(tiles: Int, width: Int) -> Int:
    """Axons that each output position reads; a tile counts once."""
    ordered = np.sort(tiles, axis=1)
    new = (np.diff(ordered, axis=1, prepend=-1) > 0) & (ordered >= 0)
    return np.asarray(np.where(new, width[ordered], 0).sum(axis=1), np.int64)


def _readers(tiles: Int, count: int) -> tuple[Int, Int]:
    """Where the readers of each tile begin, (tiles + 1,), and the output positions that read it."""
    output = np.repeat(np.arange(len(tiles)), tiles.shape[1])
    flat = tiles.reshape(-1)
    order = np.argsort(flat, kind="stable")
    order = order[np.searchsorted(flat[order], 0) :]
    return np.searchsorted(flat[order], np.arange(count + 1)), output[order]
