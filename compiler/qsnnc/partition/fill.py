"""Fill cores with output positions, in an order whose neighbours share axons, up to the limits of a core."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.lower.neurons import NeuronLayer
from qsnnc.partition.bounds import Bound, smallest_folds

#: output positions that may be visited while looking for a better order, beside the first try
EFFORT = 40_000
#: most cores times target entries for which a filling with full target tables is looked for
MOST_SPREAD = 1 << 31
#: how far above the mean a core's target entries may lie before a more even filling is looked for
UNEVEN = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """Cores of a layer at one fold, as slices of its output positions."""

    fold: int
    slices: Int  # (slices, 4): core, output position, its first neuron, its last + 1; in the order of the cores
    cores: int
    axons: int  # summed over the cores: what replication costs
    peak: int  # target entries of the core that has most: it sends a packet for each

    @property
    def rank(self) -> tuple[int, int, int]:
        """Sort key: fewer cores first, then fewer axons, then a lower peak."""
        return self.cores, self.axons, self.peak


def fill(neurons: NeuronLayer, chip: ChipSpec, entries: Int, bound: Bound) -> Filling:
    """Find the best filling over orders and folds, and of output positions with few axons apart from the rest.

    Parameters
    ----------
    entries : ndarray, int64, (elements of the layer,)
        Target entries of each neuron.
    """
    outputs = OutputPositions(neurons, entries)
    least = smallest_folds(neurons, chip)
    effort = EFFORT + len(least)
    folds = [f for f in chip.folds if f >= least.max() and f * neurons.weight_bits <= chip.columns]
    folds.sort(key=lambda f: (f != bound.fold, f))
    best = _best(outputs, chip, [[fold] for fold in folds[:3]], [least >= 0], bound, effort)
    if best.cores > bound.cores and len(np.unique(least)) > 1:
        groups = [least == fold for fold in np.unique(least)]
        choices = [[int(fold) for fold in np.unique(least)]]
        apart = _best(outputs, chip, choices, groups, bound, effort)
        best = min(best, apart, key=lambda filling: filling.rank)
    narrow = best.cores > bound.cores and bound.limiting == "targets"
    if narrow and bound.cores * outputs.entries.size <= MOST_SPREAD:
        best = min([best, *(outputs.spread(fold, chip) for fold in folds[:2])], key=lambda filling: filling.rank)
    if best.peak * best.cores > UNEVEN * int(entries[neurons.output_elements].sum()):
        even = outputs.cut(outputs.dealt(best.cores), best.fold, chip)
        best = min(best, even, key=lambda filling: filling.rank)
    return best


def _best(
    outputs: OutputPositions,
    chip: ChipSpec,
    choices: list[list[int]],
    groups: list[npt.NDArray[np.bool_]],
    bound: Bound,
    effort: int,
) -> Filling:
    """Find the best filling over the orders and over choices of a fold for each group of output positions."""
    best: Filling | None = None
    for folds in choices:
        for order in orders(outputs.neurons, outputs.entries):
            if best is not None and effort < len(order):
                break
            effort -= len(order)
            parts = [outputs.cut(order[group[order]], fold, chip) for fold, group in zip(folds, groups, strict=True)]
            found = _joined(parts)
            if best is None or found.rank < best.rank:
                best = found
        if best is not None and best.cores <= bound.cores:
            break
    assert best is not None
    return best


def _joined(parts: list[Filling]) -> Filling:
    """Cores of several fillings as one."""
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0, *(part.cores for part in parts)])
    slices = [part.slices + np.array([before, 0, 0, 0]) for part, before in zip(parts, first[:-1], strict=True)]
    return Filling(
        max(part.fold for part in parts),
        np.concatenate(slices),
        int(first[-1]),
        sum(part.axons for part in parts),
        max(part.peak for part in parts),
    )


class OutputPositions:
    """A layer's output positions with their tiles, ready to be cut into cores in many orders."""

    def __init__(self, neurons: NeuronLayer, entries: Int) -> None:
        self.neurons = neurons
        self.width = neurons.tile_width
        self.tiles = np.ascontiguousarray(neurons.output_tiles, np.int64)
        self.size = neurons.output_size
        output, place = np.repeat(np.arange(len(self.size)), self.size), np.arange(neurons.neurons)
        self.entries = np.zeros((len(self.size), int(self.size.max())), np.int64)  # (outputs, neurons of the largest)
        self.entries[output, place - neurons.output_offset[output]] = entries[neurons.output_elements]
        first = np.zeros((len(self.entries), 1), np.int64)
        self.running = np.concatenate([first, np.cumsum(self.entries, axis=1)], axis=1)
        self._slices = np.empty((neurons.neurons, 4), np.int64)  # scratch: a slice holds one neuron at least

    def cut(self, order: Int, fold: int, chip: ChipSpec) -> Filling:
        """Fill core after core in an order, each until columns, axons or target entries are used up."""
        from qsnnc.partition import kernel  # numba, which a chip of another kind does not wait for

        reader = np.full(len(self.width), -1, np.int64)
        limits = self._limits(fold, chip)
        found = kernel.cut(order, self.tiles, self.width, self.running, self.size, *limits, reader, self._slices)
        return self._filling(fold, chip, *found)

    def spread(self, fold: int, chip: ChipSpec) -> Filling:
        """Fill cores where the target table binds, each with an equal share of neurons and a full table."""
        from qsnnc.partition import kernel

        axons = np.where(self.tiles >= 0, self.width[self.tiles], 0).sum(axis=1)
        reader = np.full(len(self.width), -1, np.int64)
        count = len(self.size)
        scratch = np.zeros(count, np.int64), np.zeros(count), np.full(count, -1, np.int64)
        found = kernel.spread(
            axons, self.tiles, self.width, self.running, self.size, *self._limits(fold, chip), reader, *scratch, self._slices
        )
        return self._filling(fold, chip, *found)

    def _limits(self, fold: int, chip: ChipSpec) -> tuple[int, int, int]:
        """Neurons, axons and target entries of a core."""
        return chip.columns // (fold * self.neurons.weight_bits), fold * chip.axons, chip.targets

    def _filling(self, fold: int, chip: ChipSpec, count: int, cores: int, axons: int, left: int) -> Filling:
        assert count >= 0, "a neuron that fits no core must have been refused before"
        return Filling(fold, self._slices[:count].copy(), cores, axons, chip.targets - left)

    def dealt(self, cores: int) -> Int:
        """Return an order of output positions in which each of so many cores gets an even share of the target entries.

        They are dealt out from the heaviest on, each to the core with the fewest entries that has room left: Graham's
        longest processing time first.
        """
        load = self.entries.sum(axis=1)
        room = -(-len(load) // cores)
        hands: list[list[int]] = [[] for _ in range(cores)]
        open_ = [(0, core) for core in range(cores)]
        for output in np.argsort(-load, kind="stable").tolist():
            held, core = heapq.heappop(open_)
            hands[core].append(output)
            if len(hands[core]) < room:
                heapq.heappush(open_, (held + int(load[output]), core))
        return np.array([output for hand in hands for output in sorted(hand)], np.int64)


def orders(neurons: NeuronLayer, entries: Int) -> Iterator[Int]:
    """Propose orders of output positions.

    These are snakes of several heights in both directions, with channel groups inside or outside; and, where a few output
    positions drive far more axons than the rest, an order that alternates between both kinds.

    Parameters
    ----------
    entries : ndarray, int64, (output positions, neurons an output position)
    """
    rows, columns = neurons.layer.shape[1:]
    kinds = neurons.groups
    grid = np.arange(rows * columns).reshape(rows, columns)
    seen: set[bytes] = set()
    for height in (1, 2, 3, 4, 5, 6, 8, 12, 16):
        for turned in (False, True):
            plane = grid.T if turned else grid
            if height > plane.shape[0] and height > 1:
                continue
            path = _snake(plane, height)
            for outer in (False, True) if kinds > 1 else (False,):
                outputs = path * kinds
                both = outputs[:, None] + np.arange(kinds)[None, :]
                order = (both.T if outer else both).reshape(-1)
                if order.tobytes() not in seen:
                    seen.add(order.tobytes())
                    yield order
    load = entries.sum(axis=1)
    if load.size > 2 and load.max() > 2 * load.mean():
        ranked = np.argsort(-load, kind="stable")
        mixed = np.empty_like(ranked)
        half = (len(ranked) + 1) // 2
        mixed[0::2], mixed[1::2] = ranked[:half], ranked[half:][::-1]
        yield mixed


def _snake(plane: Int, height: int) -> Int:
    """Return positions in strips of a height, column by column, in alternating directions."""
    parts = []
    for number, top in enumerate(range(0, plane.shape[0], height)):
        strip = plane[top : top + height]
        parts.append((strip[:, ::-1] if number % 2 else strip).T.reshape(-1))
    return np.concatenate(parts)
