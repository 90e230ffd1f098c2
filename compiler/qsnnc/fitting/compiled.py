"""Compile a changed network as ``qsnnc compile`` does, and measure it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from chipsim.chip import AnyChip, ChipSpec, load_any_chip
from chipsim.chip.avoid import without
from chipsim.mapping import InputSpec
from qsnnc.errors import DoesNotFit, Violation
from qsnnc.fitting.change import Change
from qsnnc.fitting.cut import CannotCut, cut
from qsnnc.fitting.edit import Narrowed, edited
from qsnnc.fitting.measure import Array, Images, accuracy, distance, scores
from qsnnc.frontend.importer.check import load
from qsnnc.frontend.importer.parse import opened
from qsnnc.frontend.model.model import Model
from qsnnc.ir.layers import LayerGraph, Population
from qsnnc.options import CompileOptions, Placing
from qsnnc.partition.advice import Counted
from qsnnc.partition.layout import lay_out
from qsnnc.pipeline import compile_layers
from qsnnc.reading import front
from qsnnc.verification.weight_effects import predictions

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Measured:
    """What a network does on some images, beside the unchanged one."""

    images: str
    count: int
    accuracy: float | None  # None without labels
    lost: float | None  # of accuracy, a fraction; negative: gained
    predictions_changed: int
    error: float  # of the scores, squared, relative to their variance


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """A changed network that fits its chip."""

    change: Change
    chip: AnyChip
    cores: int
    cores_bound: int
    certified: bool
    host_share: float  # of the multiplications that the chip does for the unchanged network: left to the host
    content: bytes | None  # the changed ONNX file; None: the user's own, with options
    calibration: Measured | None
    dataset: Measured | None = None  # of those that are reported
    uncut: Mapping[str, str] = field(default_factory=dict)  # whose channels are multiplied by zero, and why they stay
    changed: tuple[Model, InputSpec] | None = None  # what was compiled
    narrowing: float = 0.0  # sum of the errors that its narrowings have alone


@dataclass(frozen=True, slots=True, eq=False)
class Refused:
    """A changed network that does not fit its chip."""

    change: Change
    violations: tuple[Violation, ...]

    @property
    def cores(self) -> int | None:
        """How many cores it needs; None if something else is in the way."""
        only = len(self.violations) == 1 and self.violations[0].code == "cores"
        return int(self.violations[0].found) if only else None


@dataclass(eq=False)
class Compiler:
    """Compiles changes of one network; what they have in common is read once."""

    source: str
    options: CompileOptions
    chip: AnyChip
    model: Model
    graph: LayerGraph
    calibration: Images | None
    dataset: Images | None
    tell: Callable[[str], None] = lambda _: None
    tried: int = 0
    _wanted: dict[str, Array] = field(default_factory=dict)

    @cached_property
    def file(self) -> onnx.ModelProto:
        """The user's file with functions inlined and one output: what is edited."""
        path, content = opened(self.source)
        return load(path, content, self.options.output)

    @cached_property
    def populations(self) -> dict[str, Population]:
        """The activations of the unchanged network, by name."""
        return {entry.name: entry for entry in (self.graph.encoder, *self.graph.layers)}

    @property
    def levels(self) -> dict[str, int]:
        """Their largest levels."""
        return {name: entry.levels for name, entry in self.populations.items()}

    def content(self, change: Change) -> tuple[bytes | None, dict[str, str]]:
        """Return the changed ONNX file, None if options alone make the change; and whose channels are not cut, and why."""
        if not change.needs_file:
            return None, {}
        from onnx import helper

        proto, narrowed, uncut = self._cut(change)
        proto = edited(proto, narrowed)
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        helper.set_model_props(proto, {**metadata, "qsnnc.fit": "; ".join(change.words(self.levels, uncut))})
        return bytes(proto.SerializeToString(deterministic=True)), uncut

    def _cut(self, change: Change) -> tuple[onnx.ModelProto, list[tuple[Population, Narrowed]], dict[str, str]]:
        """Cut channels out of the file where its graph allows it; return it, and what is to be edited besides."""
        proto, narrowed, uncut = self.file, [], {}
        for name, each in change.narrowed.items():
            entry = self.populations[name]
            if each.without:
                shape = entry.tensor_shape
                try:
                    proto = cut(proto, entry.tensor, len(shape) + 1, shape[0], each.without)
                    each = replace(each, without=())  # the rest of it
                except CannotCut as error:
                    uncut[name] = str(error)
            if each.without or each.levels < entry.levels or each.step != 1:
                narrowed.append((entry, each))
        return proto, narrowed, uncut

    def unchanged(self) -> tuple[tuple[Violation, ...], Counted]:
        """Return all limits that the unchanged network exceeds, none if it fits, and the cores that it needs."""
        if isinstance(self.chip, ChipSpec):
            laid = lay_out(self.graph, without(self.chip, self.options.avoid), tell=self.tell)
            return laid.violations, laid.counted
        try:
            found = compile_layers(self.graph, self.chip, avoid=self.options.avoid, code=self.options.code)
        except DoesNotFit as error:
            cores = [int(v.found) for v in error.violations if v.code == "cores"]
            return error.violations, Counted(max(cores, default=0), estimated=False)
        return (), Counted(found.cores, estimated=False)

    def baseline(self, images: Images | None) -> Measured | None:
        """Return what the unchanged network does on some images."""
        if images is None:
            return None
        return Measured(images.name, len(images), accuracy(self.wanted(images), images), 0.0, 0, 0.0)

    def compile(self, change: Change) -> Fitting | Refused:
        """Compile a change, without looking for good places of its cores, and measure it if it fits.

        Raises
        ------
        ModelError, UsageError
            The changed network cannot be compiled for any chip.
        """
        self.tried += 1
        self.tell(f"compiling change {self.tried} ({change.kind(self.levels)})")
        content, uncut = self.content(change)
        options = change.options(self.options)
        model, graph = self.model, self.graph
        if not change.keeps_scores or change.encoder is not None:
            model, graph = front(self.source if content is None else parsed(content), options)
        chip = self.chip_of(change)
        placing = Placing(effort=0)  # where cores lie changes neither their number nor what they compute
        try:
            found = compile_layers(graph, chip, avoid=options.avoid, code=options.code, placing=placing)
        except DoesNotFit as error:
            return Refused(change, error.violations)
        return Fitting(
            change, chip, found.cores, found.cores_bound, graph.certified, self._host_share(graph), content,
            self._measured(change, model, graph.input, self.calibration), uncut=uncut, changed=(model, graph.input),
        )  # fmt: skip

    def reported(self, fitting: Fitting) -> Fitting:
        """Measure a chosen change on the images that its accuracy is reported on."""
        assert fitting.changed is not None
        return replace(fitting, dataset=self._measured(fitting.change, *fitting.changed, self.dataset))

    def chip_of(self, change: Change) -> AnyChip:
        """Return the chip that a change is compiled for."""
        if change.chip is not None:
            return load_any_chip(change.chip)
        if change.grid is None:
            return self.chip
        return type(self.chip).model_validate({**self.chip.model_dump(mode="json"), "grid": list(change.grid)})

    def _measured(self, change: Change, model: Model, rule: InputSpec, images: Images | None) -> Measured | None:
        if images is None or change.keeps_scores:
            return self.baseline(images)
        wanted = self.wanted(images)
        found = scores(model, rule, images)
        now, before = accuracy(found, images), accuracy(wanted, images)
        lost = None if now is None or before is None else before - now
        differ = int((predictions(found) != predictions(wanted)).sum())
        return Measured(images.name, len(images), now, lost, differ, distance(found, wanted))

    def wanted(self, images: Images) -> Array:
        """Return the scores of the unchanged network."""
        if images.name not in self._wanted:
            self._wanted[images.name] = scores(self.model, self.graph.input, images)
        return self._wanted[images.name]

    def _host_share(self, graph: LayerGraph) -> float:
        """Return the share of the unchanged network's multiplications on the chip that a changed one leaves to the host."""
        there = {layer.name for layer in graph.layers}
        work = {
            layer.name: layer.features * sum(link.weights[0].size for link in layer.connections)
            for layer in self.graph.layers
        }
        gone = sum(count for name, count in work.items() if name not in there)
        return float(gone / max(1, sum(work.values())))


def parsed(content: bytes) -> onnx.ModelProto:
    """Return a model from its bytes."""
    import onnx

    return onnx.load_model_from_string(content)
