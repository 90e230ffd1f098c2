"""A layer graph as a NIR network: nodes that any tool can run, and a description with which `exported` gets the graph back.

Weights are integers; thresholds, biases and resets are in their unit, with the bits behind the point that fraction bits are.
A feature of several levels becomes as many channels, one a neuron: channel * levels + level. NIR's Input is what enters the
chip; what the host computes before and after it stands in the description as ONNX.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from chipsim.mapping.dynamics import Dynamics
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.ir.stored import describe
from qsnnc.nir.network import F64, PREFIX, Network, Node
from qsnnc.nir.semantics import Semantics
from qsnnc.nir.views import Tap, constant_kernel, covers, expanded, identity, taps_of, view, views

#: what every exported node means, where it does not say otherwise itself
SEMANTICS = Semantics(
    compare=">=", spikes="one", reset="none", decay="euler", gain_if="one", gain_lif="one", dt=1.0, start="zero", delay=0,
    flatten="chw",
)  # fmt: skip


class NotExpressible(Exception):
    """NIR has no node for something in the layer graph; the message says what."""


def export(graph: LayerGraph) -> Network:
    """Return the NIR network of a layer graph.

    Raises
    ------
    NotExpressible
    """
    writer = _Writer(graph, views(graph))
    writer.write()
    return Network(writer.nodes, tuple(writer.edges), writer.metadata(), path="network")


@dataclass(slots=True, eq=False)
class _Writer:
    graph: LayerGraph
    ranks: dict[str, int]  # axes of each population in NIR
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)  # the node that has a population's spikes
    links: list[list[dict[str, Any]]] = field(default_factory=list)  # where the weights of each layer's connections are

    def write(self) -> None:
        """Add all nodes, in order."""
        graph, last = self.graph, self.graph.layers[-1]
        self.ends[graph.encoder.name] = self.add("input", "Input", {"shape": np.array(self.shape(graph.encoder))}, [])
        for layer in graph.layers:
            sums = layer is last and _is_sum(layer)
            sources = self.weights(layer, always=sums)
            if sums:
                self.ends[layer.name] = ""
                self.add("output", "Output", {"shape": np.array(self.shape(layer))}, sources)
            else:
                self.neurons(layer, sources)
        if self.ends[last.name]:
            self.add("output", "Output", {"shape": np.array(self.shape(last))}, [self.ends[last.name]])

    def add(
        self, name: str, kind: str, values: dict[str, Any], sources: list[str], metadata: dict[str, str] | None = None
    ) -> str:
        """Add a node that reads others; its name is made unique."""
        while name in self.nodes or (name in ("input", "output") and kind.lower() != name):
            name += "_"
        self.nodes[name] = Node(name, kind, values, {PREFIX + key: text for key, text in (metadata or {}).items()})
        self.edges += [(source, name) for source in sources]
        return name

    def shape(self, population: Population) -> tuple[int, ...]:
        """Return the shape of a population's tensor in NIR."""
        return view(population, self.ranks[population.name])

    # nir 1.0.4 takes metadata of the file and of neurons, not of inputs, outputs and convolutions
    def metadata(self) -> dict[str, str]:
        """Return the metadata of the file: settings, the frame, and the description."""
        graph = self.graph
        drawn = graph.input.code in ("bernoulli", "regular")
        found = {
            "producer": "qsnnc",
            "steps": str(graph.steps),
            "input": "rate" if drawn else "spikes",
            "readout": "last" if graph.readout_of == "potential" else graph.readout_of,
            **{key: str(value) for key, value in asdict(SEMANTICS).items()},
        }
        if drawn:
            spec = graph.input
            rule = spec.pixels if spec.pixels != "normal" else f"{spec.mean[0]!r},{spec.std[0]!r}"
            found |= {"rate": spec.code, "seed": str(spec.seed), "pixels": rule}
        described = describe(graph) | {"links": self.links}
        for name, model in (("encoder_onnx", graph.encoder_onnx), ("readout_onnx", graph.readout_onnx)):
            described[name] = None if model is None else b64encode(model).decode()
        found["network"] = json.dumps(described, separators=(",", ":"))
        return {PREFIX + key: value for key, value in found.items()}

    def weights(self, layer: Layer, *, always: bool) -> list[str]:
        """Add a linear node for each connection of a layer; return the names of what its neurons read.

        Parameters
        ----------
        always : bool
            Whether a population that is passed on as it is gets a node too.
        """
        bias, inputs = self.bias(layer), []
        self.links.append([])
        for count, link in enumerate(layer.connections):
            name = f"{layer.name}.weights{count or ''}"
            end, takes_bias, place = self.linear(layer, link, name, bias, always=always)
            inputs.append(end)
            self.links[-1].append(place)
            if takes_bias:
                bias = np.zeros_like(bias)
        if bias.any():
            inputs.append(self.constant(layer, bias))
        return inputs

    def bias(self, layer: Layer) -> F64:
        """Return what a layer's neurons get in every step, (channels * levels, rows, columns).

        Without memory a bias and a threshold are one; here the bias makes every threshold positive, as NIR's readers want.
        """
        levels = max(layer.levels, 1)
        if layer.dynamics is not None:
            return np.repeat(_each(layer, layer.dynamics.bias), levels, axis=0) / 2.0**layer.dynamics.fraction_bits
        if layer.readout:
            return np.zeros(layer.shape)
        least = np.maximum(0, 1 - _each(layer, layer.thresholds.min(axis=2))).max(axis=(1, 2))
        return np.tile(np.repeat(least, levels)[:, None, None], (1, *layer.shape[1:]))

    def linear(
        self, layer: Layer, link: Connection, name: str, bias: F64, *, always: bool
    ) -> tuple[str, bool, dict[str, Any]]:
        """Add the node of a connection; return the name to read, whether it has the bias, and where the weights are."""
        source, rank = self.graph.population(link.source), self.ranks[layer.name]
        given, before = self.ends[source.name], self.ranks[source.name]
        uniform = bool((bias == bias[:, :1, :1]).all())
        each = bias[:, 0, 0] if uniform else np.zeros(len(bias))
        if identity(link, layer, source) and rank == before:
            scale = link.weights.reshape(-1)
            if (scale == 1).all() and not always:
                return given, False, {}
            values = {"scale": scale.astype(np.float32).reshape(-1, *[1] * (rank - 1))}
            node = self.add(name, "Scale", values, [given])
            return node, False, {"node": node}
        kernel, groups = expanded(link, source, layer)
        if rank == 1 and covers(link, source):
            if before > 1:
                given = self.flatten(name, given, self.shape(source))
            dense = {"weight": kernel.reshape(len(kernel), -1).astype(np.float32), "bias": each}
            node = self.add(name, "Affine", dense, [given])
            return node, uniform, {"node": node, "kernel": list(kernel.shape)}
        taps = tuple(taps_of(link, axis, source.shape, layer.shape) for axis in (0, 1))
        node = end = self.convolution(name, before, kernel, link.strides, taps, groups, each, given, source.shape)
        if rank == 1:
            end = self.flatten(name, node, (len(kernel), *[1] * (before - 1)))
        return end, uniform, {"node": node, "taps": [tap.record for tap in taps]}

    def flatten(self, name: str, given: str, shape: tuple[int, ...]) -> str:
        """Add a Flatten of all axes."""
        values = {"start_dim": np.array(0), "end_dim": np.array(-1), "input_type": np.array(shape)}
        return self.add(name + ".flat", "Flatten", values, [given])

    def convolution(
        self, name: str, rank: int, kernel: Int | F64, strides: tuple[int, int], taps: tuple[Tap, ...], groups: int,
        bias: F64, given: str, source: tuple[int, int, int],
    ) -> str:  # fmt: skip
        """Add a Conv1d or Conv2d, padded equally on both sides."""
        axes = rank - 1
        values: dict[str, Any] = {
            "input_shape": np.array(source[1:][-axes:]), "weight": _exact(taps[1].spread(taps[0].spread(kernel, 2), 3)),
            "stride": np.array(strides[-axes:]), "padding": np.array([tap.pad for tap in taps][-axes:]),
            "dilation": np.array([tap.dilation for tap in taps][-axes:]), "groups": np.array(groups), "bias": bias,
        }  # fmt: skip
        if axes == 1:  # nir has single numbers there
            values["weight"] = values["weight"][:, :, 0]
            for key in ("input_shape", "stride", "padding", "dilation"):
                values[key] = np.array(int(values[key][0]))
        return self.add(name, "Conv1d" if axes == 1 else "Conv2d", values, [given])

    def constant(self, layer: Layer, bias: F64) -> str:
        """Add a branch that gives a constant whatever enters it; return its end.

        Where positions differ, the windows of a large kernel see more or less of a map of ones.
        """
        source, rank = self.graph.population(layer.connections[0].source), self.ranks[layer.name]
        given, name = self.ends[source.name], f"{layer.name}.bias"
        inputs = source.shape[0] * source.levels
        if rank == 1:
            if self.ranks[source.name] > 1:
                given = self.flatten(name, given, self.shape(source))
            zeros = np.zeros((len(bias), source.neurons), np.float32)
            return self.add(name, "Affine", {"weight": zeros, "bias": bias[:, 0, 0]}, [given])
        plain, one = (Tap(0, 1, 0, 1), Tap(0, 1, 0, 1)), np.ones(1)
        nothing = np.zeros((1, inputs, 1, 1))
        ones = self.convolution(name + ".ones", rank, nothing, (1, 1), plain, 1, one, given, source.shape)
        taps = tuple(Tap(size - 1, 1, 0, 1) for size in layer.shape[1:])
        kernel = constant_kernel(bias, source.shape[1:])
        return self.convolution(name, rank, kernel, (1, 1), taps, 1, np.zeros(len(bias)), ones, source.shape)

    def neurons(self, layer: Layer, inputs: list[str]) -> None:
        """Add the node of a layer's neurons."""
        values: dict[str, Any] = {}
        metadata: dict[str, str] = {}
        model, full = layer.dynamics, np.ones(self.shape(layer))
        leak = (model.leak[0] / 2 ** model.leak[1]) if model is not None else float(self.graph.steps == 1)
        leaky = leak < 1
        values["r"] = full / (1.0 - leak) if leaky else full
        if leaky:
            values |= {"tau": values["r"], "v_leak": full * 0.0}
        if model is not None:
            more, metadata = self._stateful(layer, model)
            values |= more
        elif not layer.readout:
            values["v_threshold"] = _by_level(layer, layer.thresholds) + self.bias(layer)
        kind = ("LIF" if leaky else "IF") if not layer.readout else ("LI" if leaky else "I")
        if not layer.readout and values["v_threshold"].min() <= 0:
            raise NotExpressible(f"{layer.name}: it has thresholds of 0 or below, which readers of NIR refuse")
        values = {key: np.asarray(value).reshape(full.shape) for key, value in values.items()}
        self.ends[layer.name] = self.add(layer.name, kind, values, inputs, metadata)

    def _stateful(self, layer: Layer, model: Dynamics) -> tuple[dict[str, Any], dict[str, str]]:
        """Return arrays and settings of neurons that keep their potential."""
        one = 2.0**model.fraction_bits
        if layer.readout:
            if model.start.any():
                raise NotExpressible(f"{layer.name}: its potentials are read out and start from another value than 0")
            return {}, {}
        compare, reset, threshold = _decision(layer, model)
        values = {"v_threshold": _each(layer, threshold) / one}
        metadata = {"compare": compare, "reset": reset, "delay": str(model.delay)}
        if model.reset == "value" and model.amount.any():
            values["v_reset"] = _each(layer, model.amount) / one
        if model.start.any():
            if model.reset != "value" or (model.start != model.amount).any():
                raise NotExpressible(f"{layer.name}: its neurons start from another value than they are reset to")
            metadata["start"] = "reset"
        return values, metadata


def _is_sum(layer: Layer) -> bool:
    """Whether a layer is nothing but the sums of a step, which need no node of neurons."""
    return layer.readout and (layer.dynamics is None or layer.dynamics.leak[0] == 0)


def _decision(layer: Layer, model: Dynamics) -> tuple[str, str, F64]:
    """Return comparison, reset and threshold of spiking neurons as NIR and our settings have them.

    Where a spike subtracts, the threshold is what it subtracts, and may lie between two potentials.
    """
    least = layer.thresholds[..., 0].astype(np.float64)
    if model.reset != "subtract":
        strict = (least - 1) % 2**model.fraction_bits == 0
        return (">", model.reset, least - 1) if (strict & (least > 1)).all() else (">=", model.reset, least)
    for reset, threshold in (
        ("subtract", model.amount.astype(np.float64)),
        ("subtract-late", model.amount * (model.leak[0] / 2 ** model.leak[1])),
    ):
        if ((least - 1 < threshold) & (threshold <= least)).all():
            return ">=", reset, threshold
        if ((least - 1 <= threshold) & (threshold < least)).all():
            return ">", reset, threshold
    raise NotExpressible(f"{layer.name}: a spike subtracts something else than its threshold")


def _each(layer: Layer, values: Int | F64) -> F64:
    """Spread constants (border classes, channels) over the features."""
    return np.array(values[layer.border].transpose(2, 0, 1), np.float64)


def _by_level(layer: Layer, values: Int) -> F64:
    """Spread (border classes, channels, levels) over the neurons, (channels * levels, rows, columns)."""
    spread = values[layer.border].transpose(2, 3, 0, 1)
    return np.array(spread.reshape(-1, *layer.shape[1:]), np.float64)


def _exact(values: Int | F64) -> np.ndarray[Any, Any]:
    """Return values as float32, which frameworks compute in, where that holds them."""
    narrow = np.asarray(values, np.float32)
    return narrow if (narrow == values).all() else np.asarray(values, np.float64)
