"""The compiler's driver: from an ONNX model to a mapping, stage by stage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.chip import AnyChip, ChipSpec, PaicoreSpec, load_any_chip
from chipsim.chip.avoid import without, without_cores
from chipsim.chip.routes import routes
from chipsim.errors import ReportedError, UsageError
from chipsim.mapping import InputSpec, validate_mapping
from chipsim.mapping import Mapping as ChipMapping
from qsnnc.compilation import Compilation, FailedCompilation
from qsnnc.errors import DoesNotFit, ModelError
from qsnnc.frontend.importer.clip_activations import limits_of
from qsnnc.frontend.importer.read import read_onnx
from qsnnc.frontend.integerize.ceilings import with_ceilings
from qsnnc.frontend.integerize.direct_encoding import integerize_from_best
from qsnnc.frontend.integerize.integerize import Integerized
from qsnnc.frontend.integerize.weights import in_reference
from qsnnc.frontend.linear.weight_bits import ChangedWeights
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.operators import WEIGHTED
from qsnnc.frontend.model.reference import session
from qsnnc.ir.cores import CoreGraph
from qsnnc.ir.layers import Int, LayerGraph, WeightsChanged, verify_layers
from qsnnc.nir.exported import stored_graph
from qsnnc.nir.layers import SpikingNetwork, agreement, random_frames, read_spiking
from qsnnc.nir.options import NirOptions
from qsnnc.nir.reading import is_nir, read_nir
from qsnnc.options import (
    BackendKeywords,
    BackendOptions,
    CompileKeywords,
    CompileOptions,
    FrontendKeywords,
    FrontendOptions,
    Placing,
    merged,
    parse_pixels,
)  # fmt: skip
from qsnnc.partition.advice import Alternative, Counted, alternatives, with_alternatives
from qsnnc.partition.layout import Layout, lay_out
from qsnnc.place.assemble import assemble, moved
from qsnnc.place.positions import Placement, place, verify_placement
from qsnnc.place.rates import firing_rates
from qsnnc.targets import paicore25

if TYPE_CHECKING:
    from os import PathLike

    import onnx

    ModelSource = str | PathLike[str] | onnx.ModelProto

DEFAULT_CHIP = "xbar1152"
#: features of a network up to which its smaller forms are counted; those of larger ones take minutes to read
MOST_FEATURES = 200_000


@dataclass(slots=True)
class Stages:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    tell: Callable[[str], None] = lambda _: None  # is told what is being done

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and put its name on what it raises."""
        self.tell(name)
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            error.add_note(f"in stage {name}")
            raise
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def compile_model(
    model: ModelSource,
    chip: str | AnyChip = DEFAULT_CHIP,
    options: CompileOptions | None = None,
    **keywords: Unpack[CompileKeywords],
) -> Compilation:
    """Compile an ONNX model onto a chip.

    Parameters
    ----------
    model : path or onnx.ModelProto
    chip : str, ChipSpec or PaicoreSpec
        A preset, the path of a chip YAML, or a chip.
    options, **keywords
        One `CompileOptions`, or its fields as keywords: ``compile_model("lenet.onnx", keep_dead=True)``.

    Raises
    ------
    DoesNotFit
        With every limit that the network exceeds.
    ModelError
        Its ``problems`` list everything that prevents the model from being compiled.
    UsageError, InputError
        An unknown option or chip, or a file that cannot be used.
    """
    return _fitting(check(model, chip, options, **keywords))


def check(
    model: ModelSource,
    chip: str | AnyChip = DEFAULT_CHIP,
    options: CompileOptions | None = None,
    tell: Callable[[str], None] | None = None,
    **keywords: Unpack[CompileKeywords],
) -> Compilation | FailedCompilation:
    """Compile like `compile_model`, but return what is known of a network that does not fit instead of raising.

    Parameters
    ----------
    model, chip, options, **keywords
        As for `compile_model`.
    tell : callable, optional
        Is told what is being done, for a progress line.

    Raises
    ------
    ModelError, UsageError, InputError
        As `compile_model`.
    """
    stages, given = Stages(), merged(options or CompileOptions(), keywords)
    stages.tell = tell or stages.tell
    target = _target(chip, given)  # an unknown chip is refused before a large model is read
    if nir_path(model, given) is None:
        read, graph = front(model, given, stages)
        found = _back(graph, target, given, stages)
        return _advised(found, model, read, graph, given, stages) if isinstance(found, FailedCompilation) else found
    if isinstance(target, PaicoreSpec):
        raise UsageError(
            "--chip", f"{target.name!r} takes networks of one step (ONNX); compile a NIR file for a crossbar chip",
            code="chip-kind", found=target.name,
        )  # fmt: skip
    exported = exported_front(model, given, stages)
    if exported is not None:
        return _back(exported, target, given, stages)
    network = spiking_front(model, given, stages)
    found = _back(network.graph, target, given, stages)
    if not _nir_options(given).rounds:
        return found
    with stages.stage("agreement"):
        return replace(found, agreement=agreement(network, random_frames(network)), rounded=network.integers.rounded)


def read_layers(
    model: ModelSource, options: FrontendOptions | None = None, **keywords: Unpack[FrontendKeywords]
) -> LayerGraph:
    """Read an ONNX model as a layer graph: integer weights and thresholds, without a chip.

    Parameters
    ----------
    model : path or onnx.ModelProto
    options, **keywords
        One `FrontendOptions`, or its fields as keywords.

    Raises
    ------
    ModelError, UsageError
    """
    given = merged(options or FrontendOptions(), keywords)
    if nir_path(model, given) is not None:
        return exported_front(model, given, Stages()) or spiking_front(model, given, Stages()).graph
    return front(model, given)[1]


def compile_layers(
    graph: LayerGraph,
    chip: str | AnyChip = DEFAULT_CHIP,
    options: BackendOptions | None = None,
    **keywords: Unpack[BackendKeywords],
) -> Compilation:
    """Compile a layer graph, made by `read_layers` or by other means, onto a chip.

    Parameters
    ----------
    graph : LayerGraph
    chip : str, ChipSpec or PaicoreSpec
        A preset, the path of a chip YAML, or a chip.
    options, **keywords
        One `BackendOptions`, or its fields as keywords.

    Raises
    ------
    DoesNotFit
        With every limit that the network exceeds.
    UsageError, InputError
        An unknown option or chip, or a file that cannot be used.
    """
    return _fitting(check_layers(graph, chip, options, **keywords))


def check_layers(
    graph: LayerGraph,
    chip: str | AnyChip = DEFAULT_CHIP,
    options: BackendOptions | None = None,
    **keywords: Unpack[BackendKeywords],
) -> Compilation | FailedCompilation:
    """Compile like `compile_layers`, but return what is known of a network that does not fit instead of raising.

    Raises
    ------
    UsageError, InputError
        As `compile_layers`.
    """
    given = merged(options or BackendOptions(), keywords)
    verify_layers(graph)
    return _back(graph, _target(chip, given), given, Stages())


def nir_path(model: ModelSource, options: FrontendOptions) -> str | None:
    """Return the path of a NIR file, None for ONNX; refuse the options of the one for the other.

    Raises
    ------
    UsageError
    """
    path = None if not isinstance(model, str | os.PathLike) else os.fspath(model)
    if path is None or not is_nir(path):
        if options.nir.given:
            raise UsageError(
                "--semantics", "and the other options of spiking networks have no effect on an ONNX model; leave them out",
                code="option-unused", found=path,
            )  # fmt: skip
        return None
    for option, given in (
        ("--output", options.output), ("--levels", options.levels), ("--encoder", options.encoder != "host"),
        ("--readout", options.readout != "auto"),
    ):  # fmt: skip
        if given:
            raise UsageError(option, "has no effect on a NIR file; leave it out", code="option-unused", found=str(given))
    return path


def _nir_options(options: FrontendOptions) -> NirOptions:
    """Return the options of a NIR file, with the bits of the weights from either place."""
    bits = options.boundaries.bits
    return replace(options.nir, weight_bits=bits.every, layer_bits=bits.named) if bits else options.nir


def exported_front(model: ModelSource, options: FrontendOptions, stages: Stages) -> LayerGraph | None:
    """Return the layer graph that a NIR file was exported from; None where it was not, or options ask for something else."""
    path = nir_path(model, options)
    if path is None or _nir_options(options).given:
        return None
    with stages.stage("integerize"):
        return stored_graph(read_nir(path))


def spiking_front(model: ModelSource, options: FrontendOptions, stages: Stages) -> SpikingNetwork:
    """Read a NIR file as a layer graph: the part that `compile_model`, `check` and `verify` share."""
    path = nir_path(model, options)
    assert path is not None
    with stages.stage("integerize"):
        found = read_spiking(
            read_nir(path),
            _nir_options(options),
            lambda metadata: _pixels(metadata.get("qsnnc.pixels"), options.pixels, path),
        )
    verify_layers(found.graph)
    return found


def front(
    source: ModelSource, options: FrontendOptions | None = None, stages: Stages | None = None
) -> tuple[Model, LayerGraph]:
    """Read a model and integerize it: the part that `compile_model`, `check` and `verify` share."""
    options, stages = options or FrontendOptions(), stages or Stages()
    chosen = options.boundaries
    with stages.stage("read"):
        model = read_onnx(source, options.output)
    rule = pixel_rule(model, options.pixels)
    with stages.stage("integerize"):
        found = integerize_from_best(model, rule, chosen)
    limits = limits_of(model, found.graph, options.levels)
    if not limits:
        return _checked(model, found)
    limited, graph = _limited(source, limits, rule, options, stages)
    graph = with_ceilings(graph, found.graph, limits)
    verify_layers(graph)
    return limited, graph


def _limited(
    source: ModelSource, limits: Mapping[str, float], rule: InputSpec, options: FrontendOptions, stages: Stages
) -> tuple[Model, LayerGraph]:
    """Read a model with a Clip at some tensors and integerize it."""
    with stages.stage("read"):
        model = read_onnx(source, options.output, limits)
    with stages.stage("integerize"):
        found = integerize_from_best(model, rule, options.boundaries)
    return _checked(model, found)


def _checked(model: Model, found: Integerized) -> tuple[Model, LayerGraph]:
    """Return the model whose reference has the changed weights, and its layer graph."""
    graph = replace(found.graph, weights_changed=tuple(map(_record, found.changed)))
    verify_layers(graph)
    return in_reference(model, found.changed), graph


def _record(change: ChangedWeights) -> WeightsChanged:
    """Return what a result tells of weights that were quantized."""
    tensor, replaced = change.tensor, change.node.inputs[change.position]
    return WeightsChanged(change.layer, change.bits, change.changed, change.weights.size, change.error, tensor, replaced)


def _back(graph: LayerGraph, chip: AnyChip, options: BackendOptions, stages: Stages) -> Compilation | FailedCompilation:
    """From a layer graph to a mapping: the part that `compile_layers` and `check` share."""
    if isinstance(chip, PaicoreSpec):
        return _words(graph, chip, options, stages)
    laid = lay_out(graph, chip, keep_dead=options.keep_dead, stage=stages.stage, tell=stages.tell)
    return place_layout(laid, chip, options, stages)


def place_layout(
    laid: Layout, chip: ChipSpec, options: BackendOptions, stages: Stages, elsewhere: ChipMapping | None = None
) -> Compilation | FailedCompilation:
    """From cores without positions to a mapping.

    Parameters
    ----------
    elsewhere : Mapping, optional
        The same cores at other positions, perhaps on another grid: only what positions change is made anew.
    """
    if laid.cores is None:
        return FailedCompilation(
            chip=chip, graph=laid.graph, code=laid.code, neurons=laid.neurons, layers=laid.layers,
            violations=laid.violations, seconds=stages.seconds, estimated=laid.estimated,
        )  # fmt: skip
    graph, neurons, layers, cores = laid.graph, laid.neurons, laid.layers, laid.cores
    placed = _placed(graph, cores, chip, options.placing, stages)
    with stages.stage("assemble"):
        mapping = moved(elsewhere, placed, chip) if elsewhere else assemble(graph, neurons, cores, placed, chip)
        validate_mapping(mapping)
    return Compilation(
        chip=chip, graph=graph, code=laid.code, neurons=neurons, layers=layers,
        mapping=mapping, placement=placed, seconds=stages.seconds,
    )  # fmt: skip


def _advised(
    found: FailedCompilation, source: ModelSource, model: Model, graph: LayerGraph, options: CompileOptions, stages: Stages
) -> FailedCompilation:
    """Say what fewer levels, narrower weights and a larger grid would take, where cores are what is missing."""
    chip = found.chip
    if not isinstance(chip, ChipSpec) or not any(violation.code == "cores" for violation in found.violations):
        return found
    stages.tell("counting what fewer levels and narrower weights take")
    others: tuple[Alternative, ...] = ()
    if sum(layer.features for layer in graph.layers) <= MOST_FEATURES:
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
        _, changed = _limited(source, limits, graph.input, given, stages)
    except ReportedError:
        return None
    return lay_out(changed, chip, keep_dead=options.keep_dead).counted


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


def _words(graph: LayerGraph, chip: PaicoreSpec, options: BackendOptions, stages: Stages) -> Compilation | FailedCompilation:
    """From a layer graph to the words of a chip of kind paicore."""
    with stages.stage("paicore25"):
        found = paicore25.compile_network(graph, chip, keep_dead=options.keep_dead, coding=options.code)
    if found.program is None:
        return FailedCompilation(
            chip=chip, graph=graph, neurons=(), layers=found.layers, violations=found.violations, seconds=stages.seconds
        )
    return Compilation(
        chip=chip,
        graph=graph,
        neurons=(),
        layers=found.layers,
        mapping=found.program,
        placement=None,
        seconds=stages.seconds,
    )


def _placed(graph: LayerGraph, cores: CoreGraph, chip: ChipSpec, placing: Placing, stages: Stages) -> Placement:
    """Give every core its position, by the rates of the calibration images where there are any."""
    rates = None
    if placing.images is not None:
        with stages.stage("calibrate"):
            rates = firing_rates(graph, cores, encoder_of(graph), placing.images, placing.name)
    with stages.stage("place"):
        placed = place(
            cores,
            chip,
            rates=rates,
            strategy=placing.strategy,
            effort=placing.effort,
            seed=placing.seed,
            routes=routes(chip),
        )
        verify_placement(cores, placed, chip)
    return placed


def encoder_of(graph: LayerGraph) -> Callable[[npt.NDArray[Any]], Int]:
    """Return the encoder as a function: from a batch of images of the model's dtype to levels (spikes are levels)."""
    if graph.encoder_onnx is None:
        return lambda batch: np.asarray(batch, np.int64)
    run = session(graph.encoder_onnx).run
    most = graph.encoder.levels
    return lambda batch: np.minimum(run(["levels"], {graph.input.name: batch})[0], most)


def _target(chip: str | AnyChip, options: BackendOptions) -> AnyChip:
    """Return the chip without what is to be avoided."""
    found = load_any_chip(chip) if isinstance(chip, str) else chip
    paicore25.check_coding(options.code, found)
    return without_cores(found, options.avoid) if isinstance(found, PaicoreSpec) else without(found, options.avoid)


def _fitting(found: Compilation | FailedCompilation) -> Compilation:
    """Raise where the network does not fit."""
    if isinstance(found, FailedCompilation):
        raise DoesNotFit(found.violations, found.chip.name)
    return found


def pixel_rule(model: Model, pixels: str | None) -> InputSpec:
    """Find the rule for uint8 pixels: that of the model's metadata, else the option, else ``unit``.

    Raises
    ------
    ModelError
        The metadata has no valid rule.
    """
    rule = _pixels(model.metadata.get("qsnnc.pixels"), pixels, str(model.path))
    return InputSpec(model.input, model.input_dtype, model.shapes[model.input], *rule)


def _pixels(own: str | None, given: str | None, path: str) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    try:
        return parse_pixels(own or given or "unit")
    except ValueError as error:  # options are checked when they are made
        raise ModelError(path, f"its metadata qsnnc.pixels: {error}", code="option-value") from None
