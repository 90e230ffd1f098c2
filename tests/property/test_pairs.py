"""Two operands of levels whose scales stand in no simple ratio: the layer is right for every pair of levels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from qsnnc import ModelError, compile_model
from qsnnc.frontend.model.reference import session
from qsnnc.ir.execute import fire, potentials
from qsnnc.reading import front

CHANNELS = 3


def quantize(net: Builder, name: str, scale: float, low: int, high: int) -> str:
    step = net.const(f"{name}.scale", np.float32(scale))
    net.node("Div", f"{name}/div", step)
    net.node("Round", f"{name}/round")
    net.node("Clip", f"{name}/clip", net.const(f"{name}.low", np.float32(low)), net.const(f"{name}.high", np.float32(high)))
    return net.node("Mul", name, step)


def residual(scales, lows, levels, op="Add", gamma=(1.0, -0.7, 0.4), pool=False) -> onnx.ModelProto:
    """Two convolutions of one image, each with a quantizer of its own, summed, normalised, quantized, read by a matrix."""
    rng = np.random.default_rng(0)
    net = Builder((1, 4, 4))
    net.quantize("image/quant", 1, 4)
    root = net.here
    operands = []
    for number in (0, 1):
        net.here = root
        net.conv(f"conv{number}", rng.integers(-3, 4, (CHANNELS, 1, 1, 1)).astype(float), np.array([0.3, 0.1, -0.2]))
        net.shape = (CHANNELS, 4, 4)
        operands.append(quantize(net, f"operand{number}", scales[number], lows[number], lows[number] + levels[number]))
    net.here = operands[0]
    net.node(op, "join", operands[1])
    if pool:
        net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (CHANNELS, 2, 2)
    net.batch_norm("bn", gamma, [0.05, 0.3, -0.1], [0.1, -0.2, 0.0], [1.0, 0.5, 2.0])
    quantize(net, "out", scales[2], 0, levels[2])
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0, 5.0], (3, int(np.prod(net.shape)))))
    return net.model()


def every_pair(path) -> None:
    """The layer of the sum against onnxruntime, on all pairs of levels."""
    _, graph = front(path)
    layer = next(entry for entry in graph.layers if entry.name == "join")
    assert layer.exact_sums
    assert not layer.uncertain, "two terms have one order: nothing is uncertain"
    operands = [next(entry for entry in graph.layers if entry.tensor == f"operand{n}_out") for n in (0, 1)]
    both = np.stack(np.meshgrid(*(np.arange(operand.levels + 1) for operand in operands), indexing="ij"), axis=-1).reshape(
        -1, 2
    )
    given_levels = {
        operand.name: np.broadcast_to(both[:, n, None, None, None], (len(both), *operand.shape))
        for n, operand in enumerate(operands)
    }
    found = fire(layer, potentials(layer, given_levels))
    tail = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(onnx.load(str(path)))).extract_model(
        ["operand0_out", "operand1_out"], ["out_out"]
    )
    values = {
        f"operand{n}_out": (
            np.float32(operand.scale) * (given_levels[operand.name] + round(operand.zero_point)).astype(np.float32)
        )
        for n, operand in enumerate(operands)
    }
    (expected,) = session(tail).run(None, values)
    np.testing.assert_array_equal(found, np.round(expected / layer.scale - layer.zero_point))


scale = st.floats(0.015625, 3.0, width=32)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    scales=st.tuples(scale, scale, scale),
    lows=st.tuples(st.integers(-4, 0), st.integers(-4, 0)),
    levels=st.tuples(st.integers(1, 15), st.integers(1, 15), st.integers(1, 7)),
    op=st.sampled_from(["Add", "Sub"]),
)
@example(
    scales=(0.025068, 0.0700389, 0.11), lows=(0, 0), levels=(15, 15, 15), op="Add"
)  # onnxruntime's, of one residual network
@example(scales=(0.1, 0.3, 0.2), lows=(0, 0), levels=(15, 15, 7), op="Add")  # 0.3 / 0.1 is not 3 in float32
def test_every_pair_of_levels(tmp_path_factory, scales, lows, levels, op) -> None:
    path = tmp_path_factory.mktemp("pair") / "pair.onnx"
    path.write_bytes(residual(scales, lows, levels, op).SerializeToString())
    try:
        every_pair(path)
    except ModelError as error:  # levels that the sums never leave, say
        assert error.code == "constant-activation"  # noqa: PT017
    except StopIteration:
        pytest.fail("the join is no layer")


@pytest.mark.parametrize("pool", [False, True])
def test_on_the_chip(save, pool) -> None:
    path = save(residual((0.025068, 0.0700389, 0.11), (0, -3), (15, 7, 7), pool=pool))
    done = compile_model(path)
    images = np.random.default_rng(1).integers(0, 256, (60, 4, 4)).astype(np.uint8)
    found = chipsim.compare(done.mapping, path, Dataset("random", "test", images, None))
    assert found.equal, str(found.difference)
    assert max(int(np.abs(link.weights).max()) for link in done.graph.layers[2].connections) <= 127


def test_without_a_quantizer_behind_the_scales_are_refused(save) -> None:
    model = residual((0.025068, 0.0700389, 0.11), (0, 0), (15, 15, 7))
    kept = [node for node in model.graph.node if not node.output[0].startswith(("out", "bn"))]
    next(node for node in kept if node.op_type == "Flatten").input[0] = "join_out"
    del model.graph.node[:]
    model.graph.node.extend(kept)
    with pytest.raises(ModelError, match=r"give its inputs one scale|put a quantizer"):
        front(save(model))
