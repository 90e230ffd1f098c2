"""How few cores a layer can take: columns, axons and target entries, each with its own proof.

A core with fold f holds at most columns // (f w) neurons and f R axons. Whatever set of n sites it holds, they read at
least `fewest_positions` (n) input positions, so axons bound n; the layer's bound is its neurons over the most that a
core can hold, at the best fold. Its neurons' target entries, as its consumers' cores ask for them, bound it as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Connection, Int, Population
from qsnnc.lower.neurons import NeuronLayer


@dataclass(frozen=True, slots=True)
class Bound:
    """Fewest cores of a layer, what limits it, and the fold at which that is reached."""

    cores: int
    limiting: str  # columns, axons or targets
    fold: int
    columns: int
    axons: int
    targets: int


def layer_bound(neurons: NeuronLayer, populations: dict[str, Population], chip: ChipSpec, entries: int) -> Bound | None:
    """Bound of a layer, or None where not even one neuron fits a core.

    Parameters
    ----------
    entries : int
        Target entries that the layer's consumers ask for.
    """
    best: tuple[int, int, int, int] | None = None
    per_site = neurons.site_elements.shape[1]
    for fold in chip.folds:
        by_columns = chip.columns // (fold * neurons.weight_bits)
        sites = _most_sites(neurons, populations, fold * chip.axons)
        if by_columns == 0 or sites == 0:
            continue
        by_axons = sites * per_site
        held = min(by_columns, by_axons)
        if best is None or held > best[0]:
            best = (held, fold, by_columns, by_axons)
    if best is None:
        return None
    _, fold, by_columns, by_axons = best
    columns, axons = -(-neurons.neurons // by_columns), -(-neurons.neurons // by_axons)
    targets = -(-entries // chip.targets)
    cores = max(columns, axons, targets)
    limiting = "columns" if columns == cores else "axons" if axons == cores else "targets"
    return Bound(cores, limiting, fold, columns, axons, targets)


def _most_sites(neurons: NeuronLayer, populations: dict[str, Population], axons: int) -> int:
    """Most sites whose blocks can fit; bisection over a growing function."""
    low, high = 0, len(neurons.site_elements)
    while low < high:
        middle = (low + high + 1) // 2
        if _fewest_axons(neurons, populations, middle) <= axons:
            low = middle
        else:
            high = middle - 1
    return low


def _fewest_axons(neurons: NeuronLayer, populations: dict[str, Population], sites: int) -> int:
    rows, columns = neurons.layer.shape[1:]
    kinds = len(neurons.site_elements) // (rows * columns)
    total, first_tap = 0, 0
    for link in neurons.layer.connections:
        taps = link.weights.shape[2] * link.weights.shape[3]
        blocks = neurons.site_blocks[:, first_tap : first_tap + taps]
        width = int(neurons.block_width[blocks[blocks >= 0][0]])
        source = populations[link.source]
        # sites of the connection's own groups read different channels; those of one group share positions
        groups = source.shape[0] * source.levels if link.level_wise else link.groups
        sharing = max(1, kinds // groups) * rows * columns
        whole, rest = divmod(sites, sharing)
        most = fewest_positions(link, source.shape[1:], (rows, columns), rows * columns)
        part = -(-rest // max(1, kinds // groups))
        least = fewest_positions(link, source.shape[1:], (rows, columns), part) if part else 0
        total += width * (whole * most + least)
        first_tap += taps
    return total


def fewest_positions(link: Connection, shape: tuple[int, int], out: tuple[int, int], sites: int) -> int:
    """Fewest input positions that any ``sites`` windows of a map cover.

    Pushing the windows together along one axis and then the other never makes their union larger, so a staircase of
    rows is the smallest, and of the staircases those with all rows but one full. Along an axis, n windows cover at
    least (n - 1) * min(stride, kernel) + kernel positions, of which padding may hide those outside the map; gaps of a
    dilation are not covered, so a dilated axis counts its kernel once.
    """
    best = None
    spans = [_covered(link, axis, shape[axis], out[axis]) for axis in (0, 1)]
    for rows in range(1, out[0] + 1):
        full = -(-sites // rows)
        if full > out[1]:
            continue
        # rows - 1 of them may be shorter: total cells = sites; the first row is the longest
        first, more = spans[0][0], spans[0][rows - 1] - spans[0][0]
        rest = sites - full
        slope, start = _line(spans[1])
        covered = first * spans[1][full - 1] + (more / max(1, rows - 1)) * (start * (rows - 1) + slope * rest)
        best = covered if best is None else min(best, covered)
    assert best is not None
    return int(np.floor(best))


def _line(span: list[int]) -> tuple[float, float]:
    """A line below the covered length: start + slope * windows <= span."""
    if len(span) == 1:
        return 0.0, float(span[0])
    slope = min(b - a for a, b in zip(span, span[1:], strict=False))
    return float(slope), float(span[0] - slope)


def _covered(link: Connection, axis: int, size: int, windows: int) -> list[int]:
    """Fewest positions of one axis that 1, 2, ... windows cover."""
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


def entries_asked(consumers: list[Int], sources: int) -> Int:
    """Target entries of each source: how many axons of all cores it feeds.

    Parameters
    ----------
    consumers : list of ndarray
        For each core, its axons' sources.
    """
    count = np.zeros(sources, np.int64)
    for axons in consumers:
        count += np.bincount(axons, minlength=sources)
    return count
