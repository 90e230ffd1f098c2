"""Quantized networks as ONNX, built operator by operator for the tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass
class Builder:
    """Appends nodes; ``here`` is the last tensor, ``shape`` its shape for one image."""

    shape: tuple[int, ...]
    here: str = "image"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    input_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.input_shape = self.shape

    def const(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, name: str, *inputs: str, **attributes: object) -> str:
        out = f"{name}_out"
        self.nodes.append(helper.make_node(op, [self.here, *inputs], [out], name=name, **attributes))
        self.here = out
        return out

    def conv(self, name: str, weights: np.ndarray, bias: np.ndarray | None = None, **attributes: object) -> None:
        extra = [self.const(f"{name}.weight", weights.astype(np.float32))]
        if bias is not None:
            extra.append(self.const(f"{name}.bias", bias.astype(np.float32)))
        self.node("Conv", name, *extra, **attributes)
        pads = attributes.get("pads", (0, 0, 0, 0))
        strides = attributes.get("strides", (1, 1))
        dilations = attributes.get("dilations", (1, 1))
        space = []
        for axis in (0, 1):
            span = (weights.shape[2 + axis] - 1) * dilations[axis] + 1
            space.append((self.shape[1 + axis] + pads[axis] + pads[axis + 2] - span) // strides[axis] + 1)
        self.shape = (len(weights), *space)

    def gemm(self, name: str, weights: np.ndarray, bias: np.ndarray | None = None) -> None:
        extra = [self.const(f"{name}.weight", weights.astype(np.float32))]
        if bias is not None:
            extra.append(self.const(f"{name}.bias", bias.astype(np.float32)))
        self.node("Gemm", name, *extra, transB=1)
        self.shape = (len(weights),)

    def flatten(self) -> None:
        self.node("Flatten", f"flatten_{len(self.nodes)}")
        self.shape = (int(np.prod(self.shape)),)

    def batch_norm(self, name: str, gamma, beta, mean, var) -> None:
        names = [
            self.const(f"{name}.{part}", np.asarray(value, np.float32))
            for part, value in (("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var))
        ]
        self.node("BatchNormalization", name, *names, epsilon=1e-5)

    def quantize(self, name: str, k: int, levels: int) -> None:
        """Median quantization: clip(round(x * 2**k), 0, levels) / 2**k."""
        self.node("Mul", f"{name}/mul", self.const(f"{name}.up", np.float32(2.0**k)))
        self.node("Round", f"{name}/round")
        bounds = [self.const(f"{name}.low", np.float32(0)), self.const(f"{name}.high", np.float32(levels))]
        self.node("Clip", f"{name}/clip", *bounds)
        self.node("Mul", f"{name}/level", self.const(f"{name}.down", np.float32(2.0**-k)))

    def model(self, metadata: dict[str, str] | None = None, opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *self.input_shape])],
            [helper.make_tensor_value_info(self.here, TensorProto.FLOAT, ["N", *self.shape])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        helper.set_model_props(model, metadata or {"qsnnc.pixels": "raw"})
        return model


def lenet(rng: np.random.Generator, k: int = 1, levels: int = 4) -> onnx.ModelProto:
    """The LeNet of the paper with random ternary weights and batch norms that keep it alive."""
    net = Builder((1, 28, 28))
    plan = [
        ("conv1", 16, 5, 1, 2),
        ("conv2", 16, 5, 1, 0),
        ("down1", 16, 2, 2, 0),
        ("conv3", 32, 5, 1, 0),
        ("down2", 32, 2, 2, 0),
        ("conv4", 256, 4, 1, 0),
    ]
    for name, out, kernel, stride, pad in plan:
        shape = (out, net.shape[0], kernel, kernel)
        if name == "conv1":
            weights = rng.integers(-60, 61, shape) / 128.0
            spread = 100.0 * np.sqrt(np.prod(shape[1:])) * 0.3
        else:
            weights = rng.integers(-1, 2, shape).astype(float)
            spread = np.sqrt(np.prod(shape[1:])) * 0.6
        net.conv(name, weights, pads=[pad] * 4, strides=[stride] * 2)
        gamma = rng.uniform(0.4, 1.2, out) * rng.choice([1, 1, 1, -1], out)
        net.batch_norm(
            f"{name}/bn", gamma, rng.normal(0.3, 0.4, out), rng.normal(0, 0.3 * spread, out), np.full(out, spread**2)
        )
        net.quantize(f"{name}/quant", k, levels)
    net.flatten()
    net.gemm("fc", rng.integers(-127, 128, (10, 256)) / 64.0, rng.integers(-200, 200, 10) / 128.0)
    return net.model()


def batch_norm_values(rng: np.random.Generator, channels: int, spread: float, *, odd: bool) -> tuple[np.ndarray, ...]:
    """Parameters of a batch norm; ``odd`` ones have negative and zero gammas, dead and saturated channels."""
    gamma = rng.uniform(0.3, 1.5, channels)
    beta = rng.normal(0.4, 0.5, channels)
    if odd:
        gamma *= rng.choice([1.0, -1.0, 0.0, 1e-3], channels, p=[0.6, 0.25, 0.1, 0.05])
        beta += rng.choice([0.0, 0.0, 0.0, -50.0, 50.0], channels)
    mean = rng.normal(0, 0.4 * spread, channels)
    return gamma, beta, mean, np.full(channels, spread**2) * rng.uniform(0.5, 2.0, channels)


@dataclass(frozen=True)
class Recipe:
    """A small network: what hypothesis draws and shrinks."""

    size: int  # rows and columns of the image
    channels: int
    k: int
    levels: int
    layers: tuple[str, ...]  # conv, strided, padded, depthwise, maxpool, latepool, avgpool, bias, dense
    outputs: int
    seed: int
    odd: bool


def build(recipe: Recipe) -> onnx.ModelProto:
    """Build a recipe; a layer that does not fit the map any more is left out."""
    rng = np.random.default_rng(recipe.seed)
    net = Builder((1, recipe.size, recipe.size))

    def quantizer(name: str, spread: float, between: bool = False) -> None:
        net.batch_norm(f"{name}/bn", *batch_norm_values(rng, net.shape[0], spread, odd=recipe.odd))
        if between:
            pool(f"{name}_pool")
        net.quantize(f"{name}/quant", recipe.k, recipe.levels)

    def pool(name: str, op: str = "MaxPool", kernel: int = 2) -> None:
        net.node(op, name, kernel_shape=[kernel, kernel], strides=[kernel, kernel])
        net.shape = (net.shape[0], *((n - kernel) // kernel + 1 for n in net.shape[1:]))

    net.conv("stem", rng.integers(-20, 21, (recipe.channels, 1, 3, 3)) / 32.0, pads=[1, 1, 1, 1])
    quantizer("stem", 150.0)
    for number, kind in enumerate(recipe.layers):
        name = f"{kind}{number}"
        inputs = net.shape[0]
        spatial = len(net.shape) == 3
        if kind == "dense" or not spatial:
            if spatial:
                net.flatten()
            net.gemm(name, rng.integers(-1, 2, (recipe.channels * 2, net.shape[0])).astype(float))
            spread = max(1.0, 0.5 * np.sqrt(net.shape[0] * recipe.levels))
            quantizer(name, spread)
            continue
        if kind in ("maxpool", "avgpool"):
            if min(net.shape[1:]) >= 2:
                pool(name, "MaxPool" if kind == "maxpool" else "AveragePool")
                if kind == "avgpool":
                    net.quantize(f"{name}/quant", recipe.k, recipe.levels)
            continue
        if min(net.shape[1:]) < 3:
            continue
        weights = rng.integers(-1, 2, (recipe.channels, inputs, 3, 3)).astype(float)
        options: dict[str, object] = {}
        bias = None
        if kind == "strided":
            options = {"strides": [2, 2]}
        elif kind == "padded":
            options = {"pads": [1, 0, 2, 1]}
        elif kind == "depthwise":
            weights = rng.integers(-3, 4, (inputs, 1, 3, 3)).astype(float) * 0.25
            options = {"group": inputs}
        elif kind == "bias":
            bias = rng.integers(-8, 9, recipe.channels) / 4.0
            options = {"dilations": [1, 1]}
        net.conv(name, weights, bias, **options)
        between = kind == "latepool" and min(net.shape[1:]) >= 2
        quantizer(name, max(1.0, np.sqrt(weights[0].size * recipe.levels) * 0.3), between)
    if len(net.shape) == 3:
        net.flatten()
    net.gemm("head", rng.integers(-9, 10, (recipe.outputs, net.shape[0])) / 8.0, rng.integers(-9, 10, recipe.outputs) / 8.0)
    return net.model()
