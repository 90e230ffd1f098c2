"""The operators that are supported, as data: one row each, from which the frontend's sets and docs/onnx.md are made."""

from __future__ import annotations

from dataclasses import dataclass

#: what a role means, in the order of the table
ROLES = {
    "weighted": "Linear: synapses on the chip",
    "join": "Branches that meet: their synapses meet in one neuron",
    "pool": "Pools and sums over positions",
    "move": "Values that only move: an order of synapses, no neuron",
    "elementwise": "Elementwise: part of a threshold",
    "spelled": "Integer, com.microsoft's and QONNX's: rewritten into those above",
    "host": "Read on the host, after the last weights",
    "refused": "Refused, with what to do",
}


@dataclass(frozen=True, slots=True)
class Operator:
    """One row: operators of one kind, what is allowed, and what becomes of them."""

    names: str  # of operators, apart by blanks
    role: str
    forms: str
    notes: str = ""
    domain: str = ""


QONNX = "qonnx.custom_op.general"
MICROSOFT = "com.microsoft"

TABLE = (
    Operator(
        "Conv",
        "weighted",
        "1-D and 2-D; any stride, padding, auto_pad, dilation, groups, depthwise; constant weights on a grid "
        "of 1 to 9 bits, "
        "per tensor or per channel; any constant bias",
        "ternary and narrower weights are found by value, wider ones narrowed",
    ),
    Operator(
        "ConvTranspose",
        "weighted",
        "1-D and 2-D; any stride, pads, output_padding, dilation, groups",
        "a channel for each phase of the stride; auto_pad and output_shape are refused",
    ),
    Operator(
        "Gemm",
        "weighted",
        "data on the left, batch first; transB 0 or 1, alpha, beta, bias",
        "transA sums over the batch and is refused",
    ),
    Operator(
        "MatMul",
        "weighted",
        "constant matrices, on the right, or on the left of a batched tensor; leading axes are positions, or have one each",
        "tokens need no flatten; a product of two activations is refused",
    ),
    Operator(
        "Add Sub Sum",
        "join",
        "any number of arms of one shape: levels, or sums straight from their weights",
        "different scales are exact where each ratio is n / m with n, m <= 64; otherwise refused",
    ),
    Operator(
        "MaxPool GlobalMaxPool ReduceMax",
        "pool",
        "any window, stride, padding, dilation, ceil_mode",
        "also before the quantizer, also where a falling activation follows",
    ),
    Operator(
        "AveragePool GlobalAveragePool ReduceMean ReduceSum",
        "pool",
        "any window, padding, count_include_pad, ceil_mode; any axes but the batch",
        "a class of thresholds for each divisor; exact where all divisors are powers of two",
    ),
    Operator(
        "Flatten Reshape Squeeze Unsqueeze Transpose Expand Tile Slice Split Gather DepthToSpace SpaceToDepth",
        "move",
        "constant shapes and indices; the batch stays axis 0",
        "a window on a tensor whose rows and columns were reordered is written out weight by weight, up to 8 million",
    ),
    Operator(
        "Resize Upsample",
        "move",
        "nearest, by constant factors",
        "what reads it has a channel for each phase; other modes mix neighbours and are refused",
    ),
    Operator(
        "Concat", "move", "any axis but the batch; levels of different scales, constants, sums before one quantizer", ""
    ),
    Operator(
        "Pad", "move", "constant with any value, reflect, edge, wrap", "a value that is not nought gives border classes"
    ),
    Operator("Identity Dropout", "elementwise", "any", ""),
    Operator(
        "QuantizeLinear DequantizeLinear",
        "elementwise",
        "every integer type (2 to 16 bits), opset 10 to 28; one scale for an activation, or one a channel where "
        "channels are read apart, any for weights",
        "int32 biases; block_size is refused",
    ),
    Operator(
        "BatchNormalization", "elementwise", "folded or not; negative and zero gammas", "a falling one negates weights"
    ),
    Operator(
        "Abs Ceil Celu Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg PRelu Pow "
        "Reciprocal Relu Round "
        "Selu Shrink Sigmoid Sign Softplus Softsign Sqrt Swish Tanh ThresholdedRelu",
        "elementwise",
        "before a quantizer; behind weights or levels also a chain that rises and falls, as SiLU with levels below zero",
        "evaluated, never parsed: any spelling will do; each step down is a neuron whose synapses are negated",
    ),
    Operator(
        "And Cast CastLike Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Not Or Where Xor",
        "elementwise",
        "with constants, by tensor, channel, position or feature",
        "sums of comparisons are quantizers as well",
    ),
    Operator(
        "QLinearConv QLinearMatMul ConvInteger MatMulInteger",
        "spelled",
        "constant scales and zero points",
        "sums of integers are exact whatever their size",
    ),
    Operator("QuantizeLinear DequantizeLinear", "spelled", "as the standard's", "4-bit types in older opsets", MICROSOFT),
    Operator("QGemm", "spelled", "transB, alpha; quantized or float result", "", MICROSOFT),
    Operator("QLinearAdd QLinearConcat", "spelled", "constant scales", "scales of the arms as for Add", MICROSOFT),
    Operator("QLinearAveragePool QLinearGlobalAveragePool", "spelled", "channels first", "", MICROSOFT),
    Operator(
        "QLinearMul", "spelled", "one of the two a constant, or both made of the same sums, as x * sigmoid(x)", "", MICROSOFT
    ),
    Operator("QLinearLeakyRelu QLinearSigmoid", "spelled", "constant scales", "", MICROSOFT),
    Operator(
        "FusedConv FusedGemm FusedMatMul", "spelled", "Relu, Clip, LeakyRelu, Sigmoid, Tanh, HardSigmoid", "", MICROSOFT
    ),
    Operator(
        "Quant IntQuant BipolarQuant Trunc",
        "spelled",
        "every rounding mode, signed or not, narrow or not; opset 11 and newer",
        "domains onnx.brevitas and finn.custom_op.general as well",
        QONNX,
    ),
    Operator("MultiThreshold", "spelled", "data_layout NC, NCW, NCHW, NWC, NHWC", "FINN's", QONNX),
    Operator(
        "ArgMax ArgMin Softmax LogSoftmax TopK and any other",
        "host",
        "after the last weights",
        "onnxruntime runs them on the scores",
    ),
    Operator("QLinearSoftmax", "host", "after the last weights", "as it is", MICROSOFT),
    Operator("DynamicQuantizeLinear", "refused", "scales that depend on the data", "quantize statically, with calibration"),
    Operator(
        "DynamicQuantizeMatMul DynamicQuantizeLSTM MatMulIntegerToFloat",
        "refused",
        "scales that depend on the data",
        "quantize statically, with calibration",
        MICROSOFT,
    ),
    Operator(
        "MatMulNBits MatMulBnb4", "refused", "one scale a block", "quantize per tensor or per output channel", MICROSOFT
    ),
    Operator("If Loop Scan", "refused", "sub-graphs", "export a plain graph"),
)


def _of(*roles: str) -> frozenset[str]:
    return frozenset(name for row in TABLE if row.role in roles and not row.domain for name in row.names.split())


WEIGHTED = _of("weighted")
JOINS = _of("join")
POOLS = _of("pool")
RELABEL = _of("move")
#: passed over until something reads their result; a join is elementwise where it joins nothing
ELEMENTWISE = _of("elementwise", "join")


def markdown() -> str:
    """The table, a section a role."""
    lines: list[str] = []
    for role, title in ROLES.items():
        lines += [f"### {title}", "", "| operators | allowed | notes |", "| --- | --- | --- |"]
        for row in TABLE:
            if row.role == role:
                names = row.names if role == "host" else ", ".join(row.names.split())
                lines.append(f"| {f'{row.domain}: ' if row.domain else ''}{names} | {row.forms} | {row.notes} |")
        lines.append("")
    return "\n".join(lines)
