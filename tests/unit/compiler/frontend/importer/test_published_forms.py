"""Forms that published files have, one small network each: compiled, run and held against the right output."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.networks import Builder
from support.published import CASES, IMAGES, WEIGHTS, microsoft, modelopt, moved, network, plain, qkeras, qonnx

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from chipsim.errors import InputError
from qsnnc import compile_model, verify
from qsnnc.errors import ModelError
from qsnnc.explain.tables import boundary_lines
from qsnnc.frontend.model.reference import session


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_chip_computes_the_right_output(name, save) -> None:
    case = CASES[name]
    path, data = save(case.make()), Dataset("images", "test", case.images, None)
    done = compile_model(path)
    assert done.mapping.exactness == "certified"
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, np.array(case.right, np.float32))
    assert chipsim.compare(done.mapping, path, data).equal
    assert verify(path, case.images).equal


@pytest.mark.slow
def test_scales_and_weights_in_float16_have_the_files_own_values(save) -> None:
    """On the chip, level by level: no scale is a power of two, so that float16 rounds nearly every product."""
    path = save(modelopt())
    images = np.random.default_rng(1).uniform(-1, 1, (20, 1, 4, 4)).astype(np.float32)
    data = Dataset("images", "test", images, None)
    done = compile_model(path, load_chip("xbar1152").model_copy(update={"grid": (60, 60)}))
    (right,) = session(onnx.load(path)).run(None, {"x": images})
    assert len(np.unique(right)) > 20
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, right)
    assert chipsim.compare(done.mapping, path, data).equal
    assert verify(path, images).equal


def in_half(body: str, **values: object) -> onnx.ModelProto:
    """A network of two inputs in float16, with constants of that type but for integers."""
    text = f'<ir_version: 9, opset_import: ["" : 19]> g (float16[N,2] x) => (float16[N,2] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    given = {"step": 0.25, "zero": np.uint8(0), "low": 0.0, "high": 3.75, "w": [[2.0, -1.0], [1.0, 3.0]]} | values
    for name, value in given.items():
        array = np.asarray(value)
        model.graph.initializer.append(
            numpy_helper.from_array(array.astype(np.float16) if array.dtype.kind == "f" else array, name)
        )
    for node in model.graph.node:
        node.name = node.output[0]
    return model


TURNING = """
    i = QuantizeLinear(x, step, zero)
    a = DequantizeLinear(i, step, zero)
    b = Clip(a, low, high)
    s = MatMul(b, w)
    m = Sub(s, middle)
    v = Abs(m)
    c = Clip(v, low, high)
    j = QuantizeLinear(c, step, zero)
    d = DequantizeLinear(j, step, zero)
    f = Flatten(d)
    y = MatMul(f, w)
"""


def test_an_activation_that_falls_and_rises_in_float16(save) -> None:
    """onnxruntime casts its levels to float32 behind the Flatten, which changes none of them."""
    path = save(in_half(TURNING, middle=1.5))
    images = np.random.default_rng(1).uniform(0, 4, (30, 2)).astype(np.float16)
    data = Dataset("images", "test", images, None)
    done = compile_model(path)
    (right,) = session(path.read_bytes()).run(None, {"x": images})
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, right)
    assert chipsim.compare(done.mapping, path, data).equal
    assert verify(path, images).equal


@pytest.mark.parametrize("activation", ["v = Relu(s)", "v = Abs(m)", "g = Sigmoid(s)\n v = Mul(s, g)"])
@pytest.mark.parametrize("scale", [0.25, 0.1])
def test_a_rounding_without_a_clip_in_float16(activation, scale, save) -> None:
    """Its levels are those that the sums reach, and layers have the file's names."""
    body = f"""
    i = QuantizeLinear(x, step, zero)
    a = DequantizeLinear(i, step, zero)
    b = Clip(a, low, high)
    s = MatMul(b, w)
    m = Sub(s, middle)
    {activation}
    t = Mul(v, up)
    r = Round(t)
    d = Mul(r, down)
    f = Flatten(d)
    y = MatMul(f, w)
    """
    model = in_half(body, middle=1.5, up=1 / scale, down=scale)
    for node in model.graph.node:
        node.name = ""
    path = save(model)
    images = np.random.default_rng(1).uniform(0, 4, (30, 2)).astype(np.float16)
    done = compile_model(path)
    (right,) = session(path.read_bytes()).run(None, {"x": images})
    np.testing.assert_array_equal(chipsim.run(done.mapping, Dataset("images", "test", images, None)).scores, right)
    assert verify(path, images).equal
    assert done.graph.layers[0].name == "s"
    assert not any("Inserted" in layer.name for layer in done.graph.layers)


def test_a_tensor_that_onnxruntime_cast_has_the_files_name_in_messages(save) -> None:
    body = TURNING.replace("j = QuantizeLinear(c, step, zero)", "").replace("DequantizeLinear(j, step, zero)", "Exp(c)")
    with pytest.raises(ModelError, match=r"reads '[a-z]', which is not quantized") as caught:
        compile_model(save(in_half(body, middle=1.5)))
    assert "Inserted" not in str(caught.value)


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax"])
def test_an_empty_list_of_axes_is_refused(op, save) -> None:
    model = network(
        f"""
        a = QuantizeLinear(x, step, zero)
        d = DequantizeLinear(a, step, zero)
        m = {op}<noop_with_empty_axes: int = 1>(d, none)
        y = MatMul(m, w)
        """,
        f"float step = {{0.25}}, uint8 zero = {{0}}, int64[0] none = {{}}, {WEIGHTS}",
        opset='"" : 18',
    )
    with pytest.raises(ModelError, match=rf"^m: {op} has an empty list of axes") as caught:
        compile_model(save(model))
    assert caught.value.exit_code == 3


def test_channels_last_beside_quant_keeps_its_order(save) -> None:
    """The right output by NumPy: a window sum of NHWC levels, flattened with the channels last."""
    images = np.random.default_rng(4).uniform(0, 4, (5, 3, 3, 1)).astype(np.float32)
    model = qkeras()
    kernel, matrix = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name in ("k", "w"))
    levels = np.clip(np.round(images / 0.25), 0, 15) * 0.25
    windows = np.lib.stride_tricks.sliding_window_view(levels[..., 0], (2, 2), (1, 2))
    sums = np.einsum("nijhw,chw->nijc", windows, kernel[:, 0])
    right = (np.clip(np.round(sums / 0.25), 0, 15) * 0.25).reshape(5, -1) @ matrix
    path, data = save(model), Dataset("images", "test", images, None)
    done = compile_model(path)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, right.astype(np.float32))
    assert chipsim.compare(done.mapping, path, data).equal


def test_scores_of_scales_that_are_no_powers_of_two_differ_by_the_order_of_a_float_sum(save) -> None:
    """As torchao's: every level is equal, and a score by a few units in its last places.

    So do onnxruntime's own scores of one image, in a batch of one and in a batch of many; neither is the right one.
    """
    rng = np.random.default_rng(5)
    model = moved("move first")
    factors = {"w": 0.0123, "k": 0.931, "step": 0.948}  # with the factor of k, no sum is a tie between two levels
    for tensor in model.graph.initializer:
        if tensor.name in factors:
            value = numpy_helper.to_array(tensor) * np.float32(factors[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    weights = next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == "w")
    bound = len(weights) * np.finfo(np.float32).eps * 0.75 * np.abs(weights).sum(axis=0)
    images = rng.uniform(0, 1, (20, 8, 8, 1)).astype(np.float32)
    path, data = save(model), Dataset("images", "test", images, None)
    done = compile_model(path)
    scores = chipsim.run(done.mapping, data).scores
    reference = session(path.read_bytes())
    (together,) = reference.run(None, {"x": images})
    alone = np.concatenate([reference.run(None, {"x": image[None]})[0] for image in images])
    assert (np.abs(scores - together) <= bound).all()
    assert (np.abs(scores - alone) <= bound).all()
    assert chipsim.compare(done.mapping, path, data).equal


BATCHES = {
    "an offset": ("y = Gemm(a, w, c)", "float[4,3] w = {1, -2, 3, 0, 1, -1, 2, 2, -3, -1, 0, 1}", 3),
    "transposed and scaled": (
        "s = Gemm<transB: int = 1, alpha: float = 0.5, beta: float = 2.0>(a, w, c)\nr = Relu(s)\n"
        "e = QuantizeLinear(r, step, zero)\nb = DequantizeLinear(e, step, zero)\ny = MatMul(b, v)",
        "float[3,4] w = {1, -2, 3, 0, 1, -1, 2, 2, -3, -1, 0, 1}, float[3,3] v = {1, 0, -1, 2, 1, 0, -1, 1, 1}", 3,
    ),
    "a scale for each column, then the class": (
        "s = MatMul(a, w)\nt = Add(s, c)\ne = QuantizeLinear<axis: int = 1>(t, steps, zeros)\n"
        "b = DequantizeLinear<axis: int = 1>(e, steps, zeros)\ny = Softmax<axis: int = 1>(b)",
        "float[4,3] w = {1, -2, 3, 0, 1, -1, 2, 2, -3, -1, 0, 1}, float[3] steps = {0.5, 0.25, 1}, uint8[3] zeros = {0, 0, 0}", 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", ["2,1", "2,3"])
@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_whose_rows_differ_is_one_image(name, shape, save) -> None:
    """As a Gemm with a C for each row: each place of the batch is computed as in the file."""
    body, constants, outputs = BATCHES[name]
    offsets = {"2,1": "0.5, 1", "2,3": "0.5, 0, 1, -1, 0.25, 3"}[shape]
    path = save(plain(body, f"{constants}, float[{shape}] c = {{{offsets}}}", batch="2", outputs=str(outputs)))
    images = np.concatenate([IMAGES, IMAGES[::-1] * np.float32(0.75)]).reshape(2, 2, 4)
    right = [session(path.read_bytes()).run(None, {"x": rows})[0] for rows in images]
    data = Dataset("images", "test", images, None)
    done = compile_model(path)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, np.stack(right))
    assert chipsim.compare(done.mapping, path, data).equal
    assert verify(path, images).equal
    assert any("the file's whole batch, (2, 4)" in line for line in boundary_lines(done.graph))


def test_images_that_differ_by_their_place_are_refused(save) -> None:
    """Behind a convolution; the file has no form with the batch as one image."""
    model = moved("move first")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    flat = next(node for node in model.graph.node if node.op_type == "Flatten")
    flat.input.append("own")
    flat.op_type = "Add"
    model.graph.initializer.append(numpy_helper.from_array(np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1), "own"))
    with pytest.raises(ModelError, match=r"^flat: Add has a constant that differs between the 2 images of the batch"):
        compile_model(save(model))


def test_a_result_that_is_no_number_is_named(save) -> None:
    """0 / 0, where a quantizer divides by the image."""
    model = qonnx()
    model.graph.node[0].input[1] = model.graph.node[0].input[0]
    path = save(model)
    with pytest.raises(ModelError, match=r"^b: is no number in the model's own result for image 0"):
        verify(path, IMAGES)
    mapping = compile_model(path).mapping
    for engine in ("fast", "reference"):
        with pytest.raises(InputError, match="give no number as 'b'"):
            chipsim.run(mapping, Dataset("images", "test", IMAGES, None), engine=engine)


def test_what_is_supplied_is_reported(save, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="chipsim"):
        compile_model(save(qonnx('"" : 9')))
    supplied, converted = dict.fromkeys(record.getMessage() for record in caplog.records)
    assert supplied == "the import of domain 'qonnx.custom_op.general', which the file lacks, is supplied: version 1"
    assert converted == "the model is converted from opset 9 to 11, which Quant needs"


def test_integer_sums_that_wrap_are_refused(save) -> None:
    """As beyond int32, where onnxruntime's result has another sign."""
    model = microsoft()
    model.graph.initializer.append(numpy_helper.from_array(np.full(3, 2**31 - 1, np.int32), "c"))
    model.graph.node[-1].input.append("c")
    with pytest.raises(ModelError, match=r"^y: its integer sums may reach 2,147,483,708, and beyond int32"):
        compile_model(save(model))


def test_a_bias_of_another_shape_is_refused(save) -> None:
    """The standard has none but [M]; of a kernel's own opinion nothing is known before it runs."""
    model = moved("move first")
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.input.append("bias")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 4), np.float32), "bias"))
    with pytest.raises(ModelError, match=r"(?i)bias"):
        compile_model(save(model))


@pytest.mark.parametrize("body", ["shadows", "holds"])
def test_a_function_of_the_files_own_is_compared_as_it_is(body, save) -> None:
    """One with the name of a QONNX operator, and one that holds such an operator and the levels of a layer."""
    net = Builder((4,))
    net.quantize("a", -6, 3)
    net.gemm("first", np.array([[1, -2, 1, 0], [0, 1, 1, -1], [2, 0, -1, 1]], float))
    general = "qonnx.custom_op.general"
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(general, 1)]
    if body == "shadows":
        net.node("Quant", "own", domain=general)
        net.quantize("b", -1, 3)
        nodes = [helper.make_node("Neg", ["v"], ["w"])]
        function = helper.make_function(general, "Quant", ["v"], ["w"], nodes, imports)
    else:
        net.node("Levels", "own", domain="mine")
        given = [
            helper.make_node("Constant", [], [name], value_float=value)
            for name, value in (("s", 2.0), ("z", 0.0), ("n", 2.0))
        ]
        quant = helper.make_node(
            "Quant", ["v", "s", "z", "n"], ["w"], domain=general, signed=0, narrow=0, rounding_mode="ROUND"
        )
        function = helper.make_function("mine", "Levels", ["v"], ["w"], [*given, quant], imports)
    net.gemm("head", np.array([[3, -1, 2], [1, 2, -3], [2, 2, 1]], float))
    model = net.model()
    model.functions.append(function)
    model.opset_import.extend([helper.make_opsetid(general, 1), helper.make_opsetid("mine", 1)])
    path = save(model)
    images = np.random.default_rng(0).integers(0, 256, (9, 4)).astype(np.uint8)
    assert verify(path, images).equal
    assert chipsim.compare(compile_model(path).mapping, path, Dataset("nine", "test", images)).equal
