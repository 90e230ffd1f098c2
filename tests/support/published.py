"""Small networks in forms that published files and exporters use, each with its input and the right output.

A right output is that of onnxruntime without optimisation, or of qonnx for its operators, computed by hand where it is written
out here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

IMAGES = np.array([[1.0, 2.0, 3.0, 0.0], [0.25, 0.5, 3.75, 1.5]], np.float32)

#: levels 0 to 15 in steps of 0.25, as quantizers of 8 bits with a Clip write them
LEVELS = """
    q = {domain}QuantizeLinear(x, step, zero)
    d = {domain}DequantizeLinear(q, step, zero)
    a = {domain}Clip(d, lowest, highest)
"""
CONSTANTS = "float step = {0.25}, uint8 zero = {0}, float lowest = {0}, float highest = {3.75}"
WEIGHTS = "float[4,3] w = {1, -2, 3, 0, 1, -1, 2, 2, -3, -1, 0, 1}"
SECOND = "float[3,3] v = {1, 0, -1, 2, 1, 0, -1, 1, 1}"
QUANT = 'Quant<signed: int = 0, narrow: int = 0, rounding_mode: string = "ROUND">'


@dataclass(frozen=True)
class Case:
    """A network, images of its own dtype, and what it computes for them."""

    make: Callable[[], onnx.ModelProto]
    right: list[list[float]]
    images: np.ndarray = field(default_factory=lambda: IMAGES)


def network(body: str, constants: str, opset: str = '"" : 13', batch: str = "N", outputs: int = 3) -> onnx.ModelProto:
    """Parse a network of four inputs; its nodes are named after their outputs."""
    text = f"""<ir_version: 8, opset_import: [{opset}]>
    g (float[{batch}, 4] x) => (float[{batch}, {outputs}] y) <{constants}> {{{body}}}"""
    model = parser.parse_model(text)
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def plain(end: str, constants: str, domain: str = "", **options: str) -> onnx.ModelProto:
    """Levels, then a readout."""
    return network(LEVELS.format(domain=domain) + end, f"{CONSTANTS}, {constants}", **options)


def qonnx(
    opset: str = '"" : 13', zero: str = "float zero = {0}", width: str = "float", scale: str = "float"
) -> onnx.ModelProto:
    """Two Quant layers of four bits."""
    domain = "qonnx.custom_op.general."
    body = f"""
    a = {domain}{QUANT}(x, step, zero, bits)
    s = MatMul(a, w)
    r = Relu(s)
    b = {domain}{QUANT}(r, second, zero, bits)
    y = MatMul(b, v)
    """
    numbers = f"{scale} step = {{0.25}}, {scale} second = {{0.5}}, {zero}, {width} bits = {{4}}"
    return network(body, f"{numbers}, {WEIGHTS}, {SECOND}", opset)


def sparse(*, initializer: bool) -> onnx.ModelProto:
    """Weights that are stored as a sparse tensor, in a Constant or as an initial value."""
    dense = np.array([[1, -2, 3], [0, 1, -1], [2, 2, -3], [-1, 0, 1]], np.float32)
    where = np.flatnonzero(dense) if initializer else np.argwhere(dense)  # both forms of the indices
    indices = helper.make_tensor("where", TensorProto.INT64, where.shape, where.reshape(-1))
    values = helper.make_tensor("w", TensorProto.FLOAT, [len(where)], dense[dense != 0])
    value = helper.make_sparse_tensor(values, indices, dense.shape)
    model = plain("y = MatMul(a, w)", "float unused = {0}")
    if initializer:
        model.graph.sparse_initializer.append(value)
    else:
        model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=value))
    return model


def half() -> onnx.ModelProto:
    """A network in float16 from its input to its output."""
    model = plain("dw = DequantizeLinear(w, small, none)\ny = MatMul(a, dw)", "float small = {0.125}", outputs="2")
    del model.graph.initializer[:]
    whole = np.array([[1, -2], [0, 1], [2, 2], [-1, 0]], np.int8)
    for name, value in {"step": 0.25, "lowest": 0.0, "highest": 3.75, "small": 0.125}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float16), name))
    for name, value in {"zero": np.uint8(0), "none": np.int8(0), "w": whole}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    model.opset_import[0].version = 19
    return model


def modelopt() -> onnx.ModelProto:
    """Two convolutions as nvidia-modelopt writes them: float16 between two Casts, weights quantized by nodes of the graph."""
    rng = np.random.default_rng(7)
    body = """
    h = Cast<to: int = 10>(x)
    i = QuantizeLinear(h, first, none)
    a = DequantizeLinear(i, first, none)
    wi = QuantizeLinear<axis: int = 0>(w, wide, nones)
    wd = DequantizeLinear<axis: int = 0>(wi, wide, nones)
    s = Conv(a, wd, b)
    r = Relu(s)
    j = QuantizeLinear(r, second, none)
    d = DequantizeLinear(j, second, none)
    vi = QuantizeLinear<axis: int = 0>(v, fine, nones)
    vd = DequantizeLinear<axis: int = 0>(vi, fine, nones)
    t = Conv(d, vd)
    f = Flatten(t)
    y = Cast<to: int = 1>(f)
    """
    opened = f'<ir_version: 9, opset_import: ["" : 19]> net (float[N,1,4,4] x) => (float[N,2] y) {{ {body} }}'
    model = onnx.parser.parse_model(opened)
    half = {
        "first": np.array(0.0079), "second": np.array(0.0113), "wide": np.array([0.0107, 0.0033]), "fine": np.array([0.0061, 0.009]),
        "w": rng.normal(0, 0.4, (2, 1, 2, 2)), "v": rng.normal(0, 0.3, (2, 2, 3, 3)), "b": np.array([0.05, -0.1]),
    }  # fmt: skip
    for name, value in half.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float16), name))
    for name, zero in {"none": np.int8(0), "nones": np.zeros(2, np.int8)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(zero), name))
    return model


def qkeras() -> onnx.ModelProto:
    """QKeras through qonnx: NHWC outside and in front of Flatten, and a Quant whose scale is double and whose width int64."""
    quant = f"qonnx.custom_op.general.{QUANT}"
    body = f"""
    t = Transpose<perm: ints = [0, 3, 1, 2]>(x)
    a = {quant}(t, step, zero, bits)
    s = Conv(a, k)
    r = Relu(s)
    b = {quant}(r, step, zero, bits)
    h = Transpose<perm: ints = [0, 2, 3, 1]>(b)
    f = Flatten(h)
    y = MatMul(f, w)
    """
    opened = f'<ir_version: 8, opset_import: ["" : 13]> g (float[N,3,3,1] x) => (float[N,2] y) <{QKERAS}> {{ {body} }}'
    return parser.parse_model(opened)


QKERAS = (
    "double step = {0.25}, double zero = {0}, int64 bits = {4}, float[2,1,2,2] k = {1, -1, 0.5, 1, -0.5, 1, 1, 0}, "
    "float[8,2] w = {1, 0, -1, 1, 2, 1, 0, -2, 1, 1, -1, 0, 0, 2, 1, -1}"
)


def microsoft() -> onnx.ModelProto:
    """A QGemm whose domain the file does not import."""
    body = """
    i = QuantizeLinear(a, step, zero)
    y = com.microsoft.QGemm(i, step, zero, w, one, none)
    """
    return plain(body, "int8[4,3] w = {1, -2, 3, 0, 1, -1, 2, 2, -3, -1, 0, 1}, float one = {1}, int8 none = {0}")


FLOOR = """
    r = Round(x)
    c = Clip(r, lowest, top)
    s = MatMul(c, w)
    d = Div(s, many)
    f = Floor(d)
    y = MatMul(f, v)
"""
WIDE = (
    "float lowest = {0}, float top = {255}, float[4,2] w = {7, -7, 7, -6, 5, 7, -7, 6}, float many = {256}, "
    "float[2,3] v = {1, 0, -1, 2, 1, 0}"
)
CLIPPED = FLOOR.replace("f = Floor(d)", "o = Floor(d)\n    f = Clip(o, lowest_sum, highest_sum)")
EMPTY = """
    s = MatMul(a, w)
    c = Concat<axis: int = 1>(s, nothing)
    r = Round(c)
    b = Clip(r, lowest, seven)
    y = MatMul(b, v)
"""
QUANTS = [[19.0, 6.0, -7.0], [21.0, 7.5, -6.0]]
PLAIN = [[7.0, 6.0, -8.0], [6.25, 7.5, -9.5]]
ROWS = [[7.5, 6.5, -7.5], [6.75, 8.0, -9.0]]
GEMM = "y = Gemm(a, w, c)"

CASES = {
    "C of a Gemm, (1, 1)": Case(lambda: plain(GEMM, f"{WEIGHTS}, float[1,1] c = {{0.5}}"), ROWS),
    "C of a Gemm, a scalar": Case(lambda: plain(GEMM, f"{WEIGHTS}, float c = {{0.5}}"), ROWS),
    "C of a Gemm, (1, outputs)": Case(
        lambda: plain(GEMM, f"{WEIGHTS}, float[1,3] c = {{0.5, 0, 1}}"), [[7.5, 6.0, -7.0], [6.75, 7.5, -8.5]]
    ),
    "C of a Gemm, (images, 1)": Case(lambda: plain(GEMM, f"{WEIGHTS}, float[2,1] c = {{0.5, 0.5}}", batch="2"), ROWS),
    "C of a Gemm, (images, outputs)": Case(
        lambda: plain(GEMM, f"{WEIGHTS}, float[2,3] c = {{0.5, 0, 1, 0.5, 0, 1}}", batch="2"),
        [[7.5, 6.0, -7.0], [6.75, 7.5, -8.5]],
    ),
    "sparse constant": Case(lambda: sparse(initializer=False), PLAIN),
    "sparse initializer": Case(lambda: sparse(initializer=True), PLAIN),
    "rounding without a clip": Case(
        lambda: network(FLOOR, WIDE),
        [[-7.0, -7.0, -7.0], [-1.0, -1.0, -1.0]],
        np.array([[255, 0, 17, 3], [100, 200, 30, 255]], np.float32),
    ),
    "rounding with a clip that changes nothing": Case(
        lambda: network(CLIPPED, f"{WIDE}, float lowest_sum = {{-1000}}, float highest_sum = {{1000}}"),
        [[-7.0, -7.0, -7.0], [-1.0, -1.0, -1.0]],
        np.array([[255, 0, 17, 3], [100, 200, 30, 255]], np.float32),
    ),
    "C of a Gemm, (1, 1), one output": Case(
        lambda: plain(GEMM, "float[4,1] w = {1, 0, 2, -1}, float[1,1] c = {0.5}", outputs="1"), [[7.5], [6.75]]
    ),
    "Quant": Case(lambda: qonnx('"" : 13, "qonnx.custom_op.general" : 1'), QUANTS),
    "Quant without an import": Case(qonnx, QUANTS),
    "Quant beside opset 9": Case(lambda: qonnx('"" : 9, "qonnx.custom_op.general" : 1'), QUANTS),
    "Quant beside opset 10": Case(lambda: qonnx('"" : 10'), QUANTS),
    "Quant, integer zero point": Case(lambda: qonnx(zero="int64 zero = {0}"), QUANTS),
    "Quant, integer width": Case(lambda: qonnx(width="int64"), QUANTS),
    "Quant, scale of doubles": Case(lambda: qonnx(scale="double", zero="int32 zero = {0}", width="int8"), QUANTS),
    "QGemm without an import": Case(microsoft, PLAIN),
    "float16": Case(half, [[0.875, 0.75], [0.78125, 0.9375]], IMAGES.astype(np.float16)),
    "domain spelt ai.onnx": Case(lambda: plain("y = ai.onnx.MatMul(a, w)", WEIGHTS, "ai.onnx.", opset='"ai.onnx" : 13'), PLAIN),
    "concatenated with nothing": Case(
        lambda: plain(EMPTY, f"{WEIGHTS}, {SECOND}, float[1,0] nothing = {{}}, float seven = {{7}}", batch="1"),
        [[19.0, 6.0, -7.0], [20.0, 7.0, -6.0]],
    ),
}  # fmt: skip


def moved(order: str, size: int = 8, move: str = "Transpose") -> onnx.ModelProto:
    """An image with its channel last, whose levels are moved to the front before or after they are quantized.

    ``order`` is "levels first" or "move first".
    """
    rng = np.random.default_rng(3)
    there = {"perm": [0, 3, 1, 2]} if move == "Transpose" else {}
    to = ["shape"] if move == "Reshape" else []
    first = ["Clip", "QuantizeLinear", "DequantizeLinear", move]
    given = {"Clip": ["lowest", "highest"], "QuantizeLinear": ["step", "zero"], "DequantizeLinear": ["step", "zero"]}
    nodes, here = [], "x"
    for number, op in enumerate(first if order == "levels first" else [move, *first[:3]]):
        nodes.append(
            helper.make_node(op, [here, *given.get(op, to)], [f"t{number}"], f"t{number}", **given_attributes(op, there))
        )
        here = f"t{number}"
    for op, name, inputs, attributes in (
        ("Conv", "conv", ["k"], {}),
        ("Clip", "clip", ["lowest", "highest"], {}),
        ("QuantizeLinear", "quantized", ["step", "zero"], {}),
        ("DequantizeLinear", "levels", ["step", "zero"], {}),
        ("MaxPool", "pool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", "flat", [], {}),
        ("MatMul", "y", ["w"], {}),
    ):
        nodes.append(helper.make_node(op, [here, *inputs], [name], name, **attributes))
        here = name
    side = (size - 2) // 2
    values = {
        "step": np.float32(0.25), "zero": np.uint8(0), "lowest": np.float32(0), "highest": np.float32(0.75),
        "shape": np.array([-1, 1, size, size]), "k": rng.integers(-2, 3, (4, 1, 3, 3)).astype(np.float32) / 4,
        "w": rng.integers(-2, 3, (4 * side * side, 3)).astype(np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", size, size, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items() if name != "shape" or to],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def given_attributes(op: str, there: dict[str, list[int]]) -> dict[str, list[int]]:
    """The attributes of an operator: those of the move."""
    return there if op == "Transpose" else {}
