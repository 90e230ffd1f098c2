"""From a NIR network to the layer graph: follow the edges, put every population of neurons on its integer grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from chipsim.errors import UsageError
from qsnnc.errors import ModelError
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population, reachable
from qsnnc.nir.constants import Constants, constants_of, refuse_many
from qsnnc.nir.flattening import Flat, flatten
from qsnnc.nir.frame import Frame, frame_of, own_readout
from qsnnc.nir.grid import Weights, integer_weights, quantized_weights
from qsnnc.nir.host import readout_onnx
from qsnnc.nir.linear import linear
from qsnnc.nir.network import F64, Network, Node
from qsnnc.nir.neurons import NEURONS, SILENT, Missing, Neuron, decode, missing_error, needed, settings_of, sums
from qsnnc.nir.options import TOLERANCE, NirOptions
from qsnnc.nir.semantics import Semantics, of_metadata, profile
from qsnnc.nir.tensors import Shape3, Tensor, Term, added, refuse_size

#: how many times finer a layer's grid may become for its constants
FINER = (1, 3, 5, 7)


@dataclass(frozen=True, slots=True, eq=False)
class Interpreted:
    """A network with what its nodes mean."""

    flat: Flat
    neurons: dict[str, Neuron]
    settings: dict[str, Semantics]  # of each node of neurons
    order: str  # in which Flatten numbers features
    frame: Frame
    tolerance: float
    options: NirOptions

    @property
    def readout_name(self) -> str:
        """Name of the layer of sums that the output reads, if it reads no neurons."""
        name = self.flat.output.name
        return name if name != self.frame.population.name and name not in self.neurons else name + ".sums"


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """What `--weight-bits` changed in a layer."""

    bits: int
    changed: int


@dataclass(frozen=True, slots=True, eq=False)
class Integerized:
    """The layer graph of a network, and what was rounded on the way."""

    graph: LayerGraph
    rounded: dict[str, Rounded] = field(default_factory=dict)
    between: dict[str, int] = field(default_factory=dict)  # thresholds between two grid values, by layer
    scales: dict[str, F64] = field(default_factory=dict)  # of a unit of a layer's potentials, by layer

    def scaled(self, layer: Layer, values: Int) -> F64:
        """Return potentials (..., features) of a layer in the file's own unit; spikes and counts as they are."""
        return np.asarray(values * self.scales[layer.name].reshape(-1) if layer.readout else values, np.float64)


def interpret(network: Network, options: NirOptions) -> Interpreted:
    """Settle what every node of a network means.

    Raises
    ------
    ModelError
        A setting that the network needs was given neither as an option nor in the metadata; a node is not supported.
    """
    flat = flatten(network)
    asked = options.settings.over(profile(options.semantics))
    try:
        file = of_metadata(network.metadata)
    except ValueError as error:
        raise ModelError(network.path, f"{error}; correct it with qsnnc nir-annotate", code="nir-metadata") from None
    nodes = [node for node in flat.nodes if node.type in NEURONS]
    settings = {node.name: settings_of(node, asked, file) for node in nodes}
    missing = [entry for node in nodes for entry in needed(node, settings[node.name])]
    order = asked.over(file).flatten
    if order is None and any(node.type == "Flatten" for node in flat.nodes):
        missing.append(Missing(next(node.name for node in flat.nodes if node.type == "Flatten"), "flatten"))
    if missing:
        raise missing_error(network.path, missing, flat.nodes)
    neurons = {node.name: decode(node, settings[node.name]) for node in nodes}
    frame = frame_of(flat, neurons, options)
    last = own_readout(flat)
    if last is not None and frame.readout_of != "count":  # its potential is read, and nothing reads its spikes
        neurons[last.name] = replace(neurons[last.name], threshold=None, many=False, delay=0)
    return Interpreted(
        flat, neurons, settings, order or "chw", frame,
        tolerance=TOLERANCE if options.tolerance is None else options.tolerance, options=options,
    )  # fmt: skip


def integerize(found: Interpreted) -> Integerized:
    """Build the layer graph.

    Raises
    ------
    ModelError
        A node is not supported, or something lies on no grid.
    """
    return _Builder(found).build()


@dataclass(slots=True, eq=False)
class _Builder:
    found: Interpreted
    tensors: dict[str, Tensor] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    scales: dict[str, F64] = field(default_factory=dict)  # of a unit of a layer's potentials, feature by feature
    rounded: dict[str, Rounded] = field(default_factory=dict)
    between: dict[str, int] = field(default_factory=dict)

    def build(self) -> Integerized:
        found = self.found
        flat, frame = found.flat, found.frame
        self.populations[frame.population.name] = frame.population
        for node in flat.nodes:
            if node.name in frame.on_host:
                continue
            if node.name == frame.population.name:
                self.tensors[node.name] = Tensor.of(node.name, frame.population.tensor_shape, frame.population.shape)
                continue
            x = added([self.tensors[name] for name in flat.sources[node.name]], node.name)
            self.tensors[node.name] = self._neurons(node, x) if node.type in NEURONS else linear(node, x, found.order)
        last = self._readout(self.tensors[flat.output.name])
        self._check_names()
        scale = np.ones(last.shape) if frame.readout_of == "count" else self.scales[last.name]
        graph = LayerGraph(
            encoder=frame.population, layers=tuple(self.layers), encoder_onnx=frame.encoder_onnx,
            readout_onnx=readout_onnx(scale.reshape(-1), last.tensor_shape),
            encoder_exact=frame.encoder_onnx is None,
            input=frame.input, output_tensor="scores", output_shape=last.tensor_shape,
            model_sha256=flat.network.sha256,
            steps=frame.steps, readout_of=frame.readout_of,
        )  # fmt: skip
        return Integerized(graph, self.rounded, self.between, self.scales)

    def _check_names(self) -> None:
        """Refuse bits for layers that are not on the chip."""
        names = [layer.name for layer in self.layers]
        for name in self.found.options.layer_bits:
            if name not in names:
                raise UsageError(
                    "--weight-bits", f"no layer is called {name!r}; allowed: {', '.join(names)}", code="layer-unknown",
                    found=name, allowed=names,
                )  # fmt: skip

    def _neurons(self, node: Node, x: Tensor) -> Tensor:
        if node.type in SILENT and self.found.flat.readers[node.name] != (self.found.flat.output.name,):
            raise ModelError(
                node.name,
                f"{node.type} passes a potential on, and a wire carries spikes; use {node.type}F inside the network. "
                f"{node.type} is supported as the last node, where its potential is read out",
                code="nir-node", node=node.name, found=node.type,
            )  # fmt: skip
        layer = self._layer(node.name, x, self.found.neurons[node.name])
        if layer.shape == x.space:
            return replace(Tensor.of(layer.name, layer.shape), shape=x.shape, swapped=x.swapped)
        if len(x.shape) == 1:
            return Tensor.of(layer.name, x.shape)
        refuse_size(layer.features**2)
        return Tensor(x.shape, x.space, (Term(layer.name, layer.shape, None, np.eye(layer.features)),), np.zeros(x.space))

    def _readout(self, x: Tensor) -> Layer:
        """Return the last layer: the neurons that the output reads, or a layer of the sums that it reads."""
        frame = self.found.frame
        if frame.own_readout:
            return self.layers[-1]
        return self._layer(self.found.readout_name, x, sums(accumulated=frame.accumulated))

    def _layer(self, name: str, x: Tensor, neuron: Neuron) -> Layer:
        """Add the layer of neurons that read a tensor."""
        if any(term.window is None for term in x.terms):
            x = x.in_order()
        found = self.found
        weights, constants = self._on_grid(name, x, neuron)
        links = tuple(
            _connection(term, q, x.space, self.populations[term.source].shape)
            for term, q in zip(x.terms, weights.integers, strict=True)
        )
        reach = _span(reachable(links, self.populations, x.space), constants.border)
        if neuron.many:
            refuse_many(name, constants, reach, found.frame.steps)
        shape = _own_shape(x, [self.populations[term.source] for term in x.terms])
        exact = weights.dyadic and not weights.changed
        if constants.rounded:
            self.between[name] = constants.rounded
        layer = Layer(
            name=name, tensor=name, tensor_shape=shape, shape=x.space, levels=0 if neuron.threshold is None else 1,
            scale=1.0, zero_point=0.0, kind=_kind(x, links), connections=links, thresholds=constants.thresholds,
            border=constants.border, reach=reach, exact_sums=exact,
            dynamics=constants.dynamics,
        )  # fmt: skip
        self.layers.append(layer)
        self.populations[name] = layer
        unit = weights.unit / 2**constants.dynamics.fraction_bits
        self.scales[name] = unit * x.arranged(neuron.gain, name, "r")
        return layer

    def _on_grid(self, name: str, x: Tensor, neuron: Neuron) -> tuple[Weights, Constants]:
        """Find the grid of a layer; a finer one of the same weights where a constant, such as a third, needs it."""
        found, arrays = self.found, tuple(_weights(term, x.space) for term in x.terms)
        bits = found.options.layer_bits.get(name, found.options.weight_bits)
        if bits is None:
            weights = integer_weights(arrays, found.tolerance, name)
        else:
            weights = quantized_weights(arrays, bits)
            self.rounded[name] = Rounded(bits, weights.changed)
        refusal = None
        for factor in FINER:
            try:
                finer = weights.finer(factor)
                steps, tolerance = found.frame.steps, found.tolerance
                return finer, constants_of(neuron, x, finer, steps, tolerance, name, rounding=bits is not None)
            except ModelError as error:
                if error.code != "nir-grid":
                    raise
                refusal = refusal or error
        assert refusal is not None
        raise refusal


def _own_shape(x: Tensor, sources: list[Population]) -> tuple[int, ...]:
    """Return the shape of a layer's tensor: (features,), (channels, columns) or (channels, rows, columns)."""
    if x.space[1:] == (1, 1):
        kept = x.shape == x.space and all(len(source.tensor_shape) == 3 for source in sources)
        return x.shape if kept else (x.space[0],)
    return x.shape if len(x.shape) == 2 else x.space


def _weights(term: Term, space: Shape3) -> F64:
    return term.window.kernel if term.window is not None else term.as_matrix(space)


def _connection(term: Term, integers: Int, space: Shape3, source: Shape3) -> Connection:
    """Return a term with integer weights as a connection."""
    if term.window is None:
        return Connection(term.source, integers.reshape(space[0], *source))
    window, pads = term.window, []
    for axis in (0, 1):
        reach = (integers.shape[2 + axis] - 1) * window.dilations[axis] + 1
        needs = (space[1 + axis] - 1) * window.strides[axis] + reach - source[1 + axis] - window.pads[axis]
        pads.append(max(0, needs))
    return Connection(
        term.source, integers, window.strides, (*window.pads, pads[0], pads[1]), window.dilations, window.groups
    )


def _span(reach: Int, border: Int) -> Int:
    """Return the smallest and largest sum of each border class and channel."""
    flat = border.reshape(-1)
    found = np.zeros((int(flat.max()) + 1, *reach.shape[1:]), np.int64)
    for number in range(len(found)):
        mine = reach[flat == number]
        found[number] = np.stack([mine[..., 0].min(axis=0), mine[..., 1].max(axis=0)], axis=-1)
    return found


def _kind(x: Tensor, links: tuple[Connection, ...]) -> str:
    """Name the kind of a layer for reports: what reads it."""
    if len(links) > 1:
        return "add"
    link, term = links[0], x.terms[0]
    if term.window is None or (link.weights.shape[1:] == term.shape and link.groups == 1):
        return "dense"
    return "pool" if link.groups == len(link.weights) == term.shape[0] else "convolution"
