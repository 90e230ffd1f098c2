"""An integer network as NIR, with the metadata that says exactly what it means: read back, it gives the same layer graph."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from chipsim.mapping import InputSpec
from chipsim.mapping.dynamics import Dynamics
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.nir.integerize import Interpreted
from qsnnc.nir.network import F64, PREFIX, Network, Node
from qsnnc.nir.semantics import Semantics

#: what every exported node means, where it does not say otherwise itself
SEMANTICS = Semantics(
    compare=">=", spikes="one", reset="value", decay="euler", gain_if="one", gain_lif="one", dt=1.0, start="zero", delay=0,
    flatten="chw",
)  # fmt: skip


class NotExpressible(Exception):
    """NIR has no node for something in the layer graph; the message says what."""


@dataclass(slots=True, eq=False)
class _Writer:
    graph: LayerGraph
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)  # the node that has a population's spikes

    def add(
        self, name: str, kind: str, values: dict[str, Any], sources: list[str], metadata: dict[str, str] | None = None
    ) -> str:
        """Add a node that reads others; its name is made unique."""
        while name in self.nodes:
            name += "_"
        self.nodes[name] = Node(name, kind, values, {PREFIX + key: text for key, text in (metadata or {}).items()})
        self.edges += [(source, name) for source in sources]
        return name


def export(graph: LayerGraph, meaning: Interpreted, scale: F64) -> Network:
    """Return the NIR network of a layer graph that came from NIR.

    Weights are integers; thresholds, biases and resets are in their unit, with the bits behind the point that fraction bits
    are. With an encoder, the nodes that the host computes are those of the file.

    Parameters
    ----------
    scale : ndarray
        What a unit of a potential that is read out stands for.

    Raises
    ------
    NotExpressible
    """
    writer = _Writer(graph)
    if graph.encoder_onnx is None:
        shape = np.array(graph.encoder.tensor_shape, np.int64)
        writer.ends[graph.encoder.name] = writer.add("input", "Input", {"shape": shape}, [])
    else:
        _host_nodes(writer, meaning)
    frame, last = meaning.frame, graph.layers[-1]
    for number, layer in enumerate(graph.layers):
        if frame.own_readout or layer is not last:
            _neurons(writer, layer, _weights(writer, layer), number)
    end = {"shape": np.array(last.tensor_shape, np.int64)}
    if frame.own_readout:
        writer.add("output", "Output", end, [writer.ends[last.name]])
    else:
        sums = _weights(writer, last, always=True)
        writer.add("output", "Output", end, sums)
    metadata = _metadata(graph, "count" if frame.accumulated else graph.readout_of)
    ends = {"scale": _texts(scale), "input_name": frame.input.name}
    if not frame.own_readout:
        ends |= {"output_name": last.name} | ({} if last.exact_sums else {"output_exactness": "tested"})
    metadata |= {PREFIX + key: text for key, text in ends.items()}
    return Network(writer.nodes, tuple(writer.edges), metadata, path="network")


# nir 1.0.4 takes metadata of the file and of neurons, not of inputs, outputs and convolutions
def _metadata(graph: LayerGraph, readout: str) -> dict[str, str]:
    kinds = {"spikes": "spikes", "computed": "direct", "bernoulli": "rate", "regular": "rate"}
    found = {
        "producer": "qsnnc",
        "model_sha256": graph.model_sha256,
        "steps": str(graph.steps),
        "input": kinds[graph.input.code],
        "readout": readout,
        "pixels": _pixels(graph.input),
        "tolerance": "0",
        **{key: str(value) for key, value in asdict(SEMANTICS).items()},
    }
    if found["input"] == "rate":
        found |= {"rate": graph.input.code, "seed": str(graph.input.seed)}
    return {PREFIX + key: value for key, value in found.items()}


def _pixels(spec: InputSpec) -> str:
    return spec.pixels if spec.pixels != "normal" else f"{spec.mean[0]!r},{spec.std[0]!r}"


def _host_nodes(writer: _Writer, meaning: Interpreted) -> None:
    """Add the nodes that the host computes as the file has them, each with the settings that were stated."""
    frame, flat = meaning.frame, meaning.flat
    for node in flat.nodes:
        if node.name not in frame.on_host and node.name != frame.population.name:
            continue
        stated = meaning.settings.get(node.name)
        metadata = {} if stated is None else {k: str(v) for k, v in asdict(stated.over(SEMANTICS)).items() if v is not None}
        values = {key: value for key, value in node.values.items() if key != "shape"}
        if node.type == "Input":
            values["shape"] = np.array(frame.input.shape, np.int64)
        writer.add(node.name, node.type, values, list(flat.sources[node.name]), metadata)
    writer.ends[frame.population.name] = frame.population.name


def _weights(writer: _Writer, layer: Layer, *, always: bool = False) -> list[str]:
    """Add a linear node for each connection of a layer; return the names of what its neurons read.

    Parameters
    ----------
    always : bool
        Whether a population that is passed on as it is gets a node too.
    """
    assert layer.dynamics is not None, "layers that come from NIR have a model"
    bias = _by_channel(layer.dynamics.bias) / 2.0**layer.dynamics.fraction_bits
    inputs = []
    for count, link in enumerate(layer.connections):
        name, takes_bias = _linear(writer, layer, link, f"{layer.name}.weights{count or ''}", bias, always=always)
        inputs.append(name)
        if takes_bias:
            bias = np.zeros_like(bias)
    if bias.any():
        raise NotExpressible(f"{layer.name} has a bias and no weights besides those of a sum")
    return inputs


def _linear(writer: _Writer, layer: Layer, link: Connection, name: str, bias: F64, *, always: bool) -> tuple[str, bool]:
    """Add the linear node of a connection; return the name to read, and whether it has the bias."""
    source = writer.graph.population(link.source)
    given = writer.ends[link.source]
    weights = link.weights.astype(np.float32)
    axes = len(layer.tensor_shape)
    if _identity(link, layer, source):
        scale = weights.reshape(-1)
        if (scale == 1).all() and not always:
            return given, False
        return writer.add(name, "Scale", {"scale": scale.reshape(-1, *[1] * (axes - 1))}, [given]), False
    if axes == 1:
        if link.weights.shape[1:] != source.shape or link.groups != 1:
            whole = _convolution(writer, layer, link, source, name, bias, given)
            flat = {"start_dim": np.array(0), "end_dim": np.array(-1), "input_type": np.array(layer.shape)}
            return writer.add(name + ".flat", "Flatten", flat, [whole]), True
        if len(source.tensor_shape) > 1:
            flat = {"start_dim": np.array(0), "end_dim": np.array(-1), "input_type": np.array(source.tensor_shape)}
            given = writer.add(name + ".flat", "Flatten", flat, [given])
        dense = {"weight": weights.reshape(len(weights), -1), "bias": bias.astype(np.float64)}
        return writer.add(name, "Affine", dense, [given]), True
    return _convolution(writer, layer, link, source, name, bias, given), True


def _convolution(
    writer: _Writer, layer: Layer, link: Connection, source: Population, name: str, bias: F64, given: str
) -> str:
    """Add a Conv1d or Conv2d; its padding is the same on both sides, or 'same'."""
    axes = len(source.tensor_shape) - 1
    if axes < 1 or len(layer.tensor_shape) not in (1, 1 + axes):
        raise NotExpressible(f"{layer.name} is a convolution on {len(source.tensor_shape)} axes")
    padding: Any = np.array(link.pads[:2][-axes:], np.int64)
    for axis in (0, 1):
        reach = (link.weights.shape[2 + axis] - 1) * link.dilations[axis] + 1
        room = source.shape[1 + axis] + 2 * link.pads[axis] - reach
        if room < 0 or room // link.strides[axis] + 1 != layer.shape[1 + axis]:
            if link.strides != (1, 1) or any(link.pads[a] != _same(link, a) for a in (0, 1)):
                raise NotExpressible(f"{layer.name} is padded differently on both sides")
            padding = "same"
    kernel = link.weights.astype(np.float32)
    values: dict[str, Any] = {
        "input_shape": np.array(source.shape[1:][-axes:], np.int64), "weight": kernel if axes == 2 else kernel[:, :, 0],
        "stride": np.array(link.strides[-axes:], np.int64), "padding": padding,
        "dilation": np.array(link.dilations[-axes:], np.int64), "groups": np.array(link.groups),
        "bias": bias.astype(np.float64),
    }  # fmt: skip
    if axes == 1:  # nir has single numbers there
        for key in ("input_shape", "stride", "dilation"):
            values[key] = np.array(int(values[key][0]))
        if not isinstance(padding, str):
            values["padding"] = np.array(link.pads[1])
    return writer.add(name, "Conv1d" if axes == 1 else "Conv2d", values, [given])


def _same(link: Connection, axis: int) -> int:
    return int(link.weights.shape[2 + axis] - 1) * link.dilations[axis] // 2


def _identity(link: Connection, layer: Layer, source: Population) -> bool:
    plain = link.weights.shape[1:] == (1, 1, 1) and link.groups == len(link.weights) == source.shape[0]
    return plain and link.strides == (1, 1) and source.shape == layer.shape and source.tensor_shape == layer.tensor_shape


def _neurons(writer: _Writer, layer: Layer, inputs: list[str], number: int) -> None:
    """Add the node of a layer's neurons."""
    model = layer.dynamics
    assert model is not None
    one, full = 2.0**model.fraction_bits, np.ones(layer.shape)
    k, m = model.leak
    leaky = (k, m) != (1, 0)
    values: dict[str, Any] = {}
    metadata = {"position": str(number), **_exactness(layer)}
    if leaky:
        tau = 1.0 / (1.0 - k / 2**m)
        values |= {"tau": full * tau, "r": full * tau, "v_leak": full * 0.0}
    else:
        values["r"] = full
    if not layer.readout:
        compare, reset, threshold = _decision(layer, model)
        values["v_threshold"] = _each(layer, threshold) / one
        metadata |= {"compare": compare, "reset": reset, "delay": str(model.delay)}
        if model.reset == "value" and model.amount.any():
            values["v_reset"] = _each(layer, model.amount) / one
        if model.start.any():
            if model.reset != "value" or (model.start != model.amount).any():
                raise NotExpressible(f"{layer.name} starts from another value than it is reset to")
            metadata["start"] = "reset"
    kind = ("LIF" if leaky else "IF") if not layer.readout else ("LI" if leaky else "I")
    values = {key: np.asarray(value).reshape(layer.tensor_shape) for key, value in values.items()}
    writer.ends[layer.name] = writer.add(layer.name, kind, values, inputs, metadata)


def _decision(layer: Layer, model: Dynamics) -> tuple[str, str, Int]:
    """Return comparison, reset and threshold of spiking neurons as NIR and our settings have them."""
    least = layer.thresholds[..., 0]
    if model.reset != "subtract":
        strict = (least - 1) % 2**model.fraction_bits == 0
        return (">", model.reset, least - 1) if strict.all() else (">=", model.reset, least)
    k, m = model.leak
    for compare, threshold in ((">=", least), (">", least - 1)):
        if (model.amount == threshold).all():
            return compare, "subtract", threshold
        if (model.amount * k == threshold << m).all():
            return compare, "subtract-late", threshold
    raise NotExpressible(f"{layer.name} subtracts something else than its threshold")


def _exactness(layer: Layer) -> dict[str, str]:
    return {} if layer.exact_sums else {"exactness": "tested"}


def _by_channel(values: Int) -> F64:
    """Return a bias that is one for each channel."""
    if (values != values[:1]).any():
        raise NotExpressible("a bias differs between the positions of a channel")
    return np.array(values[0], np.float64)


def _each(layer: Layer, values: Int) -> F64:
    return np.array(values[layer.border].transpose(2, 0, 1), np.float64)


def _texts(scale: F64) -> str:
    """Return a scale as text: one number, or one for each feature."""
    flat = np.unique(scale)
    return repr(float(flat[0])) if len(flat) == 1 else " ".join(repr(float(v)) for v in scale.reshape(-1))
