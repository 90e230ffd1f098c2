"""The compiler's driver: from an ONNX model to a mapping, stage by stage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.chip import AnyChip, ChipSpec, PaicoreSpec, load_any_chip
from chipsim.chip.avoid import without, without_cores
from chipsim.chip.routes import routes
from chipsim.errors import UsageError
from chipsim.mapping import InputSpec, validate_mapping
from qsnnc.compilation import Compilation, FailedCompilation
from qsnnc.errors import DoesNotFit, ModelError, Violation
from qsnnc.frontend.importer.clip_activations import limits_of
from qsnnc.frontend.importer.read import read_onnx
from qsnnc.frontend.integerize.direct_encoding import integerize_from_best
from qsnnc.frontend.integerize.weights import in_reference
from qsnnc.frontend.linear.weight_bits import ChangedWeights
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.reference import session
from qsnnc.ir.cores import CoreGraph, CoreLayer, verify_cores
from qsnnc.ir.layers import Int, LayerGraph, WeightsChanged, verify_layers
from qsnnc.lower.neurons import lower, verify_neurons
from qsnnc.lower.ranges import ranges
from qsnnc.nir.layers import SpikingNetwork, agreement, random_frames, read_spiking
from qsnnc.nir.options import NirOptions
from qsnnc.nir.reading import is_nir
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
from qsnnc.partition.cores import partition
from qsnnc.partition.estimate import too_large
from qsnnc.partition.estimate import violations as violations_of
from qsnnc.partition.image import choose
from qsnnc.place.assemble import assemble
from qsnnc.place.positions import Placement, place, verify_placement
from qsnnc.place.rates import firing_rates
from qsnnc.targets import paicore25

if TYPE_CHECKING:
    from os import PathLike

    import onnx

    ModelSource = str | PathLike[str] | onnx.ModelProto

DEFAULT_CHIP = "xbar1152"


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
        _, graph = front(model, given, stages)
        return _back(graph, target, given, stages)
    if isinstance(target, PaicoreSpec):
        raise UsageError(
            "--chip", f"{target.name!r} takes networks of one step (ONNX); compile a NIR file for a crossbar chip",
            code="chip-steps", found=target.name,
        )  # fmt: skip
    network = spiking_front(model, given, stages)
    found = _back(network.graph, target, given, stages)
    if _nir_options(given).weight_bits is None:
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
        return spiking_front(model, given, Stages()).graph
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
    given = merged(options or BackendOptions(), keywords)
    verify_layers(graph)
    return _fitting(_back(graph, _target(chip, given), given, Stages()))


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
        ("--readout", options.readout != "auto"), ("--weight-bits NAME=N", options.boundaries.bits.named),
    ):  # fmt: skip
        if given:
            raise UsageError(option, "has no effect on a NIR file; leave it out", code="option-unused", found=str(given))
    return path


def _nir_options(options: FrontendOptions) -> NirOptions:
    """Return the options of a NIR file, with the bits of the weights from either place."""
    every = options.boundaries.bits.every
    return options.nir if every is None else replace(options.nir, weight_bits=every)


def spiking_front(model: ModelSource, options: FrontendOptions, stages: Stages) -> SpikingNetwork:
    """Read a NIR file as a layer graph: the part that `compile_model`, `check` and `verify` share."""
    path = nir_path(model, options)
    assert path is not None
    with stages.stage("integerize"):
        found = read_spiking(
            path, _nir_options(options), lambda metadata: _pixels(metadata.get("qsnnc.pixels"), options.pixels, path)
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
    if limits:  # the same again, with a Clip at each of them
        with stages.stage("read"):
            model = read_onnx(source, options.output, limits)
        with stages.stage("integerize"):
            found = integerize_from_best(model, rule, chosen)
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
    code = None
    if graph.image_on_chip:
        with stages.stage("encoder"):
            graph, code = choose(graph, chip)
            verify_layers(graph)
    with stages.stage("estimate"):  # hundreds of millions of neurons are not written out to see that they do not fit
        estimated = too_large(graph, chip)
    if estimated is not None:
        found = (
            *(v for layer in graph.layers for v in ranges(layer, chip, graph.steps)),
            *violations_of(estimated, graph, chip),
        )
        return FailedCompilation(
            chip=chip, graph=graph, code=code, neurons=(), layers=estimated,
            violations=_causes(found, estimated), seconds=stages.seconds, estimated=True,
        )  # fmt: skip
    with stages.stage("lower"):
        neurons, violations = lower(graph, chip, keep_dead=options.keep_dead)
        verify_neurons(neurons, graph, chip)
    with stages.stage("partition"):
        cores, layers, more = partition(graph, neurons, chip, keep_dead=options.keep_dead, tell=stages.tell)
        violations += more
        if cores is not None and not violations:
            verify_cores(cores, chip)
    if cores is None or violations:
        return FailedCompilation(
            chip=chip, graph=graph, code=code, neurons=neurons, layers=layers,
            violations=_causes(violations, layers), seconds=stages.seconds,
        )  # fmt: skip
    placed = _placed(graph, cores, chip, options.placing, stages)
    with stages.stage("assemble"):
        mapping = assemble(graph, neurons, cores, placed, chip)
        validate_mapping(mapping)
    return Compilation(
        chip=chip, graph=graph, code=code, neurons=neurons, layers=layers,
        mapping=mapping, placement=placed, seconds=stages.seconds,
    )  # fmt: skip


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
    return lambda batch: np.asarray(run(["levels"], {graph.input.name: batch})[0])


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


def _causes(violations: tuple[Violation, ...], layers: tuple[CoreLayer, ...]) -> tuple[Violation, ...]:
    """Sort violations by layer, and a lack of cores, which the others cause, last."""
    order = [entry.layer.name for entry in layers]
    return tuple(sorted(violations, key=lambda v: (v.code == "cores", order.index(v.layer))))


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
        raise ModelError(path, f"its metadata qsnnc.pixels: {error}", code="pixels-invalid") from None
