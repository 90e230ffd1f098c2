"""Prove how few cores a layer can take, by columns, axons and target entries.

Columns: a core with fold f and weights of w bits holds at most c = columns // (f w) neurons. Axons: it holds f R of them,
and whatever n output positions it reads for, they read at least `fewest_positions` (n) input positions, so n is bounded.

The two together: an output position of M neurons may be cut over several cores. Let k cores share s output positions and
hang together by such cuts. That takes at least s + k - 1 pieces, and a core has at most n, so s <= (n - 1) k + 1; also
s M <= k c. Hence no core serves more than the largest of min(floor(k c / M), (n - 1) k + 1) / k output positions. Small
folds are open only to output positions with few axons (at padded borders), so each counts by the best fold among those wide
enough for it.

Where neurons were removed, M is the size of the smallest output position, and of the input positions those with the fewest
axons count. A row that is zero for some neurons of an output position and not for others counts as read by all of them.

Targets: the entries that the consumers' cores ask for, over the entries of a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.errors import Limit
from qsnnc.ir.layers import Connection, Int, Population
from qsnnc.lower.neurons import NeuronLayer

#: connected cores that are looked at one number at a time; beyond, the limit holds
CHAIN = 64


@dataclass(frozen=True, slots=True)
class Bound:
    """A lower bound of a layer's cores, what limits it, and the fold at which most output positions fit a core."""

    cores: int
    limiting: Limit  # columns, axons or targets
    fold: int


def smallest_folds(neurons: NeuronLayer, chip: ChipSpec) -> Int:
    """Find the smallest fold with enough axons for each output position, int64 (output positions,)."""
    tiles = neurons.output_tiles
    axons = np.where(tiles >= 0, neurons.tile_width[tiles], 0).sum(axis=1)
    folds = np.array(chip.folds)
    return np.asarray(folds[np.searchsorted(folds * chip.axons, axons)], np.int64)


def layer_bound(neurons: NeuronLayer, populations: dict[str, Population], chip: ChipSpec, entries: int) -> Bound:
    """Bound the cores of a layer whose every neuron fits a core.

    Parameters
    ----------
    entries : int
        Target entries that the layer's consumers ask for.
    """
    sizes = neurons.output_size
    smallest = int(sizes[sizes > 0].min(initial=1 << 40))
    least = _Least(neurons, populations)
    served: dict[int, tuple[int, Fraction]] = {}  # fold: neurons a core by columns alone, and output positions by both
    for fold in chip.folds:
        room = chip.columns // (fold * neurons.weight_bits)
        if room:
            served[fold] = room, _outputs_per_core(room, smallest, least.most_outputs(fold * chip.axons))
    needed = smallest_folds(neurons, chip)[sizes > 0]
    columns, both = Fraction(0), Fraction(0)
    for fold in np.unique(needed).tolist():
        mine = needed == fold
        open_ = [pair for f, pair in served.items() if f >= fold]
        columns += Fraction(int(sizes[sizes > 0][mine].sum()), max(pair[0] for pair in open_))
        both += int(mine.sum()) / max(pair[1] for pair in open_)
    counts: dict[Limit, int] = {"columns": ceil(columns), "axons": ceil(both), "targets": -(-entries // chip.targets)}
    cores = max(counts.values())
    limiting = next(name for name, count in counts.items() if count == cores)
    widest = int(needed.max(initial=min(chip.folds)))
    fold = max((f for f in served if f >= widest), key=lambda f: (served[f][1], -f))
    return Bound(cores, limiting, fold)


def _outputs_per_core(room: int, size: int, most: int) -> Fraction:
    """Bound the output positions that a core serves on average, where parts of an output position count as fractions."""
    if most == 0:
        return Fraction(0)
    best = min(Fraction(room, size), Fraction((most - 1) * CHAIN + 1, CHAIN))
    for k in range(1, CHAIN + 1):
        best = max(best, Fraction(min(k * room // size, (most - 1) * k + 1), k))
    return best


class _Least:
    """The fewest axons that any n output positions of a layer read."""

    def __init__(self, neurons: NeuronLayer, populations: dict[str, Population]) -> None:
        self.neurons = neurons
        self.populations = populations
        width = neurons.tile_width
        # any n tiles of a connection hold at least as many axons as its n narrowest
        self.narrowest = [
            np.concatenate([[0], np.cumsum(np.sort(width[a:b]))]) for a, b in pairwise(neurons.link_offset.tolist())
        ]

    def most_outputs(self, axons: int) -> int:
        """Find the most output positions whose tiles can fit, by bisection over a growing function."""
        low, high = 0, len(self.neurons.output_tiles)
        while low < high:
            middle = (low + high + 1) // 2
            if self.axons(middle) <= axons:
                low = middle
            else:
                high = middle - 1
        return low

    def axons(self, outputs: int) -> int:
        """Bound the axons of a number of output positions from below."""
        rows, columns = self.neurons.layer.shape[1:]
        kinds = self.neurons.groups
        total = 0
        for link, narrowest in zip(self.neurons.layer.connections, self.narrowest, strict=True):
            source = self.populations[link.source]
            # output positions of the connection's own groups read different channels; those of one group share positions
            groups = source.shape[0] * source.levels if link.level_wise else link.groups
            sharing = max(1, kinds // groups) * rows * columns
            whole, rest = divmod(outputs, sharing)
            most = fewest_positions(link, source.shape[1:], (rows, columns), rows * columns)
            part = -(-rest // max(1, kinds // groups))
            least = fewest_positions(link, source.shape[1:], (rows, columns), part) if part else 0
            total += int(narrowest[min(whole * most + least, len(narrowest) - 1)])
        return total


def fewest_positions(link: Connection, shape: tuple[int, int], out: tuple[int, int], outputs: int) -> int:
    """Bound the input positions that any ``outputs`` windows cover from below.

    Pushing the windows together along one axis and then the other never makes their union larger, so a staircase of
    rows is the smallest, and of the staircases those with all rows but one full. Along an axis, n windows cover at
    least (n - 1) * min(stride, kernel) + kernel positions, of which padding may hide those outside the map; gaps of a
    dilation are not covered, so a dilated axis counts its kernel once.
    """
    best = None
    spans = [_covered(link, axis, shape[axis], out[axis]) for axis in (0, 1)]
    slope, start = _line(spans[1])
    for rows in range(1, out[0] + 1):
        full = -(-outputs // rows)
        if full > out[1]:
            continue
        # rows - 1 of them may be shorter: total cells = output positions; the first row is the longest
        first, more = spans[0][0], spans[0][rows - 1] - spans[0][0]
        rest = outputs - full
        covered = first * spans[1][full - 1] + (more / max(1, rows - 1)) * (start * (rows - 1) + slope * rest)
        best = covered if best is None else min(best, covered)
    assert best is not None
    return int(np.floor(best))


def _line(span: list[int]) -> tuple[float, float]:
    """Find a line below the covered length: start + slope * windows <= span."""
    if len(span) == 1:
        return 0.0, float(span[0])
    slope = min(b - a for a, b in pairwise(span))
    return float(slope), float(span[0] - slope)


def _covered(link: Connection, axis: int, size: int, windows: int) -> list[int]:
    """Bound the positions of one axis that 1, 2, ... windows cover from below."""
    kernel, stride = link.weights.shape[2 + axis], link.strides[axis]
    if link.dilations[axis] > 1:
        return [1] * windows if link.pads[axis] or link.pads[axis + 2] else [kernel] * windows
    begin = np.arange(windows) * stride - link.pads[axis]
    low, high = np.clip(begin, 0, size), np.clip(begin + kernel, 0, size)
    step = min(stride, kernel)
    # padding hides at most what the outermost windows lose at both ends
    each = (high - low).min()
    lost = 2 * kernel - int(high[0] - low[0]) - int(high[-1] - low[-1])
    return [max(int(each), (n - 1) * step + kernel - lost) if n > 1 else int(each) for n in range(1, windows + 1)]
