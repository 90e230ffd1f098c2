"""Mappings made by hand: cores with their weights, sources and thresholds; the tables follow."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chipsim.chip import ChipSpec, load_chip
from chipsim.mapping import InputSpec, Layer, Mapping, Population, pack_crossbar

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
    thermometer-coded by the encoder.
    """

    features: int
    levels: int
    layers: list[tuple[str, int, int, int]]
    cores: list[HandCore]
    chip: ChipSpec = field(default_factory=lambda: load_chip("mini"))
    fanout: list[int] | None = None
    scale: float = 1.0

    def build(self, model: bytes = b"") -> Mapping:
        import hashlib

        encoder = self.features * self.levels
        owner = [core.layer for core in self.cores for _ in core.elements]
        ticks = [0] * encoder + [self.layers[layer][3] for layer in owner]
        source = np.array([s for core in self.cores for s in core.sources], np.int32)
        due = np.repeat([self.layers[core.layer][3] for core in self.cores], [len(core.sources) for core in self.cores])
        axon = np.argsort(source, kind="stable")
        distinct: dict[tuple[bytes, tuple[int, ...], int], int] = {}
        index, packed, shapes = [], [], []
        for core in self.cores:
            weights = np.asarray(core.weights, np.int8)
            key = (weights.tobytes(), weights.shape, core.bits)
            if key not in distinct:
                distinct[key] = len(distinct)
                packed.append(pack_crossbar(weights, core.bits))
                shapes.append((*weights.shape, core.bits))
            index.append(distinct[key])
        width = self.chip.grid[0]
        arrays = {
            "core_layer": np.array([core.layer for core in self.cores], np.int32),
            "core_position": np.array([(c % width, c // width) for c in range(len(self.cores))], np.int32),
            "core_fold": np.array([core.fold for core in self.cores], np.int32),
            "core_weight_bits": np.array([core.bits for core in self.cores], np.int32),
            "core_crossbar": np.array(index, np.int32),
            "axon_offset": _offsets([len(core.sources) for core in self.cores]),
            "axon_source": source,
            "neuron_offset": _offsets([len(core.elements) for core in self.cores]),
            "neuron_element": np.array([e for core in self.cores for e in core.elements], np.int32),
            "neuron_threshold": np.array([t for core in self.cores for t in core.thresholds], np.int32),
            "target_offset": _offsets(np.bincount(source, minlength=len(ticks)).tolist()),
            "target_axon": axon.astype(np.int32),
            "target_delay": (due[axon] - np.array(ticks)[source[axon]]).astype(np.uint8),
            "dense_fanout": np.array(self.fanout or [0] * len(ticks), np.int32),
            "crossbar_shape": np.array(shapes, np.int32),
            "crossbar_offset": _offsets([len(part) for part in packed]),
            "crossbar_bits": np.concatenate(packed),
        }
        layers = tuple(self._layer(number) for number in range(len(self.layers)))
        outputs = next(layer.shape[0] for layer in layers if layer.levels == 0)
        return Mapping(
            model_sha256=hashlib.sha256(model).hexdigest(),
            exactness="certified",
            generator="by hand",
            chip=self.chip,
            input=InputSpec("image", "float32", (self.features,), "raw"),
            encoder=Population("encoder", "", (self.features,), self.levels, self.scale, 0.0, 0),
            layers=layers,
            output_tensor="scores",
            output_shape=(outputs,),
            ticks=1 + max(layer.tick for layer in layers),
            arrays=arrays,
            encoder_onnx=encoder_onnx(self.features),
            readout_onnx=readout_onnx(outputs),
        )

    def _layer(self, number: int) -> Layer:
        name, features, levels, tick = self.layers[number]
        mine = [core for core in self.cores if core.layer == number]
        return Layer(
            name=name,
            tensor="",
            shape=(features,),
            levels=levels,
            scale=self.scale,
            zero_point=0.0,
            tick=tick,
            kind="relay" if name.startswith("relay") else "dense",
            weight_bits=mine[0].bits,
            fan_in=max(len(core.sources) for core in mine),
            fold=max(core.fold for core in mine),
            neurons=sum(len(core.elements) for core in mine),
            removed=0,
            synapses=sum(int(np.count_nonzero(core.weights)) for core in mine),
            cores=len(mine),
            bound=len(mine),
            limiting="columns",
        )


def _offsets(sizes: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


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
