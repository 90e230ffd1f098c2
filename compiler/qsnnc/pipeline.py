"""The compiler's driver: from an ONNX model to a mapping, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.chip import AnyChip, ChipSpec, PaicoreSpec, load_any_chip
from chipsim.chip.avoid import without, without_cores
from chipsim.chip.routes import routes
from chipsim.errors import UsageError
from chipsim.mapping import Mapping as ChipMapping
from chipsim.mapping import validate_mapping
from chipsim.mapping.write import Ahead
from qsnnc.compilation import Compilation, Estimate, FailedCompilation
from qsnnc.errors import DoesNotFit
from qsnnc.frontend.model.reference import session
from qsnnc.ir.cores import CoreGraph
from qsnnc.ir.layers import Int, LayerGraph, verify_layers
from qsnnc.narrower import advised
from qsnnc.options import (
    BackendKeywords,
    BackendOptions,
    CompileKeywords,
    CompileOptions,
    FrontendKeywords,
    FrontendOptions,
    Placing,
    merged,
)  # fmt: skip
from qsnnc.partition.layout import Layout, lay_out
from qsnnc.place.assemble import POSITION, assemble, moved
from qsnnc.place.positions import Placement, place, verify_placement
from qsnnc.reading import exported_front, front, nir_options, nir_path, spiking_front
from qsnnc.stages import Stages

if TYPE_CHECKING:
    from qsnnc.reading import ModelSource

DEFAULT_CHIP = "xbar1152"


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
    return _fitting(check(model, chip, options, whole=True, **keywords))


def check(
    model: ModelSource,
    chip: str | AnyChip = DEFAULT_CHIP,
    options: CompileOptions | None = None,
    tell: Callable[[str], None] | None = None,
    *,
    whole: bool = False,
    deflate: bool = False,
    **keywords: Unpack[CompileKeywords],
) -> Compilation | FailedCompilation | Estimate:
    """Compile like `compile_model`, but return what is known of a network that does not fit instead of raising.

    Parameters
    ----------
    model, chip, options, **keywords
        As for `compile_model`.
    tell : callable, optional
        Is told what is being done, for a progress line.
    whole : bool
        Lay the network out however large it is. If not, one of more than 65,536 cores gives an `Estimate`.
    deflate : bool
        The mapping will be written: deflate what does not depend on the cores' positions while they are placed.

    Raises
    ------
    ModelError, UsageError, InputError
        As `compile_model`.
    """
    stages, given = Stages(deflate=deflate), merged(options or CompileOptions(), keywords)
    stages.tell = tell or stages.tell
    target = _target(chip, given)  # an unknown chip is refused before a large model is read
    if nir_path(model, given) is None:
        read, graph = front(model, given, stages)
        found = _back(graph, target, given, stages, whole=whole)
        return advised(found, model, read, graph, given, stages) if isinstance(found, FailedCompilation) else found
    if isinstance(target, PaicoreSpec):
        raise UsageError(
            "--chip", f"{target.name!r} takes networks of one step (ONNX); compile a NIR file for a crossbar chip",
            code="chip-kind", found=target.name,
        )  # fmt: skip
    exported = exported_front(model, given, stages)
    if exported is not None:
        return _back(exported, target, given, stages, whole=whole)
    network = spiking_front(model, given, stages)
    found = _back(network.graph, target, given, stages, whole=whole)
    if not nir_options(given).rounds:
        return found
    from qsnnc.nir.layers import agreement, random_frames

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
    given = merged(options or BackendOptions(), keywords)
    verify_layers(graph)
    return _fitting(_back(graph, _target(chip, given), given, Stages(), whole=True))


def check_layers(
    graph: LayerGraph,
    chip: str | AnyChip = DEFAULT_CHIP,
    options: BackendOptions | None = None,
    **keywords: Unpack[BackendKeywords],
) -> Compilation | FailedCompilation | Estimate:
    """Compile like `compile_layers`, but return what is known of a network that does not fit instead of raising.

    A network of more than 65,536 cores gives an `Estimate`.

    Raises
    ------
    UsageError, InputError
        As `compile_layers`.
    """
    given = merged(options or BackendOptions(), keywords)
    verify_layers(graph)
    return _back(graph, _target(chip, given), given, Stages(), whole=False)


def _back(
    graph: LayerGraph, chip: AnyChip, options: BackendOptions, stages: Stages, *, whole: bool
) -> Compilation | FailedCompilation | Estimate:
    """From a layer graph to a mapping: the part that `compile_layers` and `check` share."""
    if isinstance(chip, PaicoreSpec):
        return _words(graph, chip, options, stages)
    laid = lay_out(graph, chip, keep_dead=options.keep_dead, whole=whole, stage=stages.stage, tell=stages.tell)
    if laid.estimated and not laid.violations:
        return Estimate(chip=chip, graph=laid.graph, code=laid.code, neurons=(), layers=laid.layers, seconds=stages.seconds)
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
    with stages.stage("assemble"):
        whole = elsewhere or assemble(graph, neurons, cores, chip)
        ahead = Ahead(whole, POSITION) if stages.deflate else None
    placed = _placed(graph, cores, chip, options.placing, stages)
    with stages.stage("assemble"):
        mapping = moved(whole, placed, chip)
        validate_mapping(mapping)
    return Compilation(
        chip=chip, graph=graph, code=laid.code, neurons=neurons, layers=layers,
        mapping=mapping, placement=placed, ahead=ahead, seconds=stages.seconds,
    )  # fmt: skip


def _words(graph: LayerGraph, chip: PaicoreSpec, options: BackendOptions, stages: Stages) -> Compilation | FailedCompilation:
    """From a layer graph to the words of a chip of kind paicore."""
    from qsnnc.targets import paicore25

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
        from qsnnc.place.rates import firing_rates

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
    if options.code != "auto":
        from qsnnc.targets import paicore25

        paicore25.check_coding(options.code, found)
    return without_cores(found, options.avoid) if isinstance(found, PaicoreSpec) else without(found, options.avoid)


def _fitting(found: Compilation | FailedCompilation | Estimate) -> Compilation:
    """Raise where the network does not fit."""
    if not isinstance(found, Compilation):
        raise DoesNotFit(found.violations, found.chip.name)
    return found
