"""Small networks with an exact encoder and head, compiled, run and held against onnxruntime, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model, verify
from qsnnc.frontend.model.reference import session
from support.networks import Builder


def stem(shape: tuple[int, ...] = (1, 6, 6), channels: int = 3, levels: int = 3) -> Builder:
    rng = np.random.default_rng(1)
    net = Builder(shape)
    net.conv("stem", rng.integers(-20, 30, (channels, shape[0], 1, 1)) / 4096.0)
    net.quantize("stem/quant", 1, levels)
    return net


def ternary(rng, *shape: int) -> np.ndarray:
    return rng.integers(-1, 2, shape).astype(float)


def head(net: Builder, features: int) -> None:
    net.gemm("head", np.resize([1.0, -3.0, 2.0, 5.0, -7.0], (4, features)), np.array([0.5, -1, 0, 2]))


def ints(net: Builder, name: str, *values: int) -> str:
    return net.const(name, np.array(values, np.int64))


def finish(net: Builder, shape: tuple[int, ...] | None = None) -> Builder:
    """A head on all that the last tensor holds; its shape, one image, where the builder does not know it."""
    net.shape = shape or net.shape
    net.flatten()
    head(net, int(np.prod(net.shape)))
    return net


def half_quantized_anew() -> Builder:
    """Half of a convolution's channels are quantized anew: its layer has all of them, and no tensor of the file is its."""
    rng = np.random.default_rng(2)
    net = stem()
    net.conv("conv", ternary(rng, 4, 3, 3, 3))
    net.quantize("q0", 1, 6)
    net.node("Slice", "half", ints(net, "from", 2), ints(net, "to", 4), ints(net, "axis", 1))
    net.quantize("q1", 0, 3)
    net.shape = (2, 4, 4)
    net.conv("next", ternary(rng, 4, 2, 3, 3))
    net.quantize("q2", 0, 3)
    return finish(net, net.shape)


def small_network() -> Builder:
    """A ternary convolution between two quantizers, and a classifier."""
    net = Builder((1, 6, 6))
    net.conv("stem", np.resize([1.0, -1.0, 0.0, 1.0], (3, 1, 3, 3)) / 64.0)
    net.quantize("stem/quant", 1, 4)
    net.conv("conv", np.resize([1.0, -1.0, 0.0], (4, 3, 1, 1)), np.array([0.5, -0.5, 1.5, 0.25]))
    net.quantize("quant", 1, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (3, 64)))
    return net


def with_activation(*nodes: tuple[str, tuple[list[str], list[str]], dict[str, Any]]) -> Builder:
    """A small network with an activation of several nodes between its convolution and quantizer."""
    net = small_network()
    at = next(i for i, node in enumerate(net.nodes) if node.name == "quant/mul")
    before, after = net.nodes[:at], net.nodes[at:]
    after[0].input[0] = "activated"
    net.nodes = [*before, *(helper.make_node(op, *ends, **options) for op, ends, options in nodes), *after]
    return net


def turning(
    net: Builder, name: str, op: str, *, scale: float = 0.125, low: int = -8, high: int = 7, clip: bool = True
) -> None:
    """Behind sums: shifted, scaled to +-4 or so, turned and quantized, signed."""
    net.node("Mul", f"{name}/small", net.const(f"{name}.small", np.float32(0.5)))
    if op == "SiLU":
        before = net.here
        net.node("Sigmoid", f"{name}/gate")
        net.node("Mul", f"{name}/turns", before)
    else:
        net.node(op, f"{name}/turns")
    net.node("Div", f"{name}/div", net.const(f"{name}.scale", np.float32(scale)))
    net.node("Round", f"{name}/round")
    if clip:
        ends = (net.const(f"{name}.{end}", np.float32(value)) for end, value in (("low", low), ("high", high)))
        net.node("Clip", f"{name}/clip", *ends)
    net.node("Mul", f"{name}/mul", net.const(f"{name}.back", np.float32(scale)))


def equal(net: Builder | onnx.ModelProto, save, shape=(1, 6, 6), certified: bool = True, **options):
    model = net if isinstance(net, onnx.ModelProto) else net.model(**options)
    path = save(model)
    images = np.random.default_rng(0).integers(0, 256, (9, *shape)).astype(np.uint8)
    done = compile_model(path)
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None))
    run = session(path.read_bytes())
    batch = 1 if run.get_inputs()[0].shape[0] == 1 else len(images)
    parts = [run.run(None, {"image": images[i : i + batch].astype(np.float32)})[0] for i in range(0, len(images), batch)]
    np.testing.assert_array_equal(result.scores, np.concatenate(parts).astype(np.float32))
    if certified:
        assert done.mapping.exactness == "certified"
    assert verify(path, images).equal
    return done, result
