"""What exporters wrote that nobody here had seen: channels last, dips of a fraction of a step, 16 bits joined anew."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.against_reference import equal, finish, ints, stem, ternary
from support.networks import Builder

from qsnnc import ModelError, verify
from qsnnc.frontend.integerize.requantize import _firsts
from qsnnc.frontend.model.batch_axis import free_reshapes
from qsnnc.frontend.quantizers.levels import on_a_grid

NHWC, NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


def dips(scale: float, op: str = "HardSwish") -> Builder:
    """An activation that falls by 0.375 of its input's unit, at -1.5, behind sums in steps of 1/64."""
    rng = np.random.default_rng(4)
    net = stem()
    net.conv("conv", ternary(rng, 4, 3, 3, 3), np.array([0.0, 0.5, -0.5, 0.25]))
    net.node("Mul", "half", net.const("half.k", np.float32(1 / 64)))
    net.node(op, "turns")
    net.node("Div", "div", net.const("div.k", np.float32(scale)))
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("low", np.float32(-4)), net.const("high", np.float32(3)))
    return finish(net)


def test_a_dip_narrower_than_the_points_that_are_looked_at_is_seen(save) -> None:
    """-0.375 is the lowest value of HardSwish: below half a step by 2e-5, over a hundredth of the input's unit."""
    equal(dips(0.375 / 0.50005), save, certified=False, opset=18)


def test_a_dip_that_the_quantizer_hides_is_none(save) -> None:
    equal(dips(0.375 / 0.4999), save, certified=False, opset=18)


def channels_last(pool: str, *, late: bool) -> Builder:
    """As converters from frameworks with channels last write it: a transpose before every window, and one behind it."""
    rng = np.random.default_rng(5)
    net = Builder((6, 6, 1))
    net.node("Transpose", "t0", perm=NCHW)
    net.shape = (1, 6, 6)
    net.conv("stem", rng.integers(-20, 30, (4, 1, 1, 1)) / 4096.0)
    net.node("Transpose", "t1", perm=NHWC)
    net.node("Add", "bias", net.const("bias.k", np.float32([0.5, 0, -0.5, 1])))
    net.quantize("q0", 1, 3)
    net.node("Transpose", "t2", perm=NCHW)
    net.conv("depthwise", ternary(rng, 4, 1, 3, 3), group=4, pads=[1] * 4)
    if late:
        net.node(pool, "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.node("Transpose", "t3", perm=NHWC)
    else:
        net.node("Transpose", "t3", perm=NHWC)
        net.quantize("q1", 1, 3)
        net.node("Transpose", "t4", perm=NCHW)
        net.node(pool, "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.node("Transpose", "t5", perm=NHWC)
    net.node("Mul", "factor", net.const("factor.k", np.float32([0.5, -1, 1, 2])))
    net.quantize("q2", 1, 3)
    net.shape = (3, 3, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0, 5.0, -7.0], (4, 36)))
    return net


@pytest.mark.parametrize(("pool", "late"), [("MaxPool", False), ("AveragePool", False), ("MaxPool", True)])
def test_channels_last(pool, late, save) -> None:
    done, _ = equal(channels_last(pool, late=late), save, (6, 6, 1), certified=False)
    depthwise = next(layer for layer in done.graph.layers if layer.name == "depthwise")
    assert depthwise.shape[0] == 4, "a kernel of four channels, not a matrix"
    assert depthwise.connections[0].weights.size == 36


def test_a_reshape_that_counts_noughts_keeps_the_batch() -> None:
    """torch writes allowzero = 1 with every view; a batch that is kept by a 0 must not be an empty one."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1)
    shape = numpy_helper.from_array(np.array([2, -1], np.int64), "shape")
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:], [shape])
    free_reshapes(graph, {"shape": np.array([2, -1])}, 2, "mark")
    assert not graph.node[0].attribute
    assert numpy_helper.to_array(graph.initializer[1]).tolist() == [0, -1]


def test_the_pooled_integers_of_a_signal(save) -> None:
    """QLinearGlobalAveragePool over one axis."""
    net = stem()
    net.node("Reshape", "flat", ints(net, "flat.shape", 0, 3, 36))
    scale, zero = net.const("s", np.float32(1)), net.const("z", np.uint8(0))
    net.node("QuantizeLinear", "q", scale, zero)
    net.nodes.append(
        helper.make_node(
            "QLinearGlobalAveragePool",
            [net.here, scale, zero, scale, zero],
            ["pooled"],
            name="pool",
            domain="com.microsoft",
            channels_last=0,
        )
    )
    net.here = "pooled"
    net.node("DequantizeLinear", "dq", scale, zero)
    model = finish(net, (3, 1)).model(opset=17)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    equal(model, save, certified=False)


def test_many_levels_joined_to_many_take_no_table() -> None:
    """16 bits against 16 bits: four thousand million comparisons, were all of them made."""
    from qsnnc.frontend.quantizers.levels import Levels

    table = np.linspace(0, 65535, 65536)[:, None].repeat(3, axis=1)
    levels = Levels(65535, 1.0, 0.0, table[:, 0], np.zeros(3, bool))
    first = _firsts(table, levels)
    assert first.shape == (3, 65535)
    np.testing.assert_array_equal(first[1], np.arange(1, 65536))


SCALES = np.array([0.5, 0.3, 0.7, 1.1])


def scale_a_channel(scales: np.ndarray = SCALES, *, pooled: bool = False, zero: float = 0.0) -> Builder:
    """A quantizer with a per-channel scale; what the caller appends reads it."""
    net = stem(channels=3)
    net.conv("conv", ternary(np.random.default_rng(6), 4, 3, 3, 3), np.array([0.25, -0.5, 0.125, 1.0]), pads=[1] * 4)
    if pooled:
        net.node("MaxPool", "early", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (4, 3, 3)
    scale = net.const("scale", (scales * [1, 1, -1 if pooled else 1, 1]).astype(np.float32).reshape(4, 1, 1))
    net.node("Div", "div", scale)
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("low", np.float32(zero)), net.const("high", np.float32(zero + 3)))
    net.node("Mul", "mul", scale)
    return net


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("zero", [0.0, -1.0])
def test_a_scale_a_channel_before_a_depthwise_convolution(pooled, zero, save) -> None:
    net = scale_a_channel(pooled=pooled, zero=zero)
    net.conv("depthwise", ternary(np.random.default_rng(7), 4, 1, 3, 3), group=4, pads=[1] * 4)
    net.quantize("q", 1, 3)
    done, _ = equal(finish(net), save, certified=False)
    layer = next(layer for layer in done.graph.layers if layer.name == "depthwise")
    assert len(layer.connections) == 1, "one kernel, though it reads four scales"
    assert layer.connections[0].groups == 4


def test_a_scale_a_channel_in_what_the_host_hands_over(save) -> None:
    """As Brevitas' MobileNet has it: the first quantizer, then a depthwise convolution."""
    net = Builder((1, 6, 6))
    net.conv("stem", np.random.default_rng(5).integers(-3, 5, (4, 1, 3, 3)) / 2048, pads=[1] * 4)
    scale = net.const("scale", SCALES.astype(np.float32).reshape(4, 1, 1))
    net.node("Div", "div", scale)
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("low", np.float32(0)), net.const("high", np.float32(3)))
    net.node("Mul", "mul", scale)
    net.conv("depthwise", ternary(np.random.default_rng(7), 4, 1, 3, 3), group=4, pads=[1] * 4)
    net.quantize("q", 1, 3)
    done, _ = equal(finish(net), save, certified=False)
    assert (done.graph.encoder.levels, done.graph.encoder.tensor) == (3, "")


def test_a_scale_a_channel_before_a_pool_and_a_residual_sum(save) -> None:
    net = scale_a_channel()
    first = net.here
    net.node("MaxPool", "pool", kernel_shape=[3, 3], pads=[1] * 4)
    net.node("Add", "add", first)
    net.quantize("q", 1, 3)
    done, _ = equal(finish(net), save, certified=False)
    pools = [layer for layer in done.graph.layers if layer.kind == "pool"]
    assert len(pools) == 1, "one population, though it has four scales"


def test_scales_of_channels_in_small_ratios_become_weights(save) -> None:
    """0.5, 0.3, 0.7 and 1.1 are 5, 3, 7 and 11 tenths."""
    net = scale_a_channel()
    net.conv("mixes", np.ones((2, 4, 1, 1)))
    net.quantize("q", 1, 3)
    done, _ = equal(finish(net), save, certified=False)
    layer = next(layer for layer in done.graph.layers if layer.name == "mixes")
    assert layer.connections[0].weights[0].reshape(-1).tolist() == [5, 3, 7, 11]


def test_a_scale_a_channel_before_a_convolution_is_refused(save) -> None:
    net = scale_a_channel(np.sqrt([0.2, 0.3, 0.5, 0.7]))
    net.conv("mixes", np.ones((2, 4, 1, 1)))
    net.quantize("q", 1, 3)
    with pytest.raises(ModelError, match="for all channels") as caught:
        verify(save(finish(net).model()))
    assert caught.value.subject == "mixes"
    assert caught.value.code == "concat-scales"


def test_uneven_values_that_are_moved_before_they_are_quantized(save) -> None:
    """As onnxruntime quantizes an operator that it does not know: levels, an ELU, a flatten, and levels again."""
    net = stem(channels=3)
    net.conv("conv", ternary(np.random.default_rng(3), 3, 3, 3, 3))
    scale, zero = net.const("s", np.float32(0.25)), net.const("z", np.int8(3))
    net.node("QuantizeLinear", "q", scale, zero)
    net.node("DequantizeLinear", "dq", scale, zero)
    net.node("Elu", "elu")
    net.flatten()
    again = net.const("again", np.float32(0.125))
    net.node("QuantizeLinear", "q2", again, zero)
    net.node("DequantizeLinear", "dq2", again, zero)
    net.gemm("head", np.resize([1.0, -3.0, 2.0, 5.0, -7.0], (4, net.shape[0])))
    assert verify(save(net.model()), limit=20).equal


def test_a_wide_gap_between_levels_is_a_number_of_steps() -> None:
    """Sixty-seven levels that no channel takes, and the rounding of float32 in every one of the others."""
    step = 0.0042680502
    taken = np.concatenate([np.arange(10), np.arange(76, 255)])
    values = (np.float32(step) * taken.astype(np.float32)).astype(np.float64)
    assert on_a_grid("end", values, np.zeros(1, bool)).count == 254


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([0, 32, 63.5], 127),
        ([0, 1000, 1999.5], 3999),
        ([0, 0.5, 1], 2),
        (np.float32(0.1) * np.arange(16, dtype=np.float32), 15),
    ],
)
def test_values_lie_on_one_grid_but_for_the_rounding_of_float32(values, count) -> None:
    """What an integer type cuts off is a value of its own, though it be but a hundredth of a step beside the next level."""
    found = on_a_grid("end", np.asarray(values, np.float64), np.zeros(1, bool))
    assert found.count == count
    said = found.scale * (np.arange(count + 1) + found.zero_point)
    np.testing.assert_allclose(said[np.searchsorted(found.values, values)], values, rtol=1e-6)
