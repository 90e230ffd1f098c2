"""List the supported operators, one row each: which forms are allowed, and the properties that the passes use.

To support another elementwise operator, add a row here with an interval rule from `numerics`, and a row in
`chipsim.monotone` if it is monotone. Constants that broadcast as in numpy need nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.onnx_repair import FAKE_QUANTIZERS, MCT, QONNX_CHANNELS_LAST, TENSORFLOW
from qsnnc.frontend.numerics import activations, intervals
from qsnnc.frontend.numerics.intervals import Rule, rising

#: heading of each role, in the order of the table
ROLES = {
    "weighted": "Linear: synapses on the chip",
    "join": "Additions of branches: synapses of one neuron",
    "pool": "Pools and sums over positions",
    "move": "Data movement: reorders synapses, needs no neurons",
    "elementwise": "Elementwise: part of a threshold",
    "decomposed": "Integer, com.microsoft, QONNX, TensorFlow and MCT operators: rewritten as those above",
    "control": "Control flow: replaced by the nodes of its subgraphs, before anything else",
    "host": "Computed on the host, after the last weights",
    "refused": "Refused, with advice",
}
#: operators of mode linear, which compute sums; of mode nearest they only move values
LINEAR = ("Resize (linear)", "Upsample (linear)")
QONNX = "qonnx.custom_op.general"
MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Operator:
    """Properties of one operator that the passes use."""

    name: str
    bounds: Rule | None = None  # interval rule; without one, thresholds that depend on it are not certified
    constant_axis: int | str | None = None  # axis of a vector of constants, or the attribute that gives it; None: broadcasts
    rearranges: bool = False  # the output holds every input value once, unchanged
    largest: bool = False  # of a pool: takes the maximum; others sum
    signs: tuple[int, ...] = ()  # of the inputs of an addition; () if all are added
    index_type: str = "int64"  # dtype in which the reference can move element indices
    interpolates: bool = False  # in modes other than nearest
    shape_input: int | None = None  # position of the input that gives the output's shape


@dataclass(frozen=True, slots=True)
class Group:
    """Operators of one kind, with the allowed forms and notes as printed in docs/onnx.md."""

    role: str
    operators: tuple[Operator, ...]
    allowed: str
    notes: str = ""
    domain: str = ""

    @property
    def names(self) -> list[str]:
        """Names of the operators."""
        return [operator.name for operator in self.operators]


def _named(names: str) -> tuple[Operator, ...]:
    """Return rows with no properties other than a name."""
    return tuple(map(Operator, names.split()))


TABLE = (
    Group(
        "weighted",
        _named("Conv"),
        "1-D and 2-D; any stride, padding, auto_pad, dilation, groups, depthwise; constant weights that are "
        "integers of 1 to 9 bits times one scale, per tensor or per channel; any constant bias",
        "the bit width is found from the values: ternary weights stored as 8 bits take 2",
    ),
    Group(
        "weighted",
        _named("ConvTranspose"),
        "1-D and 2-D; any stride, pads, auto_pad, output_shape, output_padding, dilation, groups",
        "one channel per phase of the stride",
    ),
    Group(
        "weighted",
        _named("Gemm"),
        "data on the left, batch first; transB 0 or 1, alpha, beta, bias",
        "transA is refused because it sums over the batch",
    ),
    Group(
        "weighted",
        _named("MatMul"),
        "constant matrices, on the right, or on the left of a batched tensor; one matrix for all leading axes, or one each",
        "works on tokens without a Flatten; a product of two activations is refused",
    ),
    Group(
        "join",
        (
            Operator("Add", intervals.total),
            Operator("Sub", intervals.difference, signs=(1, -1)),
            Operator("Sum", intervals.total),
        ),
        "any number of operands of one shape: levels, or unquantized sums of a linear operator",
        "different scales are exact if each ratio is n / m with n, m <= 64; otherwise refused",
    ),
    Group(
        "pool",
        tuple(Operator(name, largest=True) for name in ("MaxPool", "GlobalMaxPool", "ReduceMax")),
        "any window, stride, padding, dilation, ceil_mode",
        "also before the quantizer, and before a decreasing activation",
    ),
    Group(
        "pool",
        _named("AveragePool GlobalAveragePool ReduceMean ReduceSum"),
        "any window, padding, count_include_pad, ceil_mode; any axes but the batch",
        "one class of thresholds per divisor; exact if all divisors are powers of two; directly behind a convolution, "
        "without a quantizer: one wider kernel, if it has no padding",
    ),
    Group(
        "pool",
        tuple(map(Operator, LINEAR)),
        "rows and columns of (N, C, H, W) by 2, 4 or 8; coordinates half_pixel, pytorch_half_pixel or asymmetric",
        "one channel per phase; other scales, align_corners (float32 rounds its weights) and antialias are refused",
    ),
    Group(
        "move",
        (
            Operator("Flatten", intervals.unchanged, rearranges=True, index_type="float64"),  # float only before opset 9
            Operator("Reshape", intervals.unchanged, rearranges=True),
            Operator("Squeeze", intervals.unchanged, rearranges=True),
            Operator("Unsqueeze", intervals.unchanged, rearranges=True),
            Operator("Transpose", intervals.unchanged, rearranges=True),  # if the columns keep their order
            Operator("Expand", shape_input=1),
            *_named("Tile Slice Split Gather"),
            Operator("DepthToSpace", index_type="float64"),
            Operator("SpaceToDepth", index_type="float64"),
        ),
        "constant shapes and indices; the batch stays axis 0, but for rows that join it for a linear layer",
        "a window on a tensor whose rows and columns were reordered becomes a matrix of up to 8 million weights",
    ),
    Group(
        "move",
        (
            Operator("Resize", index_type="int32", interpolates=True, shape_input=3),
            Operator("Upsample", index_type="int32", interpolates=True),
        ),
        "nearest, by constant factors",
        "the operator that reads it has one channel per phase; mode cubic is refused",
    ),
    Group(
        "move",
        _named("Concat"),
        "any axis but the batch; levels of different scales, constants, sums before one quantizer",
    ),
    Group(
        "move", _named("Pad"), "constant with any value, reflect, edge, wrap", "values other than zero add border classes"
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
        "every integer type (2 to 16 bits), opset 10 to 28; for an activation one scale, or a per-channel scale if "
        "channels are read separately; any for weights",
        "int32 biases; block_size for constants only",
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
        "before a quantizer; a nonmonotonic chain, such as SiLU with levels below zero, directly after weights or levels",
        "evaluated numerically, not pattern-matched; a nonmonotonic one needs a neuron with negated synapses per step down",
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
            Operator("Less", intervals.compared(strict=True, swapped=True)),
            Operator("LessOrEqual", intervals.compared(strict=False, swapped=True)),
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
        "a sum of comparisons is also a quantizer",
    ),
    Group(
        "decomposed",
        _named("QLinearConv QLinearMatMul ConvInteger MatMulInteger"),
        "constant scales and zero points",
        "integer sums are exact whatever their size",
    ),
    Group(
        "decomposed",
        _named("QuantizeLinear DequantizeLinear"),
        "as the standard operators",
        "4-bit types in older opsets",
        MICROSOFT,
    ),
    Group(
        "decomposed",
        _named("QGemm"),
        "transB, alpha; quantized or float result",
        "an output scale alone divides a float result, a zero point alone rounds at scale 1, as in onnxruntime",
        MICROSOFT,
    ),
    Group("decomposed", _named("QLinearAdd QLinearConcat"), "constant scales", "ratios of scales as for Add", MICROSOFT),
    Group("decomposed", _named("QLinearConv"), "channels_last", "as the standard operator", MICROSOFT),
    Group(
        "decomposed",
        _named("QLinearAveragePool QLinearGlobalAveragePool NhwcMaxPool"),
        "channels first or last (channels_last)",
        "as onnxruntime's layout optimisation writes them",
        MICROSOFT,
    ),
    Group(
        "decomposed",
        _named("QLinearMul"),
        "one constant operand, or both computed from the same sums, as x * sigmoid(x)",
        "",
        MICROSOFT,
    ),
    Group("decomposed", _named("QLinearLeakyRelu QLinearSigmoid"), "constant scales", "", MICROSOFT),
    Group("decomposed", _named("Gelu BiasGelu QuickGelu"), "as Gelu and SiLU", "of onnxruntime's optimisation", MICROSOFT),
    Group(
        "decomposed",
        _named("FusedConv FusedGemm FusedMatMul"),
        "Relu, Clip, LeakyRelu, Sigmoid, Tanh, HardSigmoid",
        "",
        MICROSOFT,
    ),
    Group(
        "decomposed",
        _named("Quant IntQuant BipolarQuant Trunc"),
        "every rounding mode, signed or not, narrow or not; opset 11 and newer",
        "domains onnx.brevitas and finn.custom_op.general as well",
        QONNX,
    ),
    Group("decomposed", _named("MultiThreshold"), "data_layout NC, NCW, NCHW, NWC, NHWC", "defined by FINN", QONNX),
    Group(
        "decomposed",
        _named("Conv MaxPool BatchNormalization"),
        "as the standard operators",
        "written by qonnx's ConvertToChannelsLast",
        QONNX_CHANNELS_LAST,
    ),
    Group(
        "decomposed",
        _named(" ".join(sorted(FAKE_QUANTIZERS))),
        "constant ranges; 2 to 16 bits, narrow_range or not",
        "written by tf2onnx, also in the standard's domain, for any number of bits but 8",
        TENSORFLOW,
    ),
    Group(
        "decomposed",
        _named("ActivationPOTQuantizer ActivationSymmetricQuantizer ActivationUniformQuantizer"),
        "1 to 16 bits, signed or not",
        "of Sony's Model Compression Toolkit (MCTQ)",
        MCT,
    ),
    Group(
        "decomposed",
        _named(
            "WeightsPOTQuantizer WeightsSymmetricQuantizer WeightsUniformQuantizer WeightsLUTPOTQuantizer "
            "WeightsLUTSymmetricQuantizer"
        ),
        "constant weights, per tensor or per channel",
        "quantized when the file is read",
        MCT,
    ),
    Group(
        "control",
        _named("If"),
        "a condition that is the same for every image: it follows from constants, and from shapes but for the batch",
        "the nodes of the branch that is taken",
    ),
    Group(
        "control",
        _named("Loop Scan"),
        "a number of iterations, and conditions, that are the same for every image; up to 16,384 nodes",
        "unrolled; Scan of opset 9 and newer, along any axis but the batch",
    ),
    Group(
        "host",
        _named("ArgMax ArgMin Softmax LogSoftmax TopK"),
        "after the last weights; any other operator as well",
        "onnxruntime runs them on the scores",
    ),
    Group("host", _named("QLinearSoftmax"), "after the last weights", "unchanged", MICROSOFT),
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
        "its weights have one scale per block",
        "quantize them per tensor or per output channel",
        MICROSOFT,
    ),
)
