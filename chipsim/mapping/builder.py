"""Build a mapping by hand: groups of neurons, and cores that hold them with their weights and thresholds.

::

    net = chipsim.MappingBuilder("mini")
    image = net.input(3, levels=2)               # 3 features of 2 thermometer neurons each: 6 sources
    hidden = net.layer("hidden", 2)
    net.core(hidden, image, [[1, 0], [1, 0], [0, 1], [0, 1], [-1, 1], [-1, 1]], thresholds=[1, 3])
    scores = net.readout("scores", 2)
    net.core(scores, hidden + image[:1], [[3, -1], [-2, 4], [0, 1]])
    mapping = net.build()
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec, load_chip
from chipsim.errors import MappingError
from chipsim.mapping.arrays import CorePlan, pack
from chipsim.mapping.groups import (
    CoreOfGroup,
    InputGroup,
    LayerGroup,
    NeuronGroup,
    Neurons,
    each,
    elements_of,
    fold_of,
    matrix_of,
    sides,
    width_of,
)
from chipsim.mapping.host_models import encoder_model, readout_model
from chipsim.mapping.program import RELAY, Layer, Mapping, Population
from chipsim.mapping.totals import axon_synapses
from chipsim.mapping.validate import validate_mapping


class MappingBuilder:
    """Builds a mapping from the input, layers, a readout and the cores that hold their neurons.

    Cores are numbered in the order in which they are added.

    Parameters
    ----------
    chip : str, path or ChipSpec
        Name or YAML file of a chip, or the chip itself.
    """

    def __init__(self, chip: str | Path | ChipSpec = "xbar1152") -> None:
        self.chip = chip if isinstance(chip, ChipSpec) else load_chip(str(chip))
        self._input: InputGroup | None = None
        self._layers: list[LayerGroup] = []
        self._cores: list[CoreOfGroup] = []
        self._scale = 1.0

    def input(
        self,
        shape: int | tuple[int, ...],
        levels: int = 1,
        *,
        spikes: bool = False,
        dense_fanout: int | Sequence[int] = 0,
    ) -> NeuronGroup:
        """Declare the input: each feature of an image is encoded by ``levels`` thermometer neurons.

        Parameters
        ----------
        shape : int or tuple of int
            Features of one image.
        levels : int
            Neuron i of a feature fires iff the feature's level is above i.
        spikes : bool
            The images hold the spikes themselves, uint8 (N, *shape, levels), 0 or 1. By default they hold the levels,
            uint8 or float32 (N, *shape).
        dense_fanout : int or sequence of int
            For the paper's SOP count (FORMAT.md): of every neuron, or of each.

        Raises
        ------
        MappingError
            There is an input already, or it would have no neurons.
        """
        if self._input is not None:
            raise MappingError("input", "is declared already; a mapping has one input", code="builder-input")
        extent = sides(shape)
        count = math.prod(extent) * levels
        if levels < 1 or count < 1:
            raise MappingError("input", f"has shape {list(extent)}, {levels} levels; allowed: >= 1", code="builder-input")
        self._input = InputGroup(extent, levels, spikes, each(dense_fanout, count, "input", "dense_fanout"))
        return self._group("input", 0, count)

    def layer(
        self,
        name: str,
        shape: int | tuple[int, ...],
        levels: int = 1,
        *,
        tick: int | None = None,
        weight_bits: int | None = None,
        relay: bool = False,
    ) -> NeuronGroup:
        """Add a layer of spiking neurons: ``levels`` thermometer neurons for each feature.

        Parameters
        ----------
        tick : int, optional
            Tick of the frame in which the layer fires; by default the first after the last of its sources.
        weight_bits : int, optional
            Width of its weights; by default the narrowest of the chip that holds them.
        relay : bool
            The layer only passes the spikes of another group on (FORMAT.md, *Relays*).

        Raises
        ------
        MappingError
            The name is in use, or the layer would have no neurons.
        """
        if levels < 1:
            raise MappingError(name, f"has {levels} levels; allowed: 1 or more", code="builder-layer")
        return self._add(name, shape, levels, tick, weight_bits, RELAY if relay else "dense")

    def readout(
        self,
        name: str,
        shape: int | tuple[int, ...],
        *,
        tick: int | None = None,
        weight_bits: int | None = None,
        scale: float = 1.0,
    ) -> NeuronGroup:
        """Add the readout layer: its potentials are the result, and its neurons never fire.

        Parameters
        ----------
        scale : float
            The output ``scores``, float32 (N, *shape), is scale * potential.
        tick, weight_bits
            As in `layer`.

        Raises
        ------
        MappingError
            The name is in use, or there is a readout already.
        """
        if any(layer.levels == 0 for layer in self._layers):
            raise MappingError(name, "is a second readout; a mapping has one", code="builder-layer")
        self._scale = scale
        return self._add(name, shape, 0, tick, weight_bits, "dense")

    def core(
        self,
        layer: NeuronGroup,
        sources: Neurons,
        weights: npt.ArrayLike,
        thresholds: npt.ArrayLike | None = None,
        *,
        elements: Sequence[int] | None = None,
        fold: int | None = None,
        position: tuple[int, int] | None = None,
        dense_fanout: int | Sequence[int] = 0,
    ) -> int:
        """Add a core that holds neurons of a layer, and return its number.

        Parameters
        ----------
        layer : NeuronGroup
            Layer or readout that the neurons belong to.
        sources : Neurons
            Source of each axon; a source may occur several times.
        weights : array_like of int, (axons, neurons)
            0 is no synapse.
        thresholds : int or array_like of int, (neurons,)
            A neuron fires iff its potential is at least its threshold. By default 1; a readout has none.
        elements : sequence of int, optional
            Which neurons of the layer these are; by default the first that no core holds yet.
        fold : int, optional
            Segments of columns that a neuron takes; by default the fewest that hold the axons.
        position : (int, int), optional
            Column and row on the grid; by default the first free position, row by row.
        dense_fanout : int or sequence of int
            As in `input`.

        Raises
        ------
        MappingError
            Sizes that do not agree, neurons that do not exist or are on a core already, or no position left.
        """
        target = self._layer_of(layer)
        matrix = matrix_of(weights, len(sources), target.name)
        if sources.builder is not self:
            raise MappingError(target.name, "has sources of another builder", code="builder-sources")
        count, default = matrix.shape[1], 0 if target.levels == 0 else 1
        core = CoreOfGroup(
            layer=layer.number - 1,
            sources=sources,
            weights=matrix,
            thresholds=each(default if thresholds is None else thresholds, count, target.name, "thresholds"),
            elements=elements_of(target, elements, count),
            dense_fanout=each(dense_fanout, count, target.name, "dense_fanout"),
            fold=fold_of(self.chip, len(sources)) if fold is None else fold,
            position=self._free(target.name) if position is None else position,
        )
        target.cores.append(core)
        self._cores.append(core)
        return len(self._cores) - 1

    def build(self, *, model: bytes = b"", validate: bool = True) -> Mapping:
        """Return the mapping.

        Parameters
        ----------
        model : bytes
            Content of the ONNX file that the mapping implements, for `chipsim.compare`.
        validate : bool
            Check the mapping against every rule of FORMAT.md and every limit of the chip.

        Raises
        ------
        MappingError
            Names the layer or the core, the limit, and what was found.
        """
        if self._input is None or not self._cores:
            missing = "input" if self._input is None else "core"
            raise MappingError("mapping", f"has no {missing}; add one with {missing}()", code="builder-empty")
        ticks = self._ticks()
        layers = tuple(self._finished(number, tick) for number, tick in enumerate(ticks[1:]))
        output = next((layer for layer in layers if layer.levels == 0), None)
        if output is None:
            raise MappingError("mapping", "has no readout; add one with readout()", code="builder-empty")
        given = self._input
        mapping = Mapping(
            model_sha256=hashlib.sha256(model).hexdigest(),
            exactness="certified",
            generator="chipsim.MappingBuilder",
            chip=self.chip,
            input=given.spec,
            encoder=Population("encoder", "", given.shape, given.levels, 1.0, 0.0, 0),
            layers=layers,
            output_tensor="scores",
            output_shape=output.shape,
            ticks=1 + max(ticks),
            arrays=pack(self._plans(layers), given.dense_fanout, ticks),
            encoder_onnx=None if given.spikes else encoder_model(given.shape),
            readout_onnx=readout_model(output.shape, self._scale),
        )
        if validate:
            validate_mapping(mapping)
        return mapping

    def _group(self, name: str, number: int, count: int) -> NeuronGroup:
        return NeuronGroup(self, np.full(count, number), np.arange(count), name, number)

    def _add(
        self, name: str, shape: int | tuple[int, ...], levels: int, tick: int | None, bits: int | None, kind: str
    ) -> NeuronGroup:
        if name in ("encoder", *(layer.name for layer in self._layers)):
            raise MappingError(name, "is the name of another group; choose another name", code="builder-layer")
        layer = LayerGroup(name, sides(shape), levels, tick, bits, kind, [])
        if layer.neurons < 1:
            raise MappingError(name, f"has shape {list(layer.shape)}; allowed: 1 or more each", code="builder-layer")
        self._layers.append(layer)
        return self._group(name, len(self._layers), layer.neurons)

    def _layer_of(self, group: NeuronGroup) -> LayerGroup:
        if group.builder is not self or group.number == 0:
            raise MappingError(group.name, "is not a layer of this builder; use what layer() returned", code="builder-layer")
        return self._layers[group.number - 1]

    def _free(self, name: str) -> tuple[int, int]:
        """Return the first position, row by row, that is neither taken nor dead."""
        columns, rows = self.chip.grid
        taken = {core.position for core in self._cores} | set(self.chip.dead_cores)
        for number in range(columns * rows):
            position = (number % columns, number // columns)
            if position not in taken:
                return position
        raise MappingError(
            name,
            f"needs another core; chip {self.chip.name!r} has {self.chip.cores}; use a larger chip",
            code="map-position",
        )

    def _ticks(self) -> list[int]:
        """Return the tick of each group, the input first."""
        ticks: list[int] = [0]
        for layer in self._layers:
            groups = {int(group) for core in layer.cores for group in np.unique(core.sources.group)}
            if layer.tick is None and max(groups, default=0) >= len(ticks):
                later = self._layers[max(groups) - 1].name
                raise MappingError(
                    layer.name, f"has sources in {later}, which was added after it; give both a tick", code="builder-ticks"
                )
            ticks.append(1 + max((ticks[group] for group in groups), default=0) if layer.tick is None else layer.tick)
        for core in self._cores:
            for group in np.unique(core.sources.group).tolist():
                delay, name = ticks[core.layer + 1] - ticks[group], self._layers[core.layer].name
                if not 1 <= delay <= 255:
                    raise MappingError(name, f"fires {delay} ticks after one of its sources; allowed: 1 to "
                                       f"{self.chip.max_delay}", code="map-ticks", found=delay)  # fmt: skip
        return ticks

    def _finished(self, number: int, tick: int) -> Layer:
        layer = self._layers[number]
        if not layer.cores:
            raise MappingError(layer.name, "is on no core; add one with core()", code="builder-layer")
        neurons = sum(len(core.elements) for core in layer.cores)
        return Layer(
            name=layer.name,
            tensor="",
            shape=layer.shape,
            levels=layer.levels,
            scale=1.0,
            zero_point=0.0,
            tick=tick,
            kind=layer.kind,
            weight_bits=width_of(self.chip, layer),
            fan_in=max(len(core.sources) for core in layer.cores),
            fold=max(core.fold for core in layer.cores),
            neurons=neurons,
            removed=0 if layer.kind == RELAY else layer.neurons - neurons,
            synapses=sum(int(axon_synapses(core.weights.astype(np.int8)).sum()) for core in layer.cores),
            cores=len(layer.cores),
            bound=len(layer.cores),
            limiting="columns",
        )

    def _plans(self, layers: Sequence[Layer]) -> list[CorePlan]:
        """Number the sources: those of the input, then the neurons core by core."""
        assert self._input is not None
        sizes = [self._input.neurons, *(layer.neurons for layer in self._layers)]
        first = np.concatenate([[0], np.cumsum(sizes)])  # of each group in `number`
        number = np.full(first[-1], -1)
        number[: sizes[0]] = np.arange(sizes[0])
        held = np.concatenate([first[core.layer + 1] + core.elements for core in self._cores])
        number[held] = sizes[0] + np.arange(len(held))
        plans = []
        for core in self._cores:
            sources = number[first[core.sources.group] + core.sources.element]
            if (sources < 0).any():
                at = int((sources < 0).argmax())
                group = self._layers[core.sources.group[at] - 1].name
                raise MappingError(
                    self._layers[core.layer].name,
                    f"has neuron {core.sources.element[at]} of {group} as a source, and no core holds it",
                    code="builder-sources",
                )
            plans.append(
                CorePlan(
                    core.layer, core.position, core.fold, layers[core.layer].weight_bits, core.weights, sources,
                    core.elements, core.thresholds, core.dense_fanout,
                )
            )  # fmt: skip
        return plans
