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
from typing import Literal

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec, load_chip
from chipsim.errors import MappingError
from chipsim.mapping.arrays import pack
from chipsim.mapping.dynamics import NeuronModel
from chipsim.mapping.groups import (
    CoreOfGroup,
    InputGroup,
    LayerGroup,
    NeuronGroup,
    Neurons,
    each,
    elements_of,
    fold_of,
    hold,
    matrix_of,
    sides,
)
from chipsim.mapping.host_models import encoder_model, readout_model
from chipsim.mapping.numbering import finished, plans, ticks_of
from chipsim.mapping.program import RELAY, InputCode, Mapping, Population, ReadoutOf
from chipsim.mapping.validate import validate_mapping


class MappingBuilder:
    """Builds a mapping from the input, layers, a readout and the cores that hold their neurons.

    Cores are numbered in the order in which they are added.

    Parameters
    ----------
    chip : str, path or ChipSpec
        Name or YAML file of a chip, or the chip itself.
    steps : int
        Steps of a frame. Layers with a ``neuron`` model keep their potentials from one to the next.
    """

    def __init__(self, chip: str | Path | ChipSpec = "xbar1152", *, steps: int = 1) -> None:
        if steps < 1:
            raise MappingError("mapping", f"has {steps} steps; allowed: 1 or more", code="builder-rule")
        self.chip = chip if isinstance(chip, ChipSpec) else load_chip(str(chip))
        self.steps = steps
        self._input: InputGroup | None = None
        self._layers: list[LayerGroup] = []
        self._cores: list[CoreOfGroup] = []
        self._taken, self._first = set(self.chip.dead_cores), 0  # positions, and the first that may not be
        self._scale = 1.0
        self._readout: NeuronGroup | None = None
        self._of: ReadoutOf = "potential"

    def input(
        self,
        shape: int | tuple[int, ...],
        levels: int = 1,
        *,
        spikes: bool = False,
        rate: Literal["bernoulli", "regular"] | None = None,
        seed: int = 0,
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
            The images hold the spikes themselves, uint8 (N, *shape, levels), 0 or 1; with several steps (N, steps, *shape),
            of one level. By default they hold the levels, uint8 or float32 (N, *shape), which enter in every step.
        rate : str, optional
            The host makes spikes of images with values 0 to 1 (FORMAT.md, *Input*); ``seed`` is that of ``bernoulli``.
        dense_fanout : int or sequence of int
            For the paper's SOP count (FORMAT.md): of every neuron, or of each.

        Raises
        ------
        MappingError
            There is an input already, or it would have no neurons.
        """
        if self._input is not None:
            raise MappingError("input", "is declared already; a mapping has one input", code="builder-rule")
        extent = sides(shape)
        count = math.prod(extent) * levels
        if levels < 1 or count < 1:
            raise MappingError("input", f"has shape {list(extent)}, {levels} levels; allowed: >= 1", code="builder-rule")
        code: InputCode = rate or ("image" if self.steps == 1 else "spikes" if spikes else "direct")
        if levels > 1 and code in ("spikes", "bernoulli", "regular"):
            raise MappingError("input", f"has {levels} levels; spikes in steps have 1", code="builder-rule")
        fanout = each(dense_fanout, count, "input", "dense_fanout")
        self._input = InputGroup(extent, levels, spikes, fanout, code, seed)
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
        neuron: NeuronModel | None = None,
    ) -> NeuronGroup:
        """Add a layer of spiking neurons: ``levels`` thermometer neurons for each feature.

        Parameters
        ----------
        tick : int, optional
            Tick of the frame in which the layer fires; by default the first after the last of its sources.
        weight_bits : int, optional
            Width of its weights; by default the narrowest of the chip that holds them.
        neuron : NeuronModel, optional
            Its neurons keep their potentials over the steps of a frame (FORMAT.md, *Neuron models*).
        relay : bool
            The layer only passes the spikes of another group on (FORMAT.md, *Relays*).

        Raises
        ------
        MappingError
            The name is in use, or the layer would have no neurons.
        """
        if levels < 1:
            raise MappingError(name, f"has {levels} levels; allowed: 1 or more", code="builder-rule")
        return self._add(name, shape, levels, tick, weight_bits, RELAY if relay else "dense", neuron)

    def readout(
        self,
        name: str,
        shape: int | tuple[int, ...],
        *,
        tick: int | None = None,
        weight_bits: int | None = None,
        scale: float = 1.0,
        of: ReadoutOf | None = None,
        neuron: NeuronModel | None = None,
    ) -> NeuronGroup:
        """Add the readout layer, whose potentials are the result, or whose spikes are counted.

        Parameters
        ----------
        of : str, optional
            What is read: the ``last`` potential, the ``largest`` of all steps, or with ``count``, of neurons that fire and
            are the last layer, how often they did. By default the potential of the only or last step.
        scale : float
            The output ``scores``, float32 (N, *shape), is scale * potential.
        tick, weight_bits, neuron
            As in `layer`; neurons that never fire have ``reset="none"`` and no delay.

        Raises
        ------
        MappingError
            The name is in use, or there is a readout already.
        """
        if self._readout is not None:
            raise MappingError(name, "is a second readout; a mapping has one", code="builder-rule")
        self._scale, self._of = scale, of or ("potential" if self.steps == 1 else "last")
        self._readout = self._add(name, shape, int(self._of == "count"), tick, weight_bits, "dense", neuron)
        return self._readout

    def core(
        self,
        layer: NeuronGroup,
        sources: Neurons,
        weights: npt.ArrayLike,
        thresholds: npt.ArrayLike | None = None,
        *,
        amounts: npt.ArrayLike = 0,
        starts: npt.ArrayLike = 0,
        biases: npt.ArrayLike = 0,
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
        amounts, starts, biases : int or array_like of int, (neurons,)
            Of neurons with a model: the amount of the reset, the potential before the first step, and what is added in
            every step, in units of 2**-fraction_bits of a weight.
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
            raise MappingError(target.name, "has sources of another builder", code="builder-rule")
        count, default = matrix.shape[1], 0 if target.levels == 0 else 1
        core = CoreOfGroup(
            layer=layer.number - 1,
            sources=sources,
            weights=matrix,
            thresholds=each(default if thresholds is None else thresholds, count, target.name, "thresholds"),
            constants=(
                each(amounts, count, target.name, "amounts"),
                each(starts, count, target.name, "starts"),
                each(biases, count, target.name, "biases"),
            ),
            elements=elements_of(target, elements, count),
            dense_fanout=each(dense_fanout, count, target.name, "dense_fanout"),
            fold=fold_of(self.chip, len(sources)) if fold is None else fold,
            position=self._free(target.name) if position is None else position,
        )
        hold(target, core)
        self._taken.add((core.position[0], core.position[1]))
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
            raise MappingError("mapping", f"has no {missing}; add one with {missing}()", code="builder-rule")
        ticks = ticks_of(self.chip, self._layers, self._cores)
        layers = tuple(finished(self.chip, *each) for each in zip(self._layers, ticks[1:], strict=True))
        cores = plans(self._input.neurons, self._layers, self._cores, [layer.weight_bits for layer in layers])
        if self._readout is None:
            raise MappingError("mapping", "has no readout; add one with readout()", code="builder-rule")
        given, output = self._input, layers[self._readout.number - 1]
        delays = [0, *(layer.delay for layer in self._layers)]
        stateful = any(layer.neuron is not None for layer in layers)
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
            arrays=pack(cores, given.dense_fanout, ticks, delays, stateful=stateful),
            encoder_onnx=encoder_model(given.shape) if given.on_host else None,
            readout_onnx=readout_model(output.shape, self._scale),
            steps=self.steps,
            readout_of=self._of,
        )
        if validate:
            validate_mapping(mapping)
        return mapping

    def _group(self, name: str, number: int, count: int) -> NeuronGroup:
        return NeuronGroup(self, np.full(count, number), np.arange(count), name, number)

    def _add(
        self, name: str, shape: int | tuple[int, ...], levels: int, tick: int | None, bits: int | None, kind: str,
        neuron: NeuronModel | None,
    ) -> NeuronGroup:  # fmt: skip
        if name in ("encoder", *(layer.name for layer in self._layers)):
            raise MappingError(name, "is the name of another group; choose another name", code="builder-rule")
        layer = LayerGroup(name, sides(shape), levels, tick, bits, kind, neuron, [])
        if layer.neurons < 1:
            raise MappingError(name, f"has shape {list(layer.shape)}; allowed: 1 or more each", code="builder-rule")
        self._layers.append(layer)
        return self._group(name, len(self._layers), layer.neurons)

    def _layer_of(self, group: NeuronGroup) -> LayerGroup:
        if not isinstance(group, NeuronGroup) or group.builder is not self or group.number == 0:
            name = getattr(group, "name", "core")
            text = "the first argument is not a layer of this builder; use what layer() or readout() returned, whole"
            raise MappingError(name, text, code="builder-rule")
        return self._layers[group.number - 1]

    def _free(self, name: str) -> tuple[int, int]:
        """Return the first position, row by row, that is neither taken nor dead."""
        columns, rows = self.chip.grid
        while self._first < columns * rows:
            position = (self._first % columns, self._first // columns)
            if position not in self._taken:
                return position
            self._first += 1
        raise MappingError(
            name,
            f"needs another core; chip {self.chip.name!r} has {self.chip.cores}; use a larger chip",
            code="map-rule",
        )
