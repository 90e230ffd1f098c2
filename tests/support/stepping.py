"""Random layer graphs of several steps, and a plain interpreter of them: one neuron, one weight, one fraction at a time.

The interpreter shares nothing with `qsnnc.ir.execute`: potentials are fractions of a weight (doubles, exact here), a
connection is written out as a matrix, and a delay is a shift of the train.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chipsim.mapping import InputSpec
from chipsim.mapping.dynamics import Dynamics, exact
from chipsim.mapping.host_models import encoder_model, readout_model
from qsnnc.ir.layers import Connection, Layer, LayerGraph, Population, reachable, verify_layers


@dataclass(frozen=True)
class Recipe:
    """A network to be drawn."""

    steps: int
    layers: int
    code: str  # direct, spikes
    readout_of: str
    seed: int
    stateful: bool = True  # whether layers may have neuron models


def draw(recipe: Recipe) -> LayerGraph:
    """Draw the layer graph of a recipe."""
    rng = np.random.default_rng(recipe.seed)
    shape = (int(rng.integers(1, 3)), int(rng.integers(2, 4)), int(rng.integers(2, 4)))
    levels = int(rng.integers(1, 4)) if recipe.code != "spikes" else 1
    known: dict[str, Population] = {"encoder": Population("encoder", "", shape, shape, levels, 1.0, 0.0)}
    layers: list[Layer] = []
    for number in range(recipe.layers):
        layers.append(_layer(rng, f"layer{number}", known, recipe))
        known[layers[-1].name] = layers[-1]
    layers.append(_last(rng, known, recipe))
    outputs = (int(np.prod(layers[-1].shape)),)
    hosted = recipe.code != "spikes"
    spec = InputSpec("image" if hosted else "spikes", "float32" if hosted else "uint8", shape, "raw", code=recipe.code)
    graph = LayerGraph(
        encoder=known["encoder"], layers=tuple(layers), encoder_onnx=encoder_model(shape) if hosted else None,
        readout_onnx=readout_model(outputs, 1.0), encoder_exact=True, input=spec, output_tensor="scores",
        output_shape=outputs, model_sha256="0" * 64, steps=recipe.steps, readout_of=recipe.readout_of,
    )  # fmt: skip
    verify_layers(graph)
    return graph


def frames_of(graph: LayerGraph, count: int, seed: int) -> np.ndarray:
    """Random images of a graph, as a data set has them."""
    rng = np.random.default_rng(seed)
    if graph.input.code == "spikes":
        return rng.integers(0, 2, (count, graph.steps, *graph.encoder.shape)).astype(np.uint8)
    return rng.integers(0, graph.encoder.levels + 1, (count, *graph.encoder.shape)).astype(np.float32)


def interpret(graph: LayerGraph, frame: np.ndarray) -> dict[str, np.ndarray]:
    """Trains (steps, features) of every population for one frame, and what is read out as ``""``."""
    whole = frame.reshape(-1, graph.encoder.features).astype(np.float64)
    trains = {"encoder": np.broadcast_to(whole, (graph.steps, whole.shape[1]))}
    for layer in graph.layers:
        found = _neurons(graph, layer, trains)
        late = layer.dynamics is not None and layer.dynamics.delay
        trains[layer.name] = np.concatenate([np.zeros((1, found.shape[1])), found[:-1]]) if late else found
    last = trains[graph.layers[-1].name]
    trains[""] = {"count": last.sum(0), "largest": last.max(0)}.get(graph.readout_of, last[-1])
    return trains


def _neurons(graph: LayerGraph, layer: Layer, trains: dict[str, np.ndarray]) -> np.ndarray:
    model, channel = layer.dynamics, np.repeat(np.arange(layer.shape[0]), layer.shape[1] * layer.shape[2])
    place = np.tile(layer.border.reshape(-1), layer.shape[0])
    unit = 2.0 ** (model.fraction_bits if model else 0)
    out = np.zeros((graph.steps, layer.features))
    for feature in range(layer.features):
        at = place[feature], channel[feature]
        limits = layer.thresholds[at] / unit
        amount, start, bias = (values[at] / unit for values in model.constants) if model else (0, 0, 0)
        leak = model.leak[0] / 2 ** model.leak[1] if model else 0.0
        potential = start
        for step in range(graph.steps):
            potential = (
                potential * leak
                + bias
                + sum(
                    matrix(link, graph.population(link.source), layer)[feature] @ trains[link.source][step]
                    for link in layer.connections
                )
            )
            out[step, feature] = potential * unit if layer.readout else (potential >= limits).sum()
            if model and out[step, feature] and not layer.readout:
                potential = {"value": amount, "subtract": potential - amount}.get(model.reset, potential)
    return out


def matrix(link: Connection, source: Population, layer: Layer) -> np.ndarray:
    """Weights (features of the layer, features of the source) of a connection."""
    channels, rows, columns = layer.shape
    found = np.zeros((channels, rows, columns, *source.shape))
    outputs, inputs = channels // link.groups, link.weights.shape[1]
    for (o, i, u, v), weight in np.ndenumerate(link.weights):
        for r in range(rows):
            for c in range(columns):
                y = r * link.strides[0] - link.pads[0] + u * link.dilations[0]
                x = c * link.strides[1] - link.pads[1] + v * link.dilations[1]
                if 0 <= y < source.shape[1] and 0 <= x < source.shape[2]:
                    found[o, r, c, o // outputs * inputs + i, y, x] += weight
    return found.reshape(layer.features, source.features)


def _layer(rng: np.random.Generator, name: str, known: dict[str, Population], recipe: Recipe) -> Layer:
    """A convolution or a dense layer that reads one or two populations made before."""
    sources = [list(known.values())[-1 - int(rng.integers(0, min(len(known), 5)))] for _ in range(int(rng.integers(1, 3)))]
    rows, columns = (1, 1) if rng.random() < 0.4 else (2, 2)
    channels = int(rng.integers(1, 4))
    links = tuple(_link(rng, source, (channels, rows, columns)) for source in sources)
    return _finished(rng, name, (channels, rows, columns), links, known, recipe, levels=1)


def _last(rng: np.random.Generator, known: dict[str, Population], recipe: Recipe) -> Layer:
    shape = (int(rng.integers(2, 4)), 1, 1)
    links = (_link(rng, list(known.values())[-1], shape),)
    return _finished(rng, "out", shape, links, known, recipe, levels=1 if recipe.readout_of == "count" else 0)


def _link(rng: np.random.Generator, source: Population, shape: tuple[int, int, int]) -> Connection:
    """A map onto (channels, rows, columns) from a source of any size: stride 1, whatever padding that takes."""
    channels, rows, columns = shape
    kernel = [int(rng.integers(1, 3)), int(rng.integers(1, 3))] if rows > 1 else list(source.shape[1:])
    high = [max(0, size + k - 1 - have) for size, k, have in zip((rows, columns), kernel, source.shape[1:], strict=True)]
    pads = (high[0] // 2, high[1] // 2, high[0] - high[0] // 2, high[1] - high[1] // 2)
    return Connection(source.name, rng.integers(-3, 4, (channels, source.shape[0], *kernel)), pads=pads)


def _finished(rng, name, shape, links, known, recipe, *, levels) -> Layer:
    """Thresholds and a neuron model for a layer's connections."""
    channels = shape[0]
    classes = 2 if shape[1] > 1 and rng.random() < 0.5 else 1
    border = rng.integers(0, classes, shape[1:]) if classes > 1 else np.zeros(shape[1:], np.int64)
    border.flat[0], border.flat[-1] = 0, classes - 1
    reach = reachable(links, known, shape)
    whole = np.stack([reach[..., 0].min(axis=0), reach[..., 1].max(axis=0)], axis=-1)
    stateful = recipe.stateful and (levels == 0 or rng.random() < 0.85)
    model = _model(rng, (classes, channels), recipe.steps, read=levels == 0) if stateful else None
    unit = 1 << (model.fraction_bits if model else 0)
    low, high = whole[:, 0] * unit, (whole[:, 1] + 1) * unit
    thresholds = np.stack([rng.integers(low, high + 1) for _ in range(classes)])[..., None]
    if model and rng.random() < 0.7:  # of a size that most neurons reach now and then
        thresholds = rng.integers(1, 5, thresholds.shape) * unit
    return Layer(
        name=name, tensor="", tensor_shape=shape, shape=shape, levels=levels, scale=1.0, zero_point=0.0,
        kind="convolution" if shape[1] > 1 else "dense", connections=links,
        thresholds=thresholds[..., :levels].astype(np.int64), border=border, reach=np.tile(whole, (classes, 1, 1)),
        exact_sums=True, dynamics=model,
    )  # fmt: skip


def _model(rng: np.random.Generator, size: tuple[int, int], steps: int, *, read: bool) -> Dynamics:
    reset = "none" if read else str(rng.choice(["value", "subtract", "none"]))
    leak = ((1, 0), (1, 0), (1, 1), (3, 2), (0, 0))[int(rng.integers(0, 5))]
    zero = np.zeros(size, np.int64)
    amount, start, bias = (rng.integers(low, 5, size) for low in (-1, -3, -2))
    model = Dynamics(
        reset=reset, leak=leak, amount=zero if reset == "none" else amount, delay=0 if read else int(rng.random() < 0.25),
        start=start if rng.random() < 0.5 else zero, bias=bias if rng.random() < 0.5 else zero,
    )  # fmt: skip
    for bits in range(60):  # the fewest that cut nothing
        unit = 1 << bits
        scaled = replace(
            model, fraction_bits=bits, amount=model.amount * unit, start=model.start * unit, bias=model.bias * unit
        )
        if exact(scaled, scaled.constants, steps):
            return scaled
    raise AssertionError("no number of fraction bits")
