"""What fewer levels and narrower weights would take, for a network that wants more cores than the chip has."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from chipsim.chip import ChipSpec
from chipsim.errors import ReportedError
from qsnnc.compilation import FailedCompilation
from qsnnc.frontend.importer.clip_activations import limits_of
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.operators import WEIGHTED
from qsnnc.ir.layers import LayerGraph
from qsnnc.options import CompileOptions
from qsnnc.partition.advice import Alternative, Counted, alternatives, with_alternatives
from qsnnc.partition.layout import lay_out
from qsnnc.reading import with_limits
from qsnnc.stages import Stages

if TYPE_CHECKING:
    from qsnnc.reading import ModelSource

#: features and weights of a network up to which its smaller forms are counted; those of larger ones take minutes to read
MOST_FEATURES, MOST_WEIGHTS = 200_000, 4_000_000


def advised(
    found: FailedCompilation, source: ModelSource, model: Model, graph: LayerGraph, options: CompileOptions, stages: Stages
) -> FailedCompilation:
    """Say what fewer levels, narrower weights and a larger grid would take, where cores are what is missing."""
    chip = found.chip
    if not isinstance(chip, ChipSpec) or not any(violation.code == "cores" for violation in found.violations):
        return found
    stages.tell("counting what fewer levels and narrower weights take")
    others: tuple[Alternative, ...] = ()
    weights = sum(connection.weights.size for layer in graph.layers for connection in layer.connections)
    if sum(layer.features for layer in graph.layers) <= MOST_FEATURES and weights <= MOST_WEIGHTS:
        now = Counted(found.cores, found.estimated, sum(not entry.fold for entry in found.layers))
        count = partial(_changed, source, model, graph, chip, options)
        others = tuple(alternatives(graph, found.layers, chip, now, count))
    said = (with_alternatives(each, others, graph, chip) if each.code == "cores" else each for each in found.violations)
    return replace(found, violations=tuple(said), alternatives=others)


def _changed(
    source: ModelSource, model: Model, graph: LayerGraph, chip: ChipSpec, options: CompileOptions,
    levels: int | None, bits: int | None,
) -> Counted | None:  # fmt: skip
    """Count the cores of a model with fewer levels and narrower weights; None where it cannot be changed so."""
    stages = Stages()
    given = options if bits is None else replace(options, weight_bits=bits)
    try:
        limits = {} if levels is None else limits_of(model, graph, activations(model, graph, levels))
        _, changed = with_limits(source, limits, graph.input, given, stages)
    except ReportedError:
        return None
    return lay_out(changed, chip, keep_dead=options.keep_dead, whole=False).counted


def activations(model: Model, graph: LayerGraph, levels: int) -> dict[str, int]:
    """Return so many levels for each activation with more that ``--levels`` can narrow; the image keeps its own."""
    kept = graph.encoder.name if is_image(model, graph) else ""
    populations = (graph.encoder, *graph.layers)
    return {e.name: levels for e in populations if e.levels > levels and e.tensor and e.name != kept}


def is_image(model: Model, graph: LayerGraph) -> bool:
    """Return whether what the host hands over is the image, quantized or not: no linear layer comes before it."""
    behind = {graph.encoder.tensor}
    for node in reversed(model.nodes):
        if behind & set(node.outputs):
            if node.op in WEIGHTED:
                return False
            behind.update(node.inputs)
    return True
