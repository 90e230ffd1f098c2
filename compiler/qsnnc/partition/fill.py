"""Fill cores with output positions, in an order whose neighbours share axons, up to the limits of a core."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.lower.neurons import NeuronLayer
from qsnnc.partition.bounds import Bound, smallest_folds

#: output positions that may be visited while looking for a better order, beside the first try
EFFORT = 40_000
#: how far above the mean a core's target entries may lie before a more even filling is looked for
UNEVEN = 1.2


@dataclass(frozen=True, slots=True)
class Slice:
    """Neurons ``first`` .. ``last`` - 1 of an output position."""

    output: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """Cores of a layer, each a list of slices, at one fold."""

    fold: int
    cores: tuple[tuple[Slice, ...], ...]
    axons: int  # summed over the cores: what replication costs
    peak: int  # target entries of the core that has most: it sends a packet for each

    @property
    def rank(self) -> tuple[int, int, int]:
        """Sort key: fewer cores first, then fewer axons, then a lower peak."""
        return len(self.cores), self.axons, self.peak


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
    if len(best.cores) > bound.cores and len(np.unique(least)) > 1:
        groups = [least == fold for fold in np.unique(least)]
        choices = [[int(fold) for fold in np.unique(least)]]
        apart = _best(outputs, chip, choices, groups, bound, effort)
        best = min(best, apart, key=lambda filling: filling.rank)
    if len(best.cores) > bound.cores and bound.limiting == "targets":
        best = min([best, *(outputs.spread(fold, chip) for fold in folds[:2])], key=lambda filling: filling.rank)
    if best.peak * len(best.cores) > UNEVEN * int(entries[neurons.output_elements].sum()):
        even = outputs.cut(outputs.dealt(len(best.cores)), best.fold, chip)
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
            parts = [
                outputs.cut(order[group[order]].tolist(), fold, chip) for fold, group in zip(folds, groups, strict=True)
            ]
            found = Filling(
                max(folds),
                tuple(core for part in parts for core in part.cores),
                sum(part.axons for part in parts),
                max((part.peak for part in parts), default=0),
            )
            if best is None or found.rank < best.rank:
                best = found
        if best is not None and len(best.cores) <= bound.cores:
            break
    assert best is not None
    return best


class OutputPositions:
    """A layer's output positions with their tiles, ready to be cut into cores in many orders."""

    def __init__(self, neurons: NeuronLayer, entries: Int) -> None:
        self.neurons = neurons
        self.width = neurons.tile_width.tolist()
        self.tiles = [[tile for tile in row if tile >= 0] for row in neurons.output_tiles.tolist()]
        self.size = neurons.output_size
        output, place = np.repeat(np.arange(len(self.size)), self.size), np.arange(neurons.neurons)
        self.entries = np.zeros((len(self.size), int(self.size.max())), np.int64)  # (outputs, neurons of the largest)
        self.entries[output, place - neurons.output_offset[output]] = entries[neurons.output_elements]
        first = np.zeros((len(self.entries), 1), np.int64)
        self.running = np.concatenate([first, np.cumsum(self.entries, axis=1)], axis=1).tolist()

    def cut(self, order: list[int], fold: int, chip: ChipSpec) -> Filling:
        """Fill core after core, each until columns, axons or target entries are used up."""
        most_neurons = chip.columns // (fold * self.neurons.weight_bits)
        most_axons = fold * chip.axons
        width, reader = self.width, [-1] * len(self.width)  # the last core that reads each tile
        cores: list[tuple[Slice, ...]] = []
        total, fullest = 0, chip.targets
        here: list[Slice] = []
        axons, room, table = 0, most_neurons, chip.targets
        for output in order:
            tiles, running, per_output = self.tiles[output], self.running[output], int(self.size[output])
            first = 0
            while first < per_output:
                core = len(cores)
                fresh = [tile for tile in tiles if reader[tile] != core]
                more = sum([width[tile] for tile in fresh])
                last = first
                if room and axons + more <= most_axons:
                    last = min(per_output, first + room)
                    if running[last] - running[first] > table:
                        last = bisect_right(running, running[first] + table) - 1
                if last > first:
                    here.append(Slice(output, first, last))
                    for tile in fresh:
                        reader[tile] = core
                    axons += more
                    room -= last - first
                    table -= running[last] - running[first]
                    fullest = min(fullest, table)
                    first = last
                else:
                    assert here, "a neuron that fits no core must have been refused before"
                    cores.append(tuple(here))
                    total += axons
                    here, axons, room, table = [], 0, most_neurons, chip.targets
        if here:
            cores.append(tuple(here))
            total += axons
        return Filling(fold, tuple(cores), total, chip.targets - fullest)

    def dealt(self, cores: int) -> list[int]:
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
        return [output for hand in hands for output in sorted(hand)]

    def spread(self, fold: int, chip: ChipSpec) -> Filling:
        """Fill cores where the target table binds, each with an equal share of neurons and a full table.

        A core begins with neurons that drive most axons, as many as leave room in the table for a fair number of the
        lightest; then it takes those whose entries a neuron come closest to what is left of its share.
        """
        most_axons, most_neurons = fold * chip.axons, chip.columns // (fold * self.neurons.weight_bits)
        per_output = self.size
        cost = np.array(self.running)  # (output positions, neurons an output position + 1): entries of the first n neurons
        axons = np.array([sum(self.width[tile] for tile in tiles) for tiles in self.tiles])
        done = np.zeros(len(cost), np.int64)  # neurons of each output position that have a core
        rows = np.arange(len(cost))
        cores: list[tuple[Slice, ...]] = []
        total, fullest = 0, chip.targets
        while (done < per_output).any():
            left = per_output - done
            entries = cost[:, -1] - cost[rows, done]
            rate = np.where(left > 0, entries / np.maximum(left, 1), np.nan)
            share = min(most_neurons, ceil(left.sum() / ceil(max(1, entries.sum()) / chip.targets)))
            lightest = float(np.nanmin(rate))
            here: list[Slice] = []
            read: set[int] = set()
            held, taken, table = 0, 0, chip.targets
            while taken < most_neurons:
                open_ = (left > 0) & (held + axons <= most_axons) & ~np.isin(rows, [piece.output for piece in here])
                budget = table - (0 if here else int(lightest * share))
                fit = (cost <= (cost[rows, done] + max(0, budget))[:, None]).sum(axis=1) - 1 - done
                if not here:
                    fit = np.maximum(
                        fit, (cost[rows, np.minimum(done + 1, per_output)] - cost[rows, done] <= table).astype(int)
                    )
                take = np.where(open_, np.minimum(np.minimum(fit, left), most_neurons - taken), 0)
                if not (take > 0).any():
                    break
                wanted = np.inf if not here else table / max(1, share - taken)
                off = -rate if not here else np.abs(rate - wanted)
                output = int(np.argmin(np.where(take > 0, off, np.inf)))
                here.append(Slice(output, int(done[output]), int(done[output] + take[output])))
                fresh = set(self.tiles[output]) - read
                read |= fresh
                held += sum(self.width[tile] for tile in fresh)
                table -= int(cost[output, done[output] + take[output]] - cost[output, done[output]])
                taken += int(take[output])
                done[output] += take[output]
                left = per_output - done
            assert here, "a neuron that fits no core must have been refused before"
            cores.append(tuple(here))
            total += held
            fullest = min(fullest, table)
        return Filling(fold, tuple(cores), total, chip.targets - fullest)


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
