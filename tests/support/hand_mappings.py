"""Mappings made by hand: cores with their weights, sources and thresholds; the tables follow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chipsim.chip import ChipSpec, load_chip
from chipsim.mapping import Mapping, MappingBuilder
from chipsim.mapping.dynamics import NeuronModel

OPSET = [helper.make_opsetid("", 17)]


@dataclass
class HandCore:
    """One core: weights (axons, neurons), the source of each axon, thresholds and elements of its neurons."""

    layer: int
    weights: list[list[int]] | np.ndarray
    sources: list[int]
    thresholds: list[int]
    elements: list[int]
    bits: int = 2
    fold: int = 1


@dataclass
class HandMap:
    """A mapping to be: ``layers`` are (name, features, levels, tick), one called relay... a relay; ``features``
    thermometer-coded by the encoder. All layers that fire have the ``neuron`` model.
    """

    features: int
    levels: int
    layers: list[tuple[str, int, int, int]]
    cores: list[HandCore]
    chip: ChipSpec = field(default_factory=lambda: load_chip("mini"))
    fanout: list[int] | None = None
    scale: float = 1.0
    steps: int = 1
    neuron: NeuronModel | None = None

    def build(self, model: bytes = b"") -> Mapping:
        """The mapping, whether it keeps the rules or not; sources and cores are numbered as in the lists."""
        net = MappingBuilder(self.chip, steps=self.steps)
        encoder = self.features * self.levels
        fanout = self.fanout or [0] * (encoder + sum(len(core.elements) for core in self.cores))
        groups = [net.input(self.features, self.levels, dense_fanout=fanout[:encoder])]
        for number, (name, features, levels, tick) in enumerate(self.layers):
            bits = next(core.bits for core in self.cores if core.layer == number)
            if levels:
                relay = name.startswith("relay")
                groups.append(
                    net.layer(name, features, levels, tick=tick, weight_bits=bits, relay=relay, neuron=self.neuron)
                )
            else:
                groups.append(net.readout(name, features, tick=tick, weight_bits=bits, scale=0.5))
        held = [(groups[core.layer + 1], element) for core in self.cores for element in core.elements]
        known = [(groups[0], element) for element in range(encoder)] + held
        width, first = self.chip.grid[0], encoder
        for number, core in enumerate(self.cores):
            sources = groups[0][:0]
            for source in core.sources:
                group, element = known[source]
                sources = sources + group[element]
            own = fanout[first : first + len(core.elements)]
            first += len(own)
            net.core(
                groups[core.layer + 1], sources, core.weights, core.thresholds, elements=core.elements, fold=core.fold,
                position=(number % width, number // width), dense_fanout=own,
            )  # fmt: skip
        mapping = net.build(model=model, validate=False)
        scale = self.scale
        return replace(
            mapping,
            encoder=replace(mapping.encoder, scale=scale),
            layers=tuple(replace(layer, scale=scale) for layer in mapping.layers),
        )


def encoder_onnx(features: int, batch: int | str = "N", **change: object) -> bytes:
    """An encoder whose levels are the pixels, cut to whole numbers."""
    node = helper.make_node("Cast", ["image"], ["levels"], to=change.get("to", TensorProto.INT32))
    return _model(
        [node],
        ("image", TensorProto.FLOAT, [batch, features]),
        ("levels", change.get("to", TensorProto.INT32), [batch, features]),
    )


def readout_onnx(outputs: int, batch: int | str = "N", source: str = "potentials") -> bytes:
    """A read-out whose scores are half the potentials."""
    nodes = [
        helper.make_node("Cast", [source], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "half"], ["scores"]),
    ]
    half = numpy_helper.from_array(np.float32(0.5), "half")
    return _model(
        nodes, (source, TensorProto.INT64, [batch, outputs]), ("scores", TensorProto.FLOAT, [batch, outputs]), [half]
    )


def _model(nodes: list, given: tuple, made: tuple, constants: tuple | list = ()) -> bytes:
    graph = helper.make_graph(
        nodes, "end", [helper.make_tensor_value_info(*given)], [helper.make_tensor_value_info(*made)], list(constants)
    )
    return helper.make_model(graph, opset_imports=OPSET, ir_version=8).SerializeToString()


def two_cores() -> HandMap:
    """Two cores whose counts are worked out by hand in the tests.

    Encoder: 2 features, 2 levels: sources 0, 1 (feature 0, levels 0, 1), 2, 3 (feature 1).
    Core 0, layer ``hidden`` (tick 1): axons from 0, 1, 2, 3; neurons are 1 feature with 2 levels: sources 4, 5, and equal
    columns (+1, +1, -1, -1), thresholds 1 and 2.
    Core 1, layer ``out`` (tick 2), read out: axons from 4, 5 and, with a delay of 2 ticks, from encoder source 2;
    two outputs with weights (4 bits) [3, -1], [2, 0], [-5, 1].
    """
    return HandMap(
        features=2,
        levels=2,
        layers=[("hidden", 1, 2, 1), ("out", 2, 0, 2)],
        cores=[
            HandCore(0, [[1, 1], [1, 1], [-1, -1], [-1, -1]], [0, 1, 2, 3], [1, 2], [0, 1]),
            HandCore(1, [[3, -1], [2, 0], [-5, 1]], [4, 5, 2], [0, 0], [0, 1], bits=4),
        ],
        fanout=[3, 3, 3, 3, 7, 7, 0, 0],
    )


def relayed() -> HandMap:
    """Three cores: ``relay`` (tick 1) repeats three of the encoder's four neurons, the last of them in another order.

    Encoder: sources 0 to 3 (2 features, 2 levels). Core 0, ``hidden`` (tick 1): one neuron, source 4, that fires when 0 and 1
    do. Core 1, ``relay`` (tick 1): sources 5, 6, 7 repeat 0, 3, 2. Core 2, ``out`` (tick 2), reads 4, 5, 6, 7 with the weights
    1, 1, 2, 4.
    """
    return HandMap(
        features=2,
        levels=2,
        layers=[("hidden", 1, 1, 1), ("relay", 2, 2, 1), ("out", 1, 0, 2)],
        cores=[
            HandCore(0, [[1], [1]], [0, 1], [2], [0]),
            HandCore(1, [[1, 0, 0], [0, 0, 1], [0, 1, 0]], [0, 2, 3], [1, 1, 1], [0, 3, 2], bits=1),
            HandCore(2, [[1], [1], [2], [4]], [4, 5, 6, 7], [0], [0], bits=4),
        ],
        fanout=[1, 1, 1, 1, 1, 0, 0, 0, 0],
    )


def random_map(rng: np.random.Generator) -> HandMap:
    """Cores with random weights, sources (from any earlier tick that a delay can bridge), thresholds and sizes."""
    features, levels = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    ticks = [0] * (features * levels)
    depth = int(rng.integers(1, 4))
    layers: list[tuple[str, int, int, int]] = []
    cores: list[HandCore] = []
    for number in range(depth + 1):
        out = number == depth
        code = 0 if out else int(rng.integers(1, 4))
        size = int(rng.integers(1, 5))
        tick = number + 1
        elements = rng.permutation(size * max(code, 1))
        if not out:  # some neurons may be missing
            elements = elements[: rng.integers(1, len(elements) + 1)]
        bits = int(rng.choice([w for w in (1, 2, 4, 8) if w * len(elements) <= 64]))
        low, high = (0, 2) if bits == 1 else (-(1 << (bits - 1)), 1 << (bits - 1))
        layers.append((f"layer{number}", size, code, tick))
        within = [s for s, t in enumerate(ticks) if tick - 3 <= t < tick]
        shared: np.ndarray | None = None
        for part in np.array_split(elements, min(len(elements), int(rng.integers(1, 3)))):
            axons = int(rng.integers(1, 9))
            fold = int(rng.choice([f for f in (1, 2, 4) if len(part) * f * bits <= 64]))
            weights = rng.integers(low, high, (axons, len(part)))
            if shared is not None and shared.shape[1] == len(part) and rng.random() < 0.7:
                weights = shared  # cores with an equal crossbar
                axons = len(weights)
            shared = weights
            thresholds = [0] * len(part) if out else rng.integers(-3, 8, len(part)).tolist()
            sources = rng.choice(within, axons).tolist()
            cores.append(HandCore(number, weights, sources, thresholds, part.tolist(), bits, fold))
        ticks += [tick if not out else -1] * len(elements)
    fanout = rng.integers(0, 9, len(ticks)).tolist()
    return HandMap(features, levels, layers, cores, fanout=fanout)


def wide_map(rng: np.random.Generator, levels: int | None = None, bits: int | None = None, plain: bool = False) -> HandMap:
    """Cores as a compiler makes them: the levels of a feature on equal rows, neurons that differ in their threshold only,
    many cores with one crossbar; and, unless ``plain``, what spoils it: rows shuffled, single weights changed, a source on
    two axons, neurons that are missing, readers of one level alone, fan-outs that differ.
    """
    chip = load_chip("xbar1152")
    levels = int(rng.integers(1, 6)) if levels is None else levels
    bits = int(rng.choice([1, 2, 4, 8])) if bits is None else bits
    low, high = (0, 2) if bits == 1 else (-(1 << (bits - 1)), 1 << (bits - 1))
    features = int(rng.integers(4, 70))
    reads, makes, copies = int(rng.integers(2, 40)), int(rng.integers(1, 7)), int(rng.integers(2, 5))
    kernel = rng.integers(low, high, (reads, makes))
    cores: list[HandCore] = []
    for copy in range(copies):
        taken = rng.choice(features, reads)
        weights = np.repeat(np.repeat(kernel, levels, axis=0), levels, axis=1)
        sources = (taken[:, None] * levels + np.arange(levels)).reshape(-1)
        elements = np.arange(makes * levels) + copy * makes * levels
        reach = int(np.abs(kernel).sum()) * levels // (2 * makes) + 1
        thresholds = rng.integers(-reach, reach + 1, makes * levels)
        if not plain:
            for _ in range(int(rng.integers(0, 4))):
                weights[rng.integers(len(weights)), rng.integers(weights.shape[1])] = rng.integers(low, high)
            if rng.random() < 0.5:
                order = rng.permutation(len(sources))
                weights, sources = weights[order], sources[order]
            if rng.random() < 0.5:
                kept = np.sort(rng.permutation(len(elements))[: max(1, len(elements) - 3)])
                weights, elements, thresholds = weights[:, kept], elements[kept], thresholds[kept]
        cores.append(HandCore(0, weights, sources.tolist(), thresholds.tolist(), elements.tolist(), bits))
    hidden = sum(len(core.elements) for core in cores)
    first = features * levels
    heard = np.arange(hidden) if plain else rng.choice(hidden, min(hidden, int(rng.integers(1, 60))), replace=True)
    rows = rng.integers(-8, 8, (len(heard), 3))
    if plain:
        rows = np.repeat(rng.integers(1, 8, (-(-hidden // levels), 3)), levels, axis=0)[:hidden]
    cores.append(HandCore(1, rows, (first + heard).tolist(), [0, 0, 0], rng.permutation(3).tolist(), 4))
    layers = [("hidden", copies * makes, levels, 1), ("out", 3, 0, 2)]
    fanout = None
    if not plain and rng.random() < 0.5:
        fanout = rng.choice([0, 3, 70_000], first + hidden + 3).tolist()
    return HandMap(features, levels, layers, cores, chip, fanout)


def pooled_map(rng: np.random.Generator, code: int | None = None) -> HandMap:
    """What a pool makes: neurons with columns of their own, in one core or in several, that those who listen take alike;
    by one core, by cores of one tick or of two, several of which listen to the same or nearly, and now and then not all of
    them alike.
    """
    features, levels = int(rng.integers(2, 20)), int(rng.integers(1, 4))
    first, code = features * levels, int(rng.integers(1, 5)) if code is None else code
    many = int(rng.integers(2, 30)) * code
    cores = []
    for own in np.array_split(rng.permutation(many), min(many, int(rng.integers(1, 4)))):
        rows = int(rng.integers(1, 12))
        weights = rng.integers(-2, 2, (rows, len(own)))
        sources, thresholds = rng.choice(first, rows).tolist(), rng.integers(-2, 4, len(own)).tolist()
        cores.append(HandCore(0, weights, sources, thresholds, own.tolist()))
    group = rng.integers(0, max(1, many // int(rng.integers(1, 6))), many)
    layers, made, ticks = [("pool", many // code, code, 1)], many, int(rng.integers(1, 3))
    for tick in range(2, 2 + ticks):
        neurons = 0
        heard = np.zeros(0, np.int64)
        for _ in range(int(rng.integers(1, 5))):
            if not len(heard) or rng.random() < 0.4:
                heard = np.flatnonzero(np.isin(group, rng.permutation(group)[: rng.integers(1, many + 1)]))
            heard = rng.permutation(heard)
            columns = int(rng.integers(1, 6))
            some = heard[rng.random(len(heard)) < 0.9] if rng.random() < 0.4 else heard
            some = some if len(some) else heard
            weights = rng.integers(-128, 128, (many, columns))[group[some]]
            if rng.random() < 0.2:
                weights[rng.integers(len(some)), 0] += 1 - 2 * (weights[0, 0] > 0)
            weights = np.clip(weights, -128, 127)
            reach = int(np.abs(weights).sum()) // (2 * columns) + 1
            thresholds = rng.integers(-reach, reach, columns).tolist()
            elements = list(range(neurons, neurons + columns))
            cores.append(HandCore(tick - 1, weights, (first + some).tolist(), thresholds, elements, 8))
            neurons += columns
        layers.append((f"listens{tick}", neurons, 1, tick))
        made += neurons
    heard = np.flatnonzero(rng.random(made) < 0.7) if rng.random() < 0.7 else np.arange(many, made)
    heard = heard if len(heard) else np.array([0])
    rows = rng.integers(-8, 8, (made, 3))[np.where(heard < many, group[np.minimum(heard, many - 1)], heard)]
    cores.append(HandCore(ticks + 1, rows, (first + heard).tolist(), [0] * 3, list(range(3)), 4))
    layers.append(("out", 3, 0, ticks + 2))
    fanout = rng.choice([0, 3], first + made + 3).tolist() if rng.random() < 0.2 else None
    return HandMap(features, levels, layers, cores, load_chip("xbar1152"), fanout)


def maxima_map(rng: np.random.Generator, levels: int | None = None, spoilt: float = 0.2) -> HandMap:
    """Max pools, level by level: of the encoder, of neurons, and of pools; windows overlap, cores hold some levels of some.

    With probability ``spoilt`` each core of a pool has something that makes it less than that: a threshold that one spike
    does not reach, a weight below zero, a level that is missing, two that are swapped, one source twice, an input more. Cores
    that listen to some levels alone tell them apart, before a pool and behind it.
    """
    levels = int(rng.integers(1, 6)) if levels is None else levels
    features = int(rng.integers(2, 12))
    first = features * levels
    given = np.arange(first).reshape(features, levels)  # sources of inputs, level by level
    layers: list[tuple[str, int, int, int]] = []
    cores: list[HandCore] = []
    known = first  # sources so far

    def listener(tick: int, sources: np.ndarray) -> None:
        nonlocal known
        weights = rng.integers(-8, 8, (len(sources), int(rng.integers(1, 4))))
        neurons = weights.shape[1]
        cores.append(
            HandCore(len(layers), weights, sources.tolist(), rng.integers(-9, 9, neurons).tolist(), list(range(neurons)), 4)
        )
        layers.append((f"listens{tick}", neurons, 1, tick))
        known += neurons

    if rng.random() < 0.5:  # neurons with some thresholds, rising or not
        sums, made = int(rng.integers(2, 9)), known
        for part in np.array_split(np.arange(sums), int(rng.integers(1, min(3, sums + 1)))):
            weights = np.repeat(rng.integers(-8, 8, (first, len(part))), levels, axis=1)
            thresholds = rng.integers(-20, 20, (len(part), levels))
            thresholds = thresholds if rng.random() < 0.1 else np.sort(thresholds, axis=1)
            elements = (part[:, None] * levels + np.arange(levels)).reshape(-1).tolist()
            cores.append(HandCore(0, weights, rng.permutation(first).tolist(), thresholds.reshape(-1).tolist(), elements, 4))
        layers.append(("sums", sums, levels, 1))
        given, known = made + np.arange(sums * levels).reshape(sums, levels), known + sums * levels
    for _ in range(int(rng.integers(1, 3))):
        tick = len(layers) + 1
        if rng.random() < 0.2:
            listener(tick, given[:, rng.integers(levels)])
            continue
        groups = int(rng.integers(1, 7))
        windows = [rng.choice(len(given), int(rng.integers(1, len(given) + 1)), replace=False) for _ in range(groups)]
        neurons = np.stack(np.meshgrid(np.arange(groups), np.arange(levels), indexing="ij"), axis=2).reshape(-1, 2)
        if rng.random() < 0.3:
            neurons = neurons[np.argsort(neurons[:, 1], kind="stable")]  # levels lie apart
        place = np.empty((groups, levels), np.int64)
        for own in np.array_split(neurons, min(len(neurons), max(1, int(rng.integers(-3, 4))))):
            place[tuple(own.T)] = known + np.arange(len(own))
            known += len(own)
            cores.append(_pool(rng, len(layers), given, windows, own, levels, spoilt))
        layers.append((f"pool{tick}", groups, levels, tick))
        given = place
    if rng.random() < 0.3:
        listener(len(layers) + 1, rng.permutation(given.reshape(-1))[: rng.integers(1, given.size + 1)])
    sources = rng.permutation(np.arange(known))[: rng.integers(1, known + 1)] if rng.random() < 0.5 else given.reshape(-1)
    weights = rng.integers(-8, 8, (len(sources), 2))
    cores.append(HandCore(len(layers), weights, sources.tolist(), [0, 0], [0, 1], 4))
    layers.append(("out", 2, 0, len(layers) + 1))
    return HandMap(features, levels, layers, cores, load_chip("xbar1152"))


def _pool(
    rng: np.random.Generator,
    layer: int,
    given: np.ndarray,
    windows: list[np.ndarray],
    own: np.ndarray,
    levels: int,
    spoilt: float,
) -> HandCore:
    """A core of a pool, whose neurons are ``own``: window and level of each."""
    entries = [(int(given[i, level]), column) for column, (window, level) in enumerate(own) for i in windows[window]]
    sources = np.unique([source for source, _ in entries])
    weights = np.zeros((len(sources), len(own)), np.int64)
    for source, column in entries:
        weights[np.searchsorted(sources, source), column] = rng.integers(1, 8) if rng.random() < 0.3 else 1
    thresholds = np.ones(len(own), np.int64)
    which, column = rng.integers(7) if rng.random() < spoilt else -1, int(rng.integers(len(own)))
    if which == 0:
        thresholds[column] = rng.integers(-1, 5)
    elif which == 1:
        weights[rng.integers(len(sources)), column] = -1
    elif which == 2:
        weights[rng.integers(len(sources))] = 0
    elif which == 3:
        weights[:, [0, column]] = weights[:, [column, 0]]
    elif which == 4:
        sources, weights = np.append(sources, sources[:1]), np.concatenate([weights, weights[:1]])
    elif which == 5:
        weights[rng.integers(len(sources)), column] = 1
    order = rng.permutation(len(sources))
    return HandCore(layer, weights[order], sources[order].tolist(), thresholds.tolist(), (own @ [levels, 1]).tolist(), 4)


def two_cores_model() -> onnx.ModelProto:
    """The network that `two_cores` is, as ONNX: image [N, 2] of levels 0..2 to scores [N, 2]."""
    constant = {
        "w1": np.array([[1.0], [-1.0]]),
        "zero": np.array(0.0),
        "two": np.array(2.0),
        "one": np.array(1.0),
        "w2": np.array([[3.0, -1.0], [2.0, 0.0]]),
        "w3": np.array([[0.0, 0.0], [-5.0, 1.0]]),
        "half": np.array(0.5),
    }
    nodes = [
        helper.make_node("MatMul", ["image", "w1"], ["sum"]),
        helper.make_node("Clip", ["sum", "zero", "two"], ["hidden"]),
        helper.make_node("Clip", ["hidden", "zero", "one"], ["first"]),
        helper.make_node("Sub", ["hidden", "first"], ["second"]),
        helper.make_node("Concat", ["first", "second"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w2"], ["left"]),
        helper.make_node("Clip", ["image", "zero", "one"], ["any"]),
        helper.make_node("MatMul", ["any", "w3"], ["right"]),
        helper.make_node("Add", ["left", "right"], ["total"]),
        helper.make_node("Mul", ["total", "half"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constant.items()],
    )
    return helper.make_model(graph, opset_imports=OPSET, ir_version=8)
