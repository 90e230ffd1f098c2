"""Levels that a transpose or reshape moves from NHWC to NCHW, and rows of tokens: as many cores as with the move first."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from support.networks import Builder
from support.published import moved

import chipsim
from chipsim.datasets import Dataset
from qsnnc import Compilation, check, compile_model, verify
from qsnnc.frontend.model.reference import session


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 24])
@pytest.mark.parametrize("move", ["Transpose", "Reshape"])
@pytest.mark.parametrize("encoder", ["host", "chip"])
def test_a_move_behind_the_quantizer_costs_nothing(size, move, encoder, save) -> None:
    images = np.random.default_rng(0).integers(0, 5, (6, size, size, 1)).astype(np.float32) / np.float32(4)
    if encoder == "chip":
        images = np.random.default_rng(0).integers(0, 2, images.shape).astype(np.uint8)
    made = {}
    for order in ("move first", "levels first"):
        path = save(moved(order, size, move), f"{order}.onnx")
        done = compile_model(path, pixels="raw", encoder=encoder)
        result = chipsim.run(done.mapping, Dataset("images", "test", images, None))
        (right,) = session(path.read_bytes()).run(None, {"x": images.astype(np.float32)})
        np.testing.assert_array_equal(result.scores, right)
        assert chipsim.compare(done.mapping, path, Dataset("images", "test", images, None)).equal
        made[order] = done.mapping.cores, result.ticks_per_image
    if encoder == "host":
        assert made["levels first"] == made["move first"]
    else:  # the chip's input is quantized levels, or pixels that a layer quantizes
        assert made["levels first"] <= made["move first"]


def tokens(count: int, *, left: bool, patches: bool) -> onnx.ModelProto:
    """Rows of features, or patches of an image, that one matrix after another multiplies, each by itself; then a maximum."""
    rng = np.random.default_rng(1)
    net = Builder((count * 6, 1) if patches else (6, count) if left else (count, 6))
    net.quantize("x.q", 0, 3)
    if patches:
        net.node("Reshape", "rows", net.const("rows.shape", np.array([-1, 6, count] if left else [-1, count, 6])))
    for name, size, inputs in (("a", 8, 6), ("b", 5, 8)):
        weights = rng.integers(-2, 3, (size, inputs)).astype(np.float32)
        data = net.here
        matrix = net.const(f"{name}.w", weights if left else weights.T)
        net.nodes.append(helper.make_node("MatMul", [matrix, data] if left else [data, matrix], [f"{name}_out"], name))
        net.here = f"{name}_out"
        net.quantize(f"{name}.q", 0, 3)
    net.node("ReduceMax", "most", axes=[2 if left else 1], keepdims=0)
    net.shape = (5,)
    net.gemm("y", rng.integers(-2, 3, (3, 5)).astype(float))
    return net.model({"qsnnc.pixels": "raw"})


@pytest.mark.parametrize(("left", "patches"), [(False, False), (True, False), (False, True), (True, True)])
def test_rows_that_one_matrix_multiplies_read_their_own_features_only(left, patches, save) -> None:
    model = tokens(24, left=left, patches=patches)
    path = save(model)
    shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim[1:])
    images = np.random.default_rng(0).integers(0, 4, (6, *shape)).astype(np.float32)
    done = compile_model(path)
    result = chipsim.run(done.mapping, Dataset("images", "test", images, None))
    (right,) = session(path.read_bytes()).run(None, {model.graph.input[0].name: images})
    np.testing.assert_array_equal(result.scores, right)
    assert verify(path, images).equal
    assert [layer.fan_in for layer in done.mapping.layers] == [6 * 3, 8 * 3, 24, 5 * 3]  # not those of all rows


def test_a_thousand_rows_need_no_matrix_of_all_features(save) -> None:
    assert isinstance(check(save(tokens(1000, left=False, patches=False))), Compilation)
