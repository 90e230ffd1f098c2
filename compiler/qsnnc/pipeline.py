"""The whole story, from an ONNX file to a mapping, read straight down."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from chipsim.chip import AnyChip, PaicoreSpec, load_any_chip
from chipsim.chip.avoid import Source as Broken
from chipsim.chip.avoid import without, without_cores
from chipsim.chip.routes import routes
from chipsim.errors import UsageError
from chipsim.mapping import InputSpec, validate_mapping
from chipsim.mapping import Mapping as Program
from chipsim.mapping.write import to_bytes as map_bytes
from chipsim.paicore import Program as Words
from chipsim.paicore import to_bytes as paicore_bytes
from qsnnc.errors import DoesNotFit, ModelError, Violation
from qsnnc.frontend.importer.clip_activations import limits_of
from qsnnc.frontend.importer.read import read_onnx
from qsnnc.frontend.integerize.integerize import integerize
from qsnnc.frontend.model.model import Model
from qsnnc.ir.cores import CoreLayer, verify_cores
from qsnnc.ir.layers import LayerGraph, verify_layers
from qsnnc.lower.codes import Code
from qsnnc.lower.neurons import NeuronLayer, lower, ranges, verify_neurons
from qsnnc.partition.cores import partition
from qsnnc.partition.estimate import cores_violation, too_large
from qsnnc.partition.estimate import violations as violations_of
from qsnnc.partition.image import choose
from qsnnc.place.assemble import assemble
from qsnnc.place.positions import Placement, place, verify_placement
from qsnnc.place.rates import firing_rates
from qsnnc.targets import paicore25

DEFAULT_CHIP = "xbar1152"
#: where the network's first linear operator is computed
ENCODERS = ("host", "chip")


@dataclass(slots=True)
class Stages:
    """Seconds of each stage, and the name of the one at work."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and put its name on what it raises."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            error.add_note(f"in stage {name}")
            raise
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True, slots=True, eq=False)
class Placing:
    """How cores get their places.

    Parameters
    ----------
    images : ndarray, (N, ...), optional
        A calibration set, of the model's dtype or uint8 pixels: packets count as often as their source fires on it. Without
        it every source counts once.
    name : str
        What to call the images in an error.
    effort : float
        Work of the annealer, 1 the usual; 0 keeps the greedy start.
    seed : int
        Of the moves.
    strategy : str
        ``annealed``; to measure it against: ``greedy``, ``row-major``, ``random``, ``hilbert``.
    """

    images: npt.NDArray[Any] | None = None
    name: str = "calibration images"
    effort: float = 1.0
    seed: int = 0
    strategy: str = "annealed"


@dataclass(frozen=True, slots=True, eq=False)
class Compilation:
    """What became of a model: a mapping, or the violations that stand against one."""

    model: Model
    chip: AnyChip
    graph: LayerGraph
    neurons: tuple[NeuronLayer, ...]
    layers: tuple[CoreLayer, ...]
    mapping: Program | Words | None  # a chip of kind paicore takes words
    violations: tuple[Violation, ...]
    placement: Placement | None
    seconds: dict[str, float]
    code: Code | None = None  # of the image's pixels, where they enter the chip
    estimated: bool = False  # the layers' figures, of a network too large to be laid out

    @property
    def cores_bound(self) -> int:
        """Sum of the layers' bounds."""
        return sum(entry.bound for entry in self.layers)

    def to_bytes(self) -> bytes:
        """The mapping as a file: a ``.map``, or a ``.paicore`` where the chip takes words."""
        assert self.mapping is not None
        return paicore_bytes(self.mapping) if isinstance(self.mapping, Words) else map_bytes(self.mapping)


def front(
    path: str | Path,
    pixels: str | None = None,
    stages: Stages | None = None,
    *,
    output: str | None = None,
    levels: Mapping[str, int] | None = None,
    encoder: str = "host",
) -> tuple[Model, LayerGraph, InputSpec]:
    """Read a model and integerize it: what `compile_model`, `check` and `verify` share."""
    stages = stages or Stages()
    if encoder not in ENCODERS:
        raise UsageError(
            "--encoder", f"{encoder!r} is no place for the encoder; allowed: {', '.join(ENCODERS)}", code="encoder-invalid"
        )
    with stages.stage("read"):
        model = read_onnx(path, output)
    rule = pixel_rule(model, pixels)
    entering = rule if encoder == "chip" else None
    with stages.stage("integerize"):
        graph = integerize(model, rule.pixels, entering)
    limits = limits_of(model, graph, levels or {})
    if limits:  # the same again, with a Clip at each of them
        with stages.stage("read"):
            model = read_onnx(path, output, limits)
        with stages.stage("integerize"):
            graph = integerize(model, rule.pixels, entering)
    verify_layers(graph)
    return model, graph, rule


def check(
    path: str | Path,
    chip: str | AnyChip = DEFAULT_CHIP,
    pixels: str | None = None,
    *,
    keep_dead: bool = False,
    output: str | None = None,
    levels: Mapping[str, int] | None = None,
    encoder: str = "host",
    avoid: Broken | None = None,
    placing: Placing | None = None,
    coding: str = "auto",
) -> Compilation:
    """Compile as far as the model fits; a model that does not is no error here.

    Parameters
    ----------
    path : path
        The ONNX file.
    chip : str, ChipSpec or PaicoreSpec
        A preset, a chip YAML, or a chip.
    pixels : str, optional
        ``raw``, ``unit`` or ``MEAN,STD``; the model's own metadata goes first.
    keep_dead : bool
        Keep neurons that never fire, always fire or that nothing reads, and axons without a weight.
    output : str, optional
        Which output of the graph, where it has several.
    levels : dict, optional
        Activations, by the name of their layer, node or tensor, that never go beyond so many levels: what is compiled is
        the network with a Clip there.
    encoder : str
        ``host`` computes the first linear operator; with ``chip`` the pixels themselves enter, in the code that takes the
        fewest cores.
    avoid : path or dict, optional
        Dead cores and links of the chip at hand, besides its own: docs/faults.md.
    placing : Placing, optional
        How cores get their places.
    coding : str
        How levels travel, on a chip that has the choice: ``thermometer``, ``value``, or ``auto`` for fewer cores.

    Raises
    ------
    ModelError
        Its ``problems`` are all that stands against the model.
    UsageError, InputError
    """
    stages, placing = Stages(), placing or Placing()
    spec = load_any_chip(chip) if isinstance(chip, str) else chip
    paicore25.check_coding(coding, spec)
    spec = without_cores(spec, avoid) if isinstance(spec, PaicoreSpec) else without(spec, avoid)
    model, graph, rule = front(path, pixels, stages, output=output, levels=levels, encoder=encoder)
    if isinstance(spec, PaicoreSpec):
        with stages.stage("paicore25"):
            done = paicore25.compile_network(model, graph, spec, rule, keep_dead=keep_dead, coding=coding)
        return Compilation(
            model,
            spec,
            graph,
            (),
            done.layers,
            done.program,
            done.violations,
            None,
            stages.seconds,
            estimated=done.estimated,
        )
    code = None
    if encoder == "chip":
        with stages.stage("encoder"):
            graph, code = choose(graph, spec)
            verify_layers(graph)
    with stages.stage("estimate"):  # hundreds of millions of neurons are not written out to see that they do not fit
        estimated = too_large(graph, spec)
    if estimated is not None:
        found = (*(v for layer in graph.layers for v in ranges(layer, spec)), *violations_of(estimated, graph, spec))
        return Compilation(
            model, spec, graph, (), estimated, None, _causes(found, estimated), None, stages.seconds, code, estimated=True
        )
    with stages.stage("lower"):
        neurons, violations = lower(graph, spec, keep_dead=keep_dead)
        verify_neurons(neurons, graph, spec)
    with stages.stage("partition"):
        cores, layers, more = partition(graph, neurons, spec, keep_dead=keep_dead)
        violations += more
        if cores is not None and not violations:
            verify_cores(cores, spec)
    if cores is None or violations:
        violations = tuple(cores_violation(layers, graph, spec, about=False) if v.code == "cores" else v for v in violations)
        return Compilation(
            model, spec, graph, neurons, layers, None, _causes(violations, layers), None, stages.seconds, code
        )
    rates = None
    if placing.images is not None:
        with stages.stage("calibrate"):
            rates = firing_rates(graph, cores, rule, placing.images, placing.name)
    with stages.stage("place"):
        placed = place(
            cores,
            spec,
            rates=rates,
            strategy=placing.strategy,
            effort=placing.effort,
            seed=placing.seed,
            routes=routes(spec),
        )
        verify_placement(cores, placed, spec)
    with stages.stage("assemble"):
        mapping = assemble(model, graph, neurons, cores, placed, spec, rule)
        validate_mapping(mapping)
    return Compilation(model, spec, graph, neurons, layers, mapping, (), placed, stages.seconds, code)


def _causes(violations: tuple[Violation, ...], layers: tuple[CoreLayer, ...]) -> tuple[Violation, ...]:
    """In the order of the layers; that the cores do not suffice follows from the rest."""
    order = [entry.layer.name for entry in layers]
    return tuple(sorted(violations, key=lambda v: (v.code == "cores", order.index(v.layer))))


def compile_model(
    path: str | Path,
    chip: str | AnyChip = DEFAULT_CHIP,
    pixels: str | None = None,
    *,
    keep_dead: bool = False,
    output: str | None = None,
    levels: Mapping[str, int] | None = None,
    encoder: str = "host",
    avoid: Broken | None = None,
    placing: Placing | None = None,
    coding: str = "auto",
) -> Compilation:
    """Compile a model; as `check`, but a model that does not fit is an error.

    Raises
    ------
    DoesNotFit
        With every violation.
    """
    done = check(
        path,
        chip,
        pixels,
        keep_dead=keep_dead,
        output=output,
        levels=levels,
        encoder=encoder,
        avoid=avoid,
        placing=placing,
        coding=coding,
    )
    if done.mapping is None:
        raise DoesNotFit(done.violations, done.chip.name)
    return done


def pixel_rule(model: Model, pixels: str | None) -> InputSpec:
    """What becomes of uint8 pixels: the model's metadata, else the option, else ``unit``."""
    own = model.metadata.get("qsnnc.pixels")
    shape = model.shapes[model.input]
    try:
        given = _rule(pixels or "unit")  # looked at even where the model says it
    except ValueError as error:
        raise UsageError("--pixels", str(error), code="pixels-invalid") from None
    try:
        rule = _rule(own) if own else given
    except ValueError as error:
        raise ModelError(str(model.path), f"its metadata qsnnc.pixels: {error}", code="pixels-invalid") from None
    return InputSpec(model.input, model.input_dtype, shape, *rule)


def _rule(text: str) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """Name, mean and standard deviation of a pixel rule."""
    if text in ("raw", "unit"):
        return text, (0.0,), (1.0,)
    try:
        mean, std = (float(part) for part in text.split(","))
        if not (std > 0 and abs(mean) < 1e6 and std < 1e6):
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is no pixel rule; allowed: raw, unit or MEAN,STD (as in 0.1307,0.3081)") from None
    return "normal", (mean,), (std,)
