"""The networks that benchmarks compile and execute, each made from a seed: ``python benchmarks/networks.py DIRECTORY``.

Integer weights, scales that are powers of two, levels by Round and Clip: every sum is exact, so that every mapping is
certified. The first layer is the host's: its sums of pixels become the first levels.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: largest weight by its bits; 2 bits are ternary
LARGEST = {2: 1, 4: 7, 8: 127}
#: what convolutions differ in, and what is usual
KINDS = {"groups": 1, "stride": 1, "size": 3, "axes": 2}


@dataclass
class Network:
    """A network under construction: `conv`, `dense` and the rest append nodes and return a tensor's name."""

    levels: int
    bits: int
    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.constants |= {"low": np.float32(0), "high": np.float32(self.levels)}

    def weights(self, *shape: int) -> np.ndarray:
        """Integers, uniform up to the largest that the bits hold."""
        largest = LARGEST[self.bits]
        return self.rng.integers(-largest, largest + 1, shape).astype(np.float32)

    def level(self, source: str, name: str, spread: float) -> str:
        """Round and Clip sums of a standard deviation to levels."""
        down = 2.0 ** round(math.log2(max(1.0, self.levels / 2) / spread))
        self.constants[f"{name}.down"] = np.float32(down)
        self.nodes += [
            helper.make_node("Mul", [source, f"{name}.down"], [f"{name}.scaled"]),
            helper.make_node("Round", [f"{name}.scaled"], [f"{name}.rounded"]),
            helper.make_node("Clip", [f"{name}.rounded", "low", "high"], [f"{name}.levels"]),
        ]
        return f"{name}.levels"

    def spread(self, weights: np.ndarray, values: float) -> float:
        """Standard deviation of a sum of values of a root mean square."""
        return float(values * np.sqrt((weights[0] ** 2).sum()))

    @property
    def root_mean_square(self) -> float:
        """Of levels, roughly."""
        return max(0.7, 0.45 * self.levels)

    def sums(
        self, source: str, name: str, inputs: int, outputs: int, values: float | None = None, **kinds: int
    ) -> tuple[str, float]:
        """The sums of a convolution, and their standard deviation.

        ``values``: root mean square of its inputs, by default that of levels; ``kinds``: groups, stride, the ``size`` of its
        kernel (3) and ``axes`` of the image (2).
        """
        groups, stride, size, axes = (kinds.get(kind, usual) for kind, usual in KINDS.items())
        weights = self.weights(outputs, inputs // groups, *[size] * axes)
        self.constants[f"{name}.weight"] = weights
        self.nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{name}.weight"],
                [f"{name}.sum"],
                name=name,
                pads=[size // 2] * 2 * axes,
                group=groups,
                strides=[stride] * axes,
            )
        )
        return f"{name}.sum", self.spread(weights, values or self.root_mean_square)

    def conv(self, source: str, name: str, inputs: int, outputs: int, values: float | None = None, **kinds: int) -> str:
        """A convolution with its levels: see `sums`."""
        total, spread = self.sums(source, name, inputs, outputs, values, **kinds)
        return self.level(total, name, spread)

    def block(self, source: str, name: str, inputs: int, outputs: int) -> str:
        """A residual block of two convolutions; where it has more outputs, it is strided, and so is its shortcut."""
        stride = 1 if inputs == outputs else 2
        here = self.conv(source, f"{name}.first", inputs, outputs, stride=stride)
        total, spread = self.sums(here, f"{name}.second", outputs, outputs)
        if stride == 1:
            self.constants[f"{name}.factor"] = np.float32(2.0 ** round(math.log2(spread / max(1.0, self.levels / 2))))
            self.nodes.append(helper.make_node("Mul", [source, f"{name}.factor"], [f"{name}.short"]))
            short = f"{name}.short"
        else:
            short, _ = self.sums(source, f"{name}.short", inputs, outputs, stride=2, size=1)
        self.nodes.append(helper.make_node("Add", [total, short], [f"{name}.total"]))
        return self.level(f"{name}.total", name, 1.4 * spread)

    def dense(self, source: str, name: str, inputs: int, outputs: int, values: float | None = None) -> str:
        """A matrix product with its levels."""
        weights = self.weights(inputs, outputs)
        self.constants[f"{name}.weight"] = weights
        self.nodes.append(helper.make_node("MatMul", [source, f"{name}.weight"], [f"{name}.sum"], name=name))
        return self.level(f"{name}.sum", name, self.spread(weights.T, values or self.root_mean_square))

    def pool(self, source: str, name: str) -> str:
        """A max pool of 2 x 2."""
        self.nodes.append(helper.make_node("MaxPool", [source], [name], name=name, kernel_shape=[2, 2], strides=[2, 2]))
        return name

    def scores(self, source: str, inputs: int, outputs: int = 10, *, flatten: bool = False) -> None:
        """The classifier, whose sums are the scores."""
        if flatten:
            self.nodes.append(helper.make_node("Flatten", [source], ["flat"]))
            source = "flat"
        self.constants["scores.weight"] = self.weights(inputs, outputs)
        self.nodes.append(helper.make_node("MatMul", [source, "scores.weight"], ["scores"], name="scores"))

    def model(self, image: tuple[int, ...]) -> onnx.ModelProto:
        """Return what was built, for float32 images."""
        graph = helper.make_graph(
            self.nodes,
            "benchmark",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *image])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.helper.set_model_props(made, {"qsnnc.pixels": "raw"})
        return made


def vgg(bits: int, levels: int) -> onnx.ModelProto:
    """32-32-pool-64-64-pool-128 of 3 x 3 on 3 x 32 x 32, then 10 scores."""
    net = Network(levels, bits)
    here = net.conv("image", "conv1", 3, 32, values=147.0)
    here = net.pool(net.conv(here, "conv2", 32, 32), "pool1")
    here = net.conv(here, "conv3", 32, 64)
    here = net.pool(net.conv(here, "conv4", 64, 64), "pool2")
    here = net.conv(here, "conv5", 64, 128)
    net.scores(here, 128 * 8 * 8, flatten=True)
    return net.model((3, 32, 32))


def wide(bits: int, levels: int) -> onnx.ModelProto:
    """64-128-pool-256-pool-256 of 3 x 3 on 3 x 32 x 32, the first strided."""
    net = Network(levels, bits)
    here = net.conv("image", "conv1", 3, 64, values=147.0, stride=2)
    here = net.pool(net.conv(here, "conv2", 64, 128), "pool1")
    here = net.pool(net.conv(here, "conv3", 128, 256), "pool2")
    here = net.conv(here, "conv4", 256, 256)
    net.scores(here, 256 * 4 * 4, flatten=True)
    return net.model((3, 32, 32))


def deep(bits: int, levels: int) -> onnx.ModelProto:
    """Eight convolutions of 16 channels on 1 x 28 x 28, two of them strided."""
    net = Network(levels, bits)
    here = net.conv("image", "conv0", 1, 16, values=147.0)
    for number in range(1, 8):
        here = net.conv(here, f"conv{number}", 16, 16, stride=2 if number in (3, 6) else 1)
    net.scores(here, 16 * 7 * 7, flatten=True)
    return net.model((1, 28, 28))


def residual(bits: int, levels: int) -> onnx.ModelProto:
    """Three residual blocks of 16, 32 and 64 channels on 3 x 32 x 32."""
    net = Network(levels, bits)
    here = net.conv("image", "conv1", 3, 16, values=147.0)
    for name, inputs, outputs in (("block1", 16, 16), ("block2", 16, 32), ("block3", 32, 64)):
        here = net.block(here, name, inputs, outputs)
    net.scores(here, 64 * 8 * 8, flatten=True)
    return net.model((3, 32, 32))


def series(bits: int, levels: int) -> onnx.ModelProto:
    """Four strided convolutions along one axis, of 256 samples."""
    net = Network(levels, bits)
    here = net.conv("image", "conv1", 1, 32, values=147.0, size=9, stride=2, axes=1)
    for number, (inputs, outputs, size) in enumerate(((32, 32, 5), (32, 64, 3), (64, 64, 3)), 2):
        here = net.conv(here, f"conv{number}", inputs, outputs, size=size, stride=2, axes=1)
    net.scores(here, 64 * 16, flatten=True)
    return net.model((1, 256))


def mlp(bits: int = 2, levels: int = 3) -> onnx.ModelProto:
    """784-512-512-512-10 on raw pixels."""
    net = Network(levels, bits)
    here = net.dense("image", "dense1", 784, 512, values=147.0)
    here = net.dense(here, "dense2", 512, 512)
    here = net.dense(here, "dense3", 512, 512)
    net.scores(here, 512)
    return net.model((784,))


def strided(bits: int, levels: int) -> onnx.ModelProto:
    """Four convolutions, three of them strided, on 1 x 28 x 28."""
    net = Network(levels, bits)
    here = net.conv("image", "conv1", 1, 16, values=147.0)
    here = net.conv(here, "conv2", 16, 32, stride=2)
    here = net.conv(here, "conv3", 32, 32)
    here = net.conv(here, "conv4", 32, 64, stride=2)
    net.scores(here, 64 * 7 * 7, flatten=True)
    return net.model((1, 28, 28))


def depthwise(bits: int, levels: int) -> onnx.ModelProto:
    """Depthwise convolutions and full ones in turns, on 1 x 28 x 28."""
    net = Network(levels, bits)
    here = net.conv("image", "conv1", 1, 32, values=147.0)
    here = net.conv(here, "depthwise1", 32, 32, groups=32, stride=2)
    here = net.conv(here, "conv2", 32, 64)
    here = net.conv(here, "depthwise2", 64, 64, groups=64, stride=2)
    net.scores(here, 64 * 7 * 7, flatten=True)
    return net.model((1, 28, 28))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "vgg-ternary-1": lambda: vgg(2, 1),
    "vgg-ternary-3": lambda: vgg(2, 3),
    "vgg-4bit-3": lambda: vgg(4, 3),
    "mlp-ternary-3": mlp,
    "strided-8bit-3": lambda: strided(8, 3),
    "strided-ternary-7": lambda: strided(2, 7),
    "depthwise-4bit-3": lambda: depthwise(4, 3),
    "wide-8bit-3": lambda: wide(8, 3),
    "deep-8bit-7": lambda: deep(8, 7),
    "residual-4bit-3": lambda: residual(4, 3),
    "series-8bit-7": lambda: series(8, 7),
    "mlp-8bit-7": lambda: mlp(8, 7),
}


def main() -> None:
    """Write every network into a directory."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, build in NETWORKS.items():
        onnx.save(build(), directory / f"{name}.onnx")


if __name__ == "__main__":
    main()
