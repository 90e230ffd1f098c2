"""Random networks from the whole set of operators, exact by construction: every scale is a power of two, every sum small.

Hypothesis draws a list of steps; a step that does not fit the tensor that is there is left out, so that every list is a
network and shrinks to a smaller one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from support.networks import Builder

#: what a step may be; each a function `_step_NAME` below
STEPS = (
    "conv grouped depthwise strided dilated same maxpool latepool avgpool globalpool reduce add sub three sums concat shuffle "
    "slice crop pad padone split transpose tokens gemm matmul requantize qdq neg falling flatten moved openadd openavg "
    "enlarge deconv valley blend"
).split()


@dataclass(frozen=True)
class Plan:
    """A network to be: what hypothesis draws and shrinks."""

    size: tuple[int, int]
    channels: int
    steps: tuple[str, ...]
    levels: int
    signed: bool
    ending: str  # scores, levels, argmax, softmax
    seed: int


class Growth(Builder):
    """A builder that remembers earlier quantized tensors, for operands that meet again."""

    def start(self, plan: Plan) -> None:
        self.rng = np.random.default_rng(plan.seed)
        self.plan = plan
        self.earlier: list[tuple[str, tuple[int, ...]]] = []
        self.count = 0

    def name(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def weights(self, *shape: int) -> np.ndarray:
        width = int(self.rng.choice([1, 1, 2, 4]))
        return self.rng.integers(-width, width + 1, shape).astype(float) * 2.0 ** int(self.rng.integers(-1, 1))

    def ints(self, *values: int) -> str:
        return self.const(self.name("k"), np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self.const(self.name("k"), np.float32(value))

    def activate(self, fan_in: float) -> None:
        """Scale by a power of two, by channel or not, round, and clip to a few levels, signed or not."""
        k = int(np.clip(np.round(-np.log2(max(1.0, np.sqrt(fan_in)))), -4, 0))
        if self.rng.random() < 0.3 and len(self.shape) == 3:
            shift = self.rng.integers(-2, 3, (self.shape[0], 1, 1)) / 2.0
            self.node("Add", self.name("bias"), self.const(self.name("k"), shift.astype(np.float32)))
        low = -(self.plan.levels // 2) if self.plan.signed else 0
        high = low + self.plan.levels
        kind = self.rng.integers(0, 3)
        if kind == 2 and high <= 7 and low >= -8:
            scale, zero = self.number(2.0**-k), self.const(self.name("k"), np.int8(0))
            bounds = self.number(low * 2.0**-k), self.number(high * 2.0**-k)
            self.node("Clip", self.name("clip"), *bounds)
            self.node("QuantizeLinear", self.name("q"), scale, zero)
            self.node("DequantizeLinear", self.name("dq"), scale, zero)
        else:
            self.node("Mul", self.name("up"), self.number(2.0**k))
            self.node("Round" if kind else "Floor", self.name("round"))
            self.node("Clip", self.name("clip"), self.number(low), self.number(high))
            self.node("Mul", self.name("down"), self.number(2.0 ** int(self.rng.integers(-1, 1))))
        self.earlier.append((self.here, self.shape))

    def other(self) -> str | None:
        """An earlier quantized tensor of the shape that is here."""
        found = [name for name, shape in self.earlier if shape == self.shape and name != self.here]
        return str(self.rng.choice(found)) if found else None

    @property
    def spatial(self) -> bool:
        return len(self.shape) == 3

    @property
    def features(self) -> int:
        return int(np.prod(self.shape))


def build(plan: Plan) -> onnx.ModelProto:
    """Build a plan."""
    net = Growth((1, *plan.size))
    net.start(plan)
    net.conv("stem", net.rng.integers(-20, 21, (plan.channels, 1, 2, 2)) / 64.0, pads=[0, 0, 1, 1])
    net.activate(400.0)
    for step in plan.steps:
        globals()[f"_step_{step}"](net)
    if plan.ending == "levels" and net.here == net.earlier[-1][0]:
        return net.model(opset=19)
    if len(net.shape) != 1:
        net.flatten()
    weights = net.rng.integers(-7, 8, (3, net.shape[0])).astype(float)
    net.gemm("head", weights, net.rng.integers(-4, 5, 3) / 2.0)
    if plan.ending == "argmax":
        net.node("ArgMax", "end", axis=1, keepdims=0)
        model = net.model(opset=19)
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info(net.here, TensorProto.INT64, ["N"]))
        return model
    return net.model(opset=19)


def _conv(net: Growth, kernel: int = 2, groups: int = 1, outputs: int = 0, **options: object) -> None:
    if not net.spatial:
        return
    inputs = net.shape[0]
    if inputs % groups:
        return
    kernel = min(kernel, *net.shape[1:])
    span = (kernel - 1) * options.get("dilations", [1])[0] + 1  # type: ignore[index]
    if min(net.shape[1:]) < span:
        return
    outputs = outputs or int(net.rng.integers(1, 4)) * groups
    weights = net.weights(outputs, inputs // groups, kernel, kernel)
    bias = net.rng.integers(-4, 5, outputs) / 2.0 if net.rng.random() < 0.5 else None
    net.conv(net.name("conv"), weights, bias, group=groups, **options)


def _step_conv(net: Growth) -> None:
    if net.spatial:
        _conv(net, int(net.rng.integers(1, 4)), pads=net.rng.integers(0, 2, 4).tolist())
        net.activate(net.shape[0] * 6.0)


def _step_grouped(net: Growth) -> None:
    if net.spatial and net.shape[0] % 2 == 0:
        _conv(net, 2, 2)
        net.activate(6.0)


def _step_depthwise(net: Growth) -> None:
    if net.spatial:
        _conv(net, 3, net.shape[0], net.shape[0], pads=[1] * 4)
        net.activate(9.0)


def _step_strided(net: Growth) -> None:
    if net.spatial:
        _conv(net, 2, strides=[2, 1], pads=[1, 0, 0, 1])
        net.activate(net.shape[0] * 4.0)


def _step_dilated(net: Growth) -> None:
    if net.spatial:
        _conv(net, 2, dilations=[2, 2], pads=[1] * 4)
        net.activate(net.shape[0] * 4.0)


def _step_same(net: Growth) -> None:
    if not net.spatial:
        return
    outputs = int(net.rng.integers(1, 4))
    weights = net.const(net.name("w"), net.weights(outputs, net.shape[0], 3, 3).astype(np.float32))
    net.node("Conv", net.name("conv"), weights, auto_pad=str(net.rng.choice(["SAME_UPPER", "SAME_LOWER"])))
    net.shape = (outputs, *net.shape[1:])
    net.activate(net.shape[0] * 9.0)


def _pool(net: Growth, op: str, **options: object) -> bool:
    if not net.spatial or min(net.shape[1:]) < 2:
        return False
    net.node(op, net.name("pool"), kernel_shape=[2, 2], strides=[2, 2], **options)
    net.shape = (net.shape[0], *(n // 2 for n in net.shape[1:]))
    return True


def _step_maxpool(net: Growth) -> None:
    if _pool(net, "MaxPool"):
        net.earlier.append((net.here, net.shape))


def _step_latepool(net: Growth) -> None:
    """A pool between a convolution and its quantizer, falling or not."""
    if net.spatial and min(net.shape[1:]) >= 3:
        _conv(net, 2)
        if _pool(net, "MaxPool"):
            net.node(
                "Mul",
                net.name("turn"),
                net.const(net.name("k"), net.rng.choice(np.float32([1, -1, 0.5]), (net.shape[0], 1, 1))),
            )
        net.activate(8.0)


def _step_avgpool(net: Growth) -> None:
    if _pool(net, "AveragePool"):
        net.activate(1.0)


def _step_globalpool(net: Growth) -> None:
    if net.spatial and net.shape[1] * net.shape[2] in (1, 2, 4, 8, 16):
        op = str(net.rng.choice(["GlobalAveragePool", "GlobalMaxPool"]))
        net.node(op, net.name("pool"))
        net.shape = (net.shape[0], 1, 1)
        net.activate(1.0)


def _step_reduce(net: Growth) -> None:
    if not net.spatial:
        return
    op = str(net.rng.choice(["ReduceSum", "ReduceMax"]))
    net.node(op, net.name("reduce"), net.ints(3), keepdims=1)
    net.shape = (*net.shape[:2], 1)
    net.activate(4.0)


def _step_add(net: Growth) -> None:
    if other := net.other():
        net.node("Add", net.name("add"), other)
        net.activate(2.0)


def _step_sub(net: Growth) -> None:
    if other := net.other():
        net.node("Sub", net.name("sub"), other)
        net.activate(2.0)


def _step_openadd(net: Growth) -> None:
    """A residual sum without a quantizer: the next linear layer reads its operands."""
    if other := net.other():
        net.node("Add", net.name("open"), other)


def _step_enlarge(net: Growth) -> None:
    """Nearest neighbours; often added to an earlier tensor of that size."""
    if net.spatial and net.features < 60:
        scales = net.const(net.name("k"), np.array([1, 1, 2, 2], np.float32))
        asymmetric = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        net.node("Resize", net.name("grow"), "", scales, mode="nearest", **asymmetric)
        net.shape = (net.shape[0], 2 * net.shape[1], 2 * net.shape[2])
        _step_add(net)


def _step_blend(net: Growth) -> None:
    """Linear interpolation, of rows, columns or both."""
    if net.spatial and net.features < 60:
        factors = [(1, 2), (2, 1), (2, 2), (1, 4)][int(net.rng.integers(0, 4))]
        coordinates = ["half_pixel", "asymmetric", "pytorch_half_pixel"][int(net.rng.integers(0, 3))]
        scales = net.const(net.name("k"), np.array([1, 1, *factors], np.float32))
        net.node("Resize", net.name("blend"), "", scales, mode="linear", coordinate_transformation_mode=coordinates)
        net.shape = (net.shape[0], factors[0] * net.shape[1], factors[1] * net.shape[2])
        net.activate(1.0)


def _step_deconv(net: Growth) -> None:
    if net.spatial and net.features < 60:
        outputs = int(net.rng.integers(1, 4))
        weights = net.const(net.name("w"), net.weights(net.shape[0], outputs, 2, 3).astype(np.float32))
        net.node("ConvTranspose", net.name("deconv"), weights, strides=[2, 2], pads=[0, 0, 0, 1])
        net.shape = (outputs, 2 * net.shape[1], 2 * net.shape[2])
        net.activate(net.shape[0] * 3.0)


def _step_valley(net: Growth) -> None:
    """An activation that falls and rises, between sums and their quantizer."""
    if net.spatial:
        _conv(net, 2, pads=[0, 1, 1, 0])
        net.node("Sub", net.name("left"), net.number(float(net.rng.integers(-3, 4)) / 2))
        net.node("Abs", net.name("valley"))
        net.node("Sub", net.name("less"), net.number(float(net.rng.integers(0, 3))))
        net.activate(net.shape[0] * 2.0)


def _step_openavg(net: Growth) -> None:
    """An average without a quantizer."""
    _pool(net, "AveragePool")


def _step_three(net: Growth) -> None:
    if (one := net.other()) and (two := net.other()):
        net.node("Sum", net.name("sum"), one, two)
        net.activate(4.0)


def _step_sums(net: Growth) -> None:
    """A convolution's sums and levels, added before there is a quantizer."""
    if not net.spatial:
        return
    operand = net.here
    _conv(net, 1, outputs=net.shape[0])
    net.node("Add", net.name("add"), operand)
    net.activate(net.shape[0] * 2.0)


def _step_concat(net: Growth) -> None:
    found = [(name, shape) for name, shape in net.earlier if shape[1:] == net.shape[1:] and len(shape) == len(net.shape)]
    if found and net.features < 200:
        name, shape = found[int(net.rng.integers(0, len(found)))]
        net.node("Concat", net.name("cat"), name, axis=1)
        net.shape = (net.shape[0] + shape[0], *net.shape[1:])


def _step_shuffle(net: Growth) -> None:
    if net.spatial and net.shape[0] % 2 == 0:
        channels, rows, columns = net.shape
        net.node("Reshape", net.name("deal"), net.ints(0, 2, channels // 2, rows, columns))
        net.node("Transpose", net.name("swap"), perm=[0, 2, 1, 3, 4])
        net.node("Reshape", net.name("back"), net.ints(0, channels, rows, columns))


def _step_slice(net: Growth) -> None:
    if net.shape[0] > 1:
        net.node("Slice", net.name("cut"), net.ints(1), net.ints(1 << 20), net.ints(1))
        net.shape = (net.shape[0] - 1, *net.shape[1:])


def _step_crop(net: Growth) -> None:
    if net.spatial and net.shape[1] > 2:
        step = int(net.rng.integers(1, 3))
        net.node("Slice", net.name("crop"), net.ints(1), net.ints(1 << 20), net.ints(2), net.ints(step))
        net.shape = (net.shape[0], len(range(1, net.shape[1], step)), net.shape[2])


def _step_pad(net: Growth) -> None:
    if net.spatial and net.features < 200:
        net.node("Pad", net.name("pad"), net.ints(0, 0, 1, 0, 0, 0, 0, 1))
        net.shape = (net.shape[0], net.shape[1] + 1, net.shape[2] + 1)


def _step_padone(net: Growth) -> None:
    """A constant of any value around what a convolution reads."""
    if net.spatial and net.features < 200:
        net.node("Pad", net.name("pad"), net.ints(0, 0, 0, 1, 0, 0, 1, 0), net.number(1.0))
        net.shape = (net.shape[0], net.shape[1] + 1, net.shape[2] + 1)
        _step_conv(net)


def _step_split(net: Growth) -> None:
    if net.shape[0] > 1:
        name, first = net.name("split"), 1
        outputs = [f"{name}_a", f"{name}_b"]
        net.nodes.append(
            helper.make_node("Split", [net.here, net.ints(first, net.shape[0] - first)], outputs, axis=1, name=name)
        )
        shapes = (first, *net.shape[1:]), (net.shape[0] - first, *net.shape[1:])
        pick = int(net.rng.integers(0, 2))
        net.earlier.append((outputs[1 - pick], shapes[1 - pick]))
        net.here, net.shape = outputs[pick], shapes[pick]


def _step_transpose(net: Growth) -> None:
    """Rows and columns change places: what a matrix reads, or a small convolution, weight by weight."""
    if net.spatial and net.features < 60:
        net.node("Transpose", net.name("turn"), perm=[0, 1, 3, 2])
        net.shape = (net.shape[0], net.shape[2], net.shape[1])
        if net.rng.random() < 0.5:
            _step_conv(net)
        _step_gemm(net)


def _step_tokens(net: Growth) -> None:
    """A matrix on every position, the channels last."""
    if not net.spatial:
        return
    channels, rows, columns = net.shape
    net.node("Reshape", net.name("flat"), net.ints(0, channels, rows * columns))
    net.node("Transpose", net.name("last"), perm=[0, 2, 1])
    outputs = int(net.rng.integers(1, 4))
    net.node("MatMul", net.name("mix"), net.const(net.name("w"), net.weights(channels, outputs).astype(np.float32)))
    net.shape = (rows * columns, outputs)
    net.activate(channels * 2.0)
    net.node("Transpose", net.name("first"), perm=[0, 2, 1])
    net.node("Reshape", net.name("map"), net.ints(0, outputs, rows, columns))
    net.shape = (outputs, rows, columns)
    net.earlier[-1] = (net.here, net.shape)


def _step_gemm(net: Growth) -> None:
    if len(net.shape) != 1:
        net.flatten()
    net.gemm(net.name("fc"), net.weights(int(net.rng.integers(2, 6)), net.shape[0]))
    net.activate(float(net.features * 4))


def _step_matmul(net: Growth) -> None:
    if len(net.shape) != 1:
        net.flatten()
    outputs = int(net.rng.integers(2, 6))
    net.node("MatMul", net.name("fc"), net.const(net.name("w"), net.weights(net.shape[0], outputs).astype(np.float32)))
    net.shape = (outputs,)
    net.activate(float(outputs * 4))


def _step_requantize(net: Growth) -> None:
    """A second quantizer on levels, by channel or not."""
    shape = (net.shape[0], *[1] * (len(net.shape) - 1)) if net.rng.random() < 0.5 else ()
    factor = net.rng.choice(np.float32([0.5, 0.75, 1.0]), shape)
    net.node("Mul", net.name("again"), net.const(net.name("k"), np.asarray(factor, np.float32)))
    net.activate(1.0)


def _step_qdq(net: Growth) -> None:
    """The same quantizer twice: what exporters write around every operator."""
    scale, zero = net.number(0.5), net.const(net.name("k"), np.int8(0))
    net.node("QuantizeLinear", net.name("q"), scale, zero)
    net.node("DequantizeLinear", net.name("dq"), scale, zero)
    net.earlier.append((net.here, net.shape))


def _step_neg(net: Growth) -> None:
    net.node("Neg", net.name("neg"))
    net.activate(1.0)


def _step_falling(net: Growth) -> None:
    """A batch norm by powers of two, some of them negative or zero."""
    if not net.spatial:
        return
    _conv(net, 2)
    gamma = net.rng.choice([1.0, 0.5, -1.0, -0.5, 0.0], net.shape[0], p=[0.4, 0.2, 0.2, 0.1, 0.1])
    mean = net.rng.integers(-2, 3, net.shape[0]).astype(float)
    net.batch_norm(net.name("bn"), gamma, np.full(net.shape[0], 1.0), mean, np.full(net.shape[0], 1.0 - 1e-5))
    net.activate(net.shape[0] * 3.0)


def _step_flatten(net: Growth) -> None:
    if len(net.shape) != 1:
        net.flatten()


def _step_moved(net: Growth) -> None:
    """A quantizer by feature behind a flatten."""
    if not net.spatial or net.features > 40:
        return
    _conv(net, 2)
    net.flatten()
    net.node("Mul", net.name("scale"), net.const(net.name("k"), net.rng.choice(np.float32([0.5, 1.0]), net.shape[0])))
    net.activate(4.0)
