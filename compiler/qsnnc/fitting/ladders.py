"""What can be narrowed in a network, and how much of its scores each narrowing alone costs.

A ladder is one activation's levels, one layer's weights or one activation's channels, from the mildest change to the
strongest. The error of a rung is that of the scores when nothing else is changed, relative to their variance, on the
calibration images. Without images it is the error of a uniform quantizer of that many levels or bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from chipsim.chip import AnyChip
from qsnnc.errors import ModelError
from qsnnc.fitting.change import Change
from qsnnc.fitting.edit import BEFORE, DELTA, Narrowed, can_drop, edited, narrowed, narrowed_levels
from qsnnc.fitting.measure import Images, Statistics, distance, unchanged
from qsnnc.fitting.tails import Tails
from qsnnc.frontend.integerize.weights import in_reference
from qsnnc.frontend.linear.weight_bits import FEWEST_BITS, quantized
from qsnnc.frontend.model.layer_names import Namer
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.operators import WEIGHTED
from qsnnc.ir.layers import Layer, LayerGraph, Population
from qsnnc.ir.weights import bits_of_connections

if TYPE_CHECKING:
    import onnx

#: largest levels that are tried
LEVELS = (63, 31, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1)
#: shares of an activation's channels that are left out
SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4)
#: steps that are tried for one activation and number of levels
MOST_STEPS = 512
#: fewest channels of an activation from which some are left out
CHANNELS = 4


@dataclass(frozen=True, slots=True)
class Rung:
    """One narrowing of one thing, and its error alone."""

    error: float
    levels: Narrowed | None = None
    bits: int = 0
    without: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ladder:
    """The narrowings of one thing, the mildest first."""

    name: str  # of the activation or layer
    kind: str  # levels, bits or channels
    rungs: tuple[Rung, ...]


#: how far each ladder is climbed; 0: not at all
Climb = tuple[int, ...]


def change_of(ladders: Sequence[Ladder], climb: Climb, populations: Mapping[str, Population]) -> Change:
    """Return the change that some rungs are together."""
    levels: dict[str, Narrowed] = {}
    bits: dict[str, int] = {}
    for ladder, height in zip(ladders, climb, strict=True):
        if not height:
            continue
        rung = ladder.rungs[height - 1]
        if ladder.kind == "bits":
            bits[ladder.name] = rung.bits
            continue
        entry = populations[ladder.name]
        before = levels.get(ladder.name) or narrowed(entry, entry.levels)
        if rung.levels is not None:
            levels[ladder.name] = replace(rung.levels, without=before.without)
        else:
            levels[ladder.name] = replace(before, without=rung.without)
    return Change(narrowed=levels, weight_bits=bits)


def ladders_of(
    model: Model, graph: LayerGraph, chip: AnyChip, images: Images | None, image: str | None,
    in_time: Callable[[], bool] = lambda: True,
) -> tuple[Ladder, ...]:  # fmt: skip
    """Measure all ladders of a network.

    Parameters
    ----------
    images : Images, optional
        To calibrate on.
    image : str, optional
        The population that is the image itself, which is not narrowed.
    in_time : callable
        Asked before each measurement; once it is False, errors are those of uniform quantizers, and no channel is tried.
    """
    entries = [entry for entry in narrowable(model, graph) if entry.name != image]
    known = None if images is None else unchanged(model, graph.input, images, entries)
    found = {} if known is None else known.statistics

    def error(proto: onnx.ModelProto) -> float:
        assert tails is not None
        assert known is not None
        return distance(tails.scores(proto), known.scores)

    tails = None if known is None or images is None else Tails(model, graph.input, images, known.tensors)
    change = partial(edited, model.reference)

    again = any(node.op_type == "QuantizeLinear" for node in model.reference.graph.node)
    ladders = []
    for entry in entries:
        whole = again or model.whole(entry.tensor)
        rungs = []
        for count in (count for count in LEVELS if count < entry.levels):
            each = narrowed(entry, count, best_step(entry, count, found.get(entry.name), whole=whole))
            measured = images is not None and in_time()
            rungs.append(Rung(error(change([(entry, each)])) if measured else 1 / (12 * count**2), levels=each))
        ladders.append(Ladder(entry.name, "levels", _rising(rungs)))
        if images is not None and entry is not graph.encoder and can_drop(entry):
            rungs = [
                Rung(error(change([(entry, narrowed(entry, entry.levels, without=drop))])), without=drop)
                for drop in least(found[entry.name])
                if in_time()
            ]
            ladders.append(Ladder(entry.name, "channels", _rising(rungs)))
    ladders += _weights(model, graph, chip, None if images is None else error, in_time)
    return tuple(ladder for ladder in ladders if ladder.rungs)


def narrowable(model: Model, graph: LayerGraph) -> Iterator[Population]:
    """Iterate over the activations that a graph edit can narrow: their tensors are computed by a node of the file."""
    written = {name for node in model.reference.graph.node for name in node.output}
    for entry in (graph.encoder, *graph.layers):
        pooled = isinstance(entry, Layer) and entry.connections[0].level_wise
        if entry.levels and not pooled and entry.tensor in written and entry.tensor + BEFORE not in written:
            yield entry


def best_step(entry: Population, count: int, found: Statistics | None, *, whole: bool) -> float:
    """Return how many old levels one new level should take: the least squared error on the calibration images.

    Parameters
    ----------
    whole : bool
        Steps are whole numbers: the tensor holds integers, or the file may quantize it again with the old scale (after a
        reshape, say), which would round half steps to uneven levels.
    """
    unit = 1.0 if whole else 0.5
    widest = float(np.ceil(entry.levels / count / unit) * unit)
    level = np.arange(entry.levels + 1)
    steps = np.arange(1.0, widest + unit / 2, unit)
    if len(steps) > MOST_STEPS:  # 16-bit levels
        steps = np.unique(np.round(np.linspace(1.0, widest, MOST_STEPS) / unit) * unit)
    steps = steps[np.floor((entry.levels + DELTA) / steps + 0.5) >= count]  # each new level is taken
    if found is None:
        return float(steps[-1])
    errors = []
    for step in steps:
        after = narrowed_levels(entry, narrowed(entry, count, float(step)))
        errors.append(float((found.histogram * (after - level) ** 2).sum()))
    return float(steps[int(np.argmin(errors))])


def least(found: Statistics) -> Iterator[tuple[int, ...]]:
    """Iterate over ever more channels, those that spike least first."""
    order = np.argsort(found.rates, kind="stable")
    if len(order) >= CHANNELS:
        for count in sorted({int(len(order) * share) for share in SHARES} - {0}):
            yield tuple(sorted(order[:count].tolist()))


def _weights(
    model: Model, graph: LayerGraph, chip: AnyChip, error_of: Callable[[onnx.ModelProto], float] | None,
    in_time: Callable[[], bool],
) -> Iterator[Ladder]:  # fmt: skip
    """Iterate over the ladders of the layers whose weights can be quantized to fewer bits."""
    namer = Namer()
    nodes = {namer.layer(node): node for node in model.nodes if node.op in WEIGHTED and node.name not in model.integral}
    for layer in graph.layers:
        node, own = nodes.get(layer.name), bits_of_connections(layer.connections)
        rungs = []
        for bits in sorted(chip.weight_bits, reverse=True):
            if node is None or bits >= own or bits < FEWEST_BITS:
                continue
            change = quantized(model, node, layer.name, bits)
            if change is None:
                continue
            try:
                proto = in_reference(model, [change]).reference
            except ModelError:  # the file holds the weights in another form
                continue
            rungs.append(Rung(error_of(proto) if error_of is not None and in_time() else 4.0**-bits / 3, bits=bits))
        yield Ladder(layer.name, "bits", _rising(rungs))


def _rising(rungs: Sequence[Rung]) -> tuple[Rung, ...]:
    """Return rungs whose errors do not fall: a stronger change that errs less stands for the milder ones too."""
    best = np.minimum.accumulate([rung.error for rung in rungs][::-1])[::-1]
    return tuple(replace(rung, error=float(error)) for rung, error in zip(rungs, best, strict=True))
