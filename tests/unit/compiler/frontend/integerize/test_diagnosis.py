"""Why a node cannot be compiled: the node's name and the error's code."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper, parser
from support.against_reference import equal, finish, ints, stem, ternary
from support.networks import Builder

from qsnnc import ModelError, check, verify


def before_a_quantizer(
    net: Builder, op: str, name: str, *inputs: str, shape: tuple[int, ...] | None = None, **attributes
) -> Builder:
    """The operator, a quantizer and a classifier behind it."""
    net.node(op, name, *inputs, **attributes)
    net.shape = shape or net.shape
    net.quantize("last", 0, 3)
    return finish(net, net.shape)


def softmax_between() -> Builder:
    net = stem(channels=3)
    net.flatten()
    net.gemm("fc", np.ones((5, 108)))
    return before_a_quantizer(net, "Softmax", "soft", axis=1)


def product_of_a_tensor_and_its_own_mean() -> Builder:
    net = stem(channels=2)
    start = net.here
    net.node("GlobalAveragePool", "squeeze")
    net.node("Relu", "relu")
    return before_a_quantizer(net, "Mul", "excite", start, shape=(2, 6, 6))


def weights_computed_from_the_data() -> Builder:
    net = stem(channels=3)
    start = net.here
    net.node("ReduceMean", "mean", axes=[2, 3], keepdims=1)
    net.quantize("q", 1, 3)
    weights = net.here
    net.here = start
    return before_a_quantizer(net, "Conv", "dynamic", weights, shape=(1, 6, 6))


def bounds_along_an_axis_of_their_own() -> Builder:
    """As torch.bucketize is exported."""
    net = stem(channels=2)
    net.conv("conv", ternary(np.random.default_rng(8), 2, 2, 2, 2))
    net.node("Unsqueeze", "wide", ints(net, "axis", -1))
    net.node("Less", "below", net.const("bounds", np.array([0.5, 1.5, 2.5], np.float32)))
    net.node("Cast", "ones", to=TensorProto.FLOAT)
    net.node("ReduceSum", "level", ints(net, "last axis", -1), keepdims=0)
    return before_a_quantizer(net, "Identity", "same")


@pytest.mark.parametrize(
    ("build", "subject", "code"),
    [
        (softmax_between, "soft", "model-operator"),
        (product_of_a_tensor_and_its_own_mean, "excite", "two-activations"),
        (weights_computed_from_the_data, "dynamic", "weights-not-constant"),
        (bounds_along_an_axis_of_their_own, "ones_out", "activation-widened"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_refused_with_node_and_code(save, build, subject, code) -> None:
    with pytest.raises(ModelError) as caught:
        equal(build(), save)
    assert (caught.value.subject, caught.value.code, caught.value.exit_code) == (subject, code, 3)


HALF = """<ir_version: 8, opset_import: ["" : 19]>
net (float16[N, 4] x) => (float16[N, 2] y)
<float step = {0.125}, uint8 zero = {0}, float[4, 3] w = {0.1, 0.27, -0.31, 0.2, 0.11, 0.7, 0.5, 0.3, 0.9, 0.8, 0.6, 0.4},
 float[3, 2] v = {1, 0, -1, 1, 0, 1}> {
  i = QuantizeLinear (x, step, zero)
  a = DequantizeLinear (i, step, zero)
  s = MatMul (a, w)
  j = QuantizeLinear (s, step, zero)
  b = DequantizeLinear (j, step, zero)
  y = MatMul (b, v)
}"""


def test_float16_is_not_blamed_for_weights_that_were_not_quantized() -> None:
    """As nvidia-modelopt writes the convolutions and matrices that it leaves out."""
    model = parser.parse_model(HALF)
    for node in model.graph.node:
        node.name = node.output[0]
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), tensor.name))
    with pytest.raises(ModelError, match=r"the weights of channel 0 .4 distinct values") as caught:
        verify(model, limit=1, encoder="i")
    assert caught.value.code == "weights-not-quantized"
    assert "high_precision_dtype" not in str(caught.value)


WRAPPING = """<ir_version: 8, opset_import: ["" : 13]>
net (float[N, 4] x) => (float[N, 2] y)
<float half = {0.5}, float eight = {8.0}, float four = {4.0}, float[4, 2] w = {1, 0, -1, 1, 0, 1, 2, -2}> {
  up = Mul (x, eight)
  shifted = Add (up, half)
  whole = Floor (shifted)
  value = Div (whole, eight)
  turns = Div (value, four)
  past = Floor (turns)
  over = Mul (past, four)
  rest = Sub (value, over)
  y = MatMul (rest, w)
}"""


def test_a_rounding_that_wraps_around_is_not_called_nothing(save) -> None:
    """As HGQ2 may write its quantizers."""
    with pytest.raises(ModelError, match=r"Floor .* more operators that round .* may not wrap around") as caught:
        equal(parser.parse_model(WRAPPING), save)
    assert (caught.value.code, caught.value.exit_code, caught.value.lines) == ("model-not-quantized", 3, ())


FLOAT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] x) => (float[N, 2] y) <float[4, 2] w = {1, 0, -1, 1, 0, 1, 2, -2}> { y = MatMul (x, w) }"""


@pytest.mark.parametrize("key", ["encodings", "activation_encodings"])
def test_a_float_network_with_encodings_of_aimet_beside_it(key, save) -> None:
    """As `QuantizationSimModel.export` writes both, in encodings of version 2 and of those before."""
    path = save(parser.parse_model(FLOAT))
    beside = path.with_suffix(".encodings")
    beside.write_text(json.dumps({"version": "1.0.0", key: []}))
    with pytest.raises(ModelError) as caught:
        check(path)
    assert f"AIMET wrote the quantizers into {beside.name!r} beside it" in str(caught.value)
    assert (caught.value.code, caught.value.exit_code) == ("model-not-quantized", 3)
    given, joined = f"encodings_to_onnx_qdq({str(path)!r}, {str(beside)!r})", str(path.with_suffix(".qdq.onnx"))
    assert caught.value.lines == (
        "import onnx",
        "from aimet_onnx.quantsim import encodings_to_onnx_qdq",
        f"onnx.save({given}, {joined!r})",
    )


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"version": 1}', "\0", None])
def test_another_file_of_that_name_is_none_of_aimets(text, save) -> None:
    path = save(parser.parse_model(FLOAT))
    beside = path.with_suffix(".encodings")
    if text is None:
        beside.mkdir()
    else:
        beside.write_text(text)
    with pytest.raises(ModelError) as caught:
        check(path)
    assert "AIMET" not in str(caught.value)
    assert len(caught.value.lines) == 5
