"""The supported operators, one row each: what is allowed of them, and what the compiler's passes need to know of them.

To support another elementwise operator, give it a row here, with an interval rule of `numerics`, and a row in
`chipsim.monotone` if it only rises or only falls. Constants need nothing else where they broadcast as numpy's do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsnnc.frontend.numerics import activations, intervals
from qsnnc.frontend.numerics.intervals import Rule, rising

#: what a role means, in the order of the table
ROLES = {
    "weighted": "Linear: synapses on the chip",
    "join": "Sums of branches: their synapses meet in one neuron",
    "pool": "Pools and sums over positions",
    "move": "Values that only move: an order of synapses, no neuron",
    "elementwise": "Elementwise: part of a threshold",
    "spelled": "Integer operators, com.microsoft's and QONNX's: rewritten into those above",
    "host": "Computed on the host, after the last weights",
    "refused": "Refused, with what to do",
}
QONNX = "qonnx.custom_op.general"
MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Operator:
    """What the passes need to know of one operator."""

    name: str
    bounds: Rule | None = None  # its interval rule; without one no threshold behind it is certified
    constant_axis: int | str | None = (
        None  # of a constant vector: the axis, or the attribute that says it; else it broadcasts
    )
    rearranges: bool = False  # every value stays as it is and stands in the result once
    largest: bool = False  # of a pool: takes the largest value, where others add up
    signs: tuple[int, ...] = ()  # of a join's inputs; () where all are added
    index_type: str = "int64"  # in which the reference can move numbers
    interpolates: bool = False  # in modes other than nearest
    shape_input: int | None = None  # position of the input that is the result's shape


@dataclass(frozen=True, slots=True)
class Group:
    """Operators of one kind: what is allowed of them, and notes, as docs/onnx.md prints them."""

    role: str
    operators: tuple[Operator, ...]
    allowed: str
    notes: str = ""
    domain: str = ""

    @property
    def names(self) -> list[str]:
        """Of the operators."""
        return [operator.name for operator in self.operators]


def _named(names: str) -> tuple[Operator, ...]:
    """Operators of which nothing else is to be known."""
    return tuple(map(Operator, names.split()))


TABLE = (
    Group(
        "weighted",
        _named("Conv"),
        "1-D and 2-D; any stride, padding, auto_pad, dilation, groups, depthwise; constant weights on a grid of 1 to 9 "
        "bits, per tensor or per channel; any constant bias",
        "ternary and narrower weights are found by value, wider ones narrowed",
    ),
    Group(
        "weighted",
        _named("ConvTranspose"),
        "1-D and 2-D; any stride, pads, output_padding, dilation, groups",
        "a channel for each phase of the stride; auto_pad and output_shape are refused",
    ),
    Group(
        "weighted",
        _named("Gemm"),
        "data on the left, batch first; transB 0 or 1, alpha, beta, bias",
        "transA sums over the batch and is refused",
    ),
    Group(
        "weighted",
        _named("MatMul"),
        "constant matrices, on the right, or on the left of a batched tensor; one matrix for all leading axes, or one each",
        "tokens need no flatten; a product of two activations is refused",
    ),
    Group(
        "join",
        (
            Operator("Add", intervals.total),
            Operator("Sub", intervals.difference, signs=(1, -1)),
            Operator("Sum", intervals.total),
        ),
        "any number of operands of one shape: levels, or sums straight from their weights",
        "different scales are exact where each ratio is n / m with n, m <= 64; otherwise refused",
    ),
    Group(
        "pool",
        tuple(Operator(name, largest=True) for name in ("MaxPool", "GlobalMaxPool", "ReduceMax")),
        "any window, stride, padding, dilation, ceil_mode",
        "also before the quantizer, also where a falling activation follows",
    ),
    Group(
        "pool",
        _named("AveragePool GlobalAveragePool ReduceMean ReduceSum"),
        "any window, padding, count_include_pad, ceil_mode; any axes but the batch",
        "a class of thresholds for each divisor; exact where all divisors are powers of two",
    ),
    Group(
        "move",
        (
            Operator("Flatten", intervals.unchanged, rearranges=True, index_type="float64"),  # so before opset 9
            Operator("Reshape", intervals.unchanged, rearranges=True),
            Operator("Squeeze", intervals.unchanged, rearranges=True),
            Operator("Unsqueeze", intervals.unchanged, rearranges=True),
            Operator("Transpose", intervals.unchanged, rearranges=True),  # where the columns keep their order
            Operator("Expand", shape_input=1),
            *_named("Tile Slice Split Gather"),
            Operator("DepthToSpace", index_type="float64"),
            Operator("SpaceToDepth", index_type="float64"),
        ),
        "constant shapes and indices; the batch stays axis 0",
        "a window on a tensor whose rows and columns were reordered is written out weight by weight, up to 8 million",
    ),
    Group(
        "move",
        (
            Operator("Resize", index_type="int32", interpolates=True, shape_input=3),
            Operator("Upsample", index_type="int32", interpolates=True),
        ),
        "nearest, by constant factors",
        "what reads it has a channel for each phase; other modes mix neighbours and are refused",
    ),
    Group(
        "move",
        _named("Concat"),
        "any axis but the batch; levels of different scales, constants, sums before one quantizer",
    ),
    Group(
        "move", _named("Pad"), "constant with any value, reflect, edge, wrap", "a value other than zero gives border classes"
    ),
    Group(
        "elementwise",
        tuple(Operator(name, intervals.unchanged, rearranges=True) for name in ("Identity", "Dropout")),
        "any",
    ),
    Group(
        "elementwise",
        (
            Operator("QuantizeLinear", intervals.quantize, constant_axis="axis"),
            Operator("DequantizeLinear", intervals.dequantize, constant_axis="axis"),
        ),
        "every integer type (2 to 16 bits), opset 10 to 28; for an activation one scale, or one per channel where channels "
        "are read separately; any for weights",
        "int32 biases; block_size is refused",
    ),
    Group(
        "elementwise",
        (Operator("BatchNormalization", intervals.batch_norm, constant_axis=1),),
        "folded or not; negative and zero gammas",
        "a negative gamma negates the weights",
    ),
    Group(
        "elementwise",
        (
            Operator("Abs", intervals.absolute),
            Operator("Ceil", rising(np.ceil)),
            Operator("Celu", activations.celu),
            Operator("Clip", intervals.clip),
            Operator("Elu", activations.elu),
            Operator("Erf", activations.erf),
            Operator("Exp", activations.smooth(np.exp)),
            Operator("Floor", rising(np.floor)),
            Operator("Gelu", activations.gelu),
            Operator("HardSigmoid", activations.hard_sigmoid),
            Operator("HardSwish", activations.hard_swish),
            Operator("LeakyRelu", activations.leaky),
            Operator("Log", activations.logarithm),
            Operator("Mish", activations.mish),
            Operator("Neg", intervals.negative),
            Operator("PRelu", activations.leaky),
            Operator("Pow"),
            Operator("Reciprocal", intervals.reciprocal),
            Operator("Relu", rising(lambda x: np.maximum(x, 0.0))),
            Operator("Round", rising(np.round)),
            Operator("Selu", activations.selu),
            Operator("Shrink", activations.shrink),
            Operator("Sigmoid", activations.sigmoid),
            Operator("Sign", rising(np.sign)),
            Operator("Softplus", activations.softplus),
            Operator("Softsign", activations.softsign),
            Operator("Sqrt", activations.smooth(np.sqrt, lowest=0.0)),
            Operator("Swish", activations.swish),
            Operator("Tanh", activations.smooth(np.tanh)),
            Operator("ThresholdedRelu", activations.thresholded),
        ),
        "before a quantizer; a chain that rises and falls, as SiLU with levels below zero, also behind weights or levels",
        "evaluated numerically, not pattern-matched; for each step down a neuron with negated synapses",
    ),
    Group(
        "elementwise",
        (
            Operator("And", intervals.smallest),
            Operator("Cast", intervals.cast),
            Operator("CastLike", intervals.cast),
            Operator("Div", intervals.quotient),
            Operator("Equal", intervals.equal),
            Operator("Greater", intervals.compared(strict=True)),
            Operator("GreaterOrEqual", intervals.compared(strict=False)),
            Operator("Less", intervals.compared(strict=True, turned=True)),
            Operator("LessOrEqual", intervals.compared(strict=False, turned=True)),
            Operator("Max", intervals.largest),
            Operator("Mean", intervals.mean),
            Operator("Min", intervals.smallest),
            Operator("Mod"),
            Operator("Mul", intervals.product),
            Operator("Not", intervals.negation),
            Operator("Or", intervals.largest),
            Operator("Where", intervals.where),
            Operator("Xor", intervals.exclusive_or),
        ),
        "with constants per tensor, channel, position or feature",
        "sums of comparisons are quantizers as well",
    ),
    Group(
        "spelled",
        _named("QLinearConv QLinearMatMul ConvInteger MatMulInteger"),
        "constant scales and zero points",
        "sums of integers are exact whatever their size",
    ),
    Group(
        "spelled", _named("QuantizeLinear DequantizeLinear"), "as the standard's", "4-bit types in older opsets", MICROSOFT
    ),
    Group("spelled", _named("QGemm"), "transB, alpha; quantized or float result", "", MICROSOFT),
    Group("spelled", _named("QLinearAdd QLinearConcat"), "constant scales", "scales of the operands as for Add", MICROSOFT),
    Group("spelled", _named("QLinearAveragePool QLinearGlobalAveragePool"), "channels first", "", MICROSOFT),
    Group(
        "spelled",
        _named("QLinearMul"),
        "one of the two a constant, or both made of the same sums, as x * sigmoid(x)",
        "",
        MICROSOFT,
    ),
    Group("spelled", _named("QLinearLeakyRelu QLinearSigmoid"), "constant scales", "", MICROSOFT),
    Group(
        "spelled",
        _named("FusedConv FusedGemm FusedMatMul"),
        "Relu, Clip, LeakyRelu, Sigmoid, Tanh, HardSigmoid",
        "",
        MICROSOFT,
    ),
    Group(
        "spelled",
        _named("Quant IntQuant BipolarQuant Trunc"),
        "every rounding mode, signed or not, narrow or not; opset 11 and newer",
        "domains onnx.brevitas and finn.custom_op.general as well",
        QONNX,
    ),
    Group("spelled", _named("MultiThreshold"), "data_layout NC, NCW, NCHW, NWC, NHWC", "FINN's", QONNX),
    Group(
        "host",
        _named("ArgMax ArgMin Softmax LogSoftmax TopK"),
        "after the last weights; any other operator as well",
        "onnxruntime runs them on the scores",
    ),
    Group("host", _named("QLinearSoftmax"), "after the last weights", "as it is", MICROSOFT),
    Group(
        "refused",
        _named("DynamicQuantizeLinear"),
        "its scale depends on the data",
        "quantize statically, with calibration",
    ),
    Group(
        "refused",
        _named("DynamicQuantizeMatMul DynamicQuantizeLSTM MatMulIntegerToFloat"),
        "its scale depends on the data",
        "quantize statically, with calibration",
        MICROSOFT,
    ),
    Group(
        "refused",
        _named("MatMulNBits MatMulBnb4"),
        "its weights have one scale a block",
        "quantize them per tensor or per output channel",
        MICROSOFT,
    ),
    Group("refused", _named("If Loop Scan"), "sub-graphs", "export a plain graph"),
)
