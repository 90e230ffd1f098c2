"""What is laid out: a network with its levels as thermometers or as words, population by population."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from chipsim.chip import PaicoreSpec
from chipsim.paicore.fields import Words
from chipsim.paicore.words import CSC_LANES
from qsnnc.ir.layers import Int, Layer, LayerGraph
from qsnnc.lower.removal import Survivors, keep_all, potential_bounds, survivors
from qsnnc.targets.paicore25.activation import Channels, NoTable, Shared, share, words_of
from qsnnc.targets.paicore25.coding import Coding, thermometer, value
from qsnnc.targets.paicore25.neurons import NEVER, Firing
from qsnnc.targets.paicore25.plan import Network
from qsnnc.targets.paicore25.vectors import Bool, width_of

#: tables beyond which a layer is no better off with words
MOST_TABLES = 16


class Impossible(Exception):
    """A layer whose levels cannot be sent as words; ``layer`` is its name."""

    def __init__(self, layer: str) -> None:
        super().__init__(layer)
        self.layer = layer


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is found once for all assignments of codes that are looked at."""

    bounds: dict[str, tuple[Int, Int]]  # of `potential_bounds`
    shared: dict[bytes, tuple[Shared, list[Int], Int]] = field(default_factory=dict)  # by layer, thresholds and potentials


def components(graph: LayerGraph) -> list[tuple[str, ...]]:
    """Populations that travel alike: those that one layer reads, for a core has one width of inputs; a max pool's too."""
    found: list[set[str]] = []
    for layer in graph.layers:
        joined = {link.source for link in layer.connections}
        if any(link.level_wise for link in layer.connections):
            joined.add(layer.name)
        for other in [each for each in found if each & joined]:
            found.remove(other)
            joined |= other
        found.append(joined)
    order = [graph.encoder.name, *(layer.name for layer in graph.layers)]
    known = set().union(*found)
    found += [{layer.name} for layer in graph.layers[:-1] if layer.name not in known]  # that nothing reads
    return sorted((tuple(sorted(each, key=order.index)) for each in found), key=lambda each: order.index(each[0]))


def can_be_words(graph: LayerGraph, chip: PaicoreSpec, component: Iterable[str]) -> bool:
    """Whether the levels of a component have room in a word, and its pools take the largest level."""
    members = [graph.population(name) for name in component]
    if not 1 < max(each.levels for each in members) < 1 << max(chip.input_bits):
        return False
    pools = [each for each in members if isinstance(each, Layer) and each.connections[0].level_wise]
    return all((each.thresholds == 1).all() and all((c.weights <= 1).all() for c in each.connections) for each in pools)


def build(
    graph: LayerGraph,
    chip: PaicoreSpec,
    words: Collection[str],
    known: Known | None = None,
    *,
    keep_dead: bool,
) -> Network:
    """Prepare a network.

    Parameters
    ----------
    words : collection of str
        Populations whose levels travel as words, whole components; the others are thermometers.
    known : Known, optional
        What does not depend on ``words``, found once for a network.

    Raises
    ------
    Impossible
    """
    known = known or Known(potential_bounds(graph))
    left = keep_all(graph) if keep_dead else survivors(graph, words, known.bounds)
    codings = _codings(graph, chip, words)
    tables: list[Words] = []
    firing: dict[str, Firing] = {}
    live: dict[str, Bool] = {}
    live[graph.encoder.name] = np.ones((graph.encoder.shape[0], codings[graph.encoder.name].inputs), bool)
    widths, layers = {}, []
    for layer in graph.layers:
        made = layer
        if layer.name in words:
            made, firing[layer.name] = _as_words(layer, left[layer.name], codings[layer.name].width, chip, tables, known)
        else:
            firing[layer.name] = _as_neurons(layer, left[layer.name])
        live[layer.name] = np.asarray(firing[layer.name].kept.any(axis=(1, 2)))
        width = width_of(np.concatenate([link.weights.reshape(-1) for link in made.connections]), chip.weight_bits)
        assert width is not None, "checked before"
        widths[layer.name] = width
        layers.append(made)
    removed = {name: each.removed for name, each in left.items()}
    return Network(replace(graph, layers=tuple(layers)), chip, codings, firing, live, widths, removed, tables)


def _codings(graph: LayerGraph, chip: PaicoreSpec, words: Collection[str]) -> dict[str, Coding]:
    found = {entry.name: thermometer(entry.levels) for entry in (graph.encoder, *graph.layers)}
    for component in components(graph):
        if component[0] in words:
            need = max(graph.population(name).levels for name in component).bit_length()
            width = min(bits for bits in chip.input_bits if bits >= need)
            found.update(dict.fromkeys(component, value(width)))
    return found


def _as_neurons(layer: Layer, left: Survivors) -> Firing:
    kept = np.asarray(left.kept)
    threshold = np.full(kept.shape, NEVER, np.int64) if layer.readout else left.thresholds
    return Firing(kept, threshold, np.zeros(kept.shape, np.int64), np.full(kept.shape, -1, np.int64))


def _as_words(
    layer: Layer, left: Survivors, bits: int, chip: PaicoreSpec, tables: list[Words], known: Known
) -> tuple[Layer, Firing]:
    """The layer with its channels' weights multiplied, and what its features look up."""
    kept = np.asarray(left.kept[..., :1])
    leak = np.zeros(kept.shape, np.int64)
    if layer.connections[0].level_wise:
        table = _number(tables, words_of(np.arange(1, layer.levels + 1), bits))
        return layer, Firing(kept, np.full(kept.shape, NEVER, np.int64), leak, np.full(kept.shape, table, np.int64))
    low, high = _reached(layer, left)
    key = b"".join([layer.name.encode(), *(each.tobytes() for each in (kept, left.thresholds, low, high))])
    if key not in known.shared:
        known.shared[key] = _shared(layer, kept[..., 0], left.thresholds, low, high, chip)
    shared, weights, where = known.shared[key]
    numbers = np.array([_number(tables, words_of(table, bits)) for table in shared.tables], np.int64)
    leak[kept] = shared.offset[where]
    which = np.broadcast_to(numbers[shared.table][:, None, None, None], kept.shape)
    made = replace(layer, connections=tuple(replace(c, weights=v) for c, v in zip(layer.connections, weights, strict=True)))
    return made, Firing(kept, np.full(kept.shape, NEVER, np.int64), leak, np.asarray(which))


def _number(tables: list[Words], table: Words) -> int:
    """Number of a table, each of which is kept once."""
    for number, known in enumerate(tables):
        if (known == table).all():
            return number
    tables.append(table)
    return len(tables) - 1


def _reached(layer: Layer, left: Survivors) -> tuple[Int, Int]:
    """Smallest and largest potential of each feature, (channels, rows, columns)."""
    if left.reach is not None:
        low, high = left.reach
        return low[..., 0], high[..., 0]
    reach = layer.reach[layer.border].transpose(2, 0, 1, 3)
    return reach[..., 0], reach[..., 1]


def _shared(
    layer: Layer, kept: Bool, thresholds: Int, low: Int, high: Int, chip: PaicoreSpec
) -> tuple[Shared, list[Int], Int]:
    """Tables, multiplied weights, and the row of `Shared.offset` of each kept feature; the width that takes fewest cores.

    Wider weights leave room for larger multipliers, so that fewer tables do: the widest come first, and narrower ones only
    as far as their tables, each a core at least, can still be fewer cores.
    """
    rows, bounds, owner, where = _rows(kept, thresholds, low, high)
    largest = [np.abs(link.weights).reshape(len(kept), -1).max(axis=1, initial=1) for link in layer.connections]
    absolute = np.max(largest, axis=0)
    best: tuple[int, Shared, list[Int]] | None = None
    for bits in sorted(chip.weight_bits, reverse=True):
        most = ((1 << (bits - 1)) - 1) // absolute
        if (most < 1).any() and best is not None:
            break
        channels = Channels(rows, bounds[:, 0], bounds[:, 1], owner, np.maximum(1, most))
        try:
            found = share(channels, (1 << (chip.leak_bits - 1)) - 1, MOST_TABLES if best is None else best[0])
        except NoTable:
            continue
        weights = [link.weights * found.multiplier[:, None, None, None] for link in layer.connections]
        cores = _estimate(layer, kept, found, weights, chip)
        if best is None or cores <= best[0]:
            best = cores, found, weights
    if best is None:
        raise Impossible(layer.name)
    return best[1], best[2], where


def _rows(kept: Bool, thresholds: Int, low: Int, high: Int) -> tuple[Int, Int, Int, Int]:
    """Distinct thresholds of each channel, what potentials reach there, whose they are; and which each kept feature has."""
    levels = thresholds.shape[-1]
    rows, bounds, owner, where = [], [], [], []
    count = 0
    for channel, there in enumerate(kept):
        if not there.any():  # any table will do
            rows.append(np.arange(levels)[None])
            bounds.append(np.array([[levels, levels]]))
            owner.append(channel)
            count += 1
            continue
        mine, number = np.unique(thresholds[channel][there], axis=0, return_inverse=True)
        number = number.reshape(-1)
        least, most = np.full(len(mine), np.iinfo(np.int64).max), np.full(len(mine), np.iinfo(np.int64).min)
        np.minimum.at(least, number, low[channel][there])
        np.maximum.at(most, number, high[channel][there])
        rows.append(mine)
        bounds.append(np.stack([least, most], axis=1))
        owner += [channel] * len(mine)
        where.append(count + number)
        count += len(mine)
    every = np.concatenate(where) if where else np.zeros(0, np.int64)
    return np.concatenate(rows), np.concatenate(bounds), np.array(owner), every


def _estimate(layer: Layer, kept: Bool, found: Shared, weights: list[Int], chip: PaicoreSpec) -> int:
    """About the cores of a layer: its rows of potentials and weights, table by table."""
    width = width_of(np.concatenate([each.reshape(-1) for each in weights]), chip.weight_bits)
    if width is None:
        return 1 << 30
    nonzero = sum((each != 0).sum(axis=(1, 2, 3)) for each in weights)
    elements = sum(each[0].size for each in weights)
    vector = np.minimum(-(-nonzero // CSC_LANES[width[0]]), -(-elements * width[0] // 128))
    rows = 2 + -(-kept.sum(axis=(1, 2)) // 4) + vector
    return int(sum(-(-int(rows[found.table == number].sum()) // chip.memory_rows) for number in range(len(found.tables))))
