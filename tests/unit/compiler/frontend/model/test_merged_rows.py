"""Tokens that a reshape has merged into the batch for a linear layer: computed as with an axis of their own."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model, verify
from qsnnc.errors import ModelError
from qsnnc.frontend.model.reference import session

#: how the rows of an image are merged, and taken apart again
MERGES = {
    "reshape": ("m = Reshape(a, merged)", "t = Reshape(o, apart)"),
    "flatten": ("m = Flatten<axis: int = 2>(a)", "t = Reshape(o, apart)"),
    "squeeze, of one image": ("m = Squeeze(a, first)", "t = Unsqueeze(o, first)"),
}
#: what is computed on the rows: a linear layer that is read by another, or one with a quantizer of its own
PARTS = {
    "linear": "o = Gemm<transB: int = 1, alpha: float = 0.5>(m, w, b)",
    "quantized": """
        s = Gemm<transB: int = 1>(m, w, b)
        r = Relu(s)
        i = QuantizeLinear(r, step, zero)
        e = DequantizeLinear(i, step, zero)
        o = MatMul(e, u)
    """,
    "a scale for each column": """
        s = Gemm<transB: int = 1>(m, w)
        i = QuantizeLinear<axis: int = 1>(s, steps, zeros)
        e = DequantizeLinear<axis: int = 1>(i, steps, zeros)
        o = MatMul(e, u)
    """,
}


def network(merge: str, part: str, batch: str = "N", end: str = "") -> onnx.ModelProto:
    """Three tokens of four numbers."""
    together, apart = MERGES[merge]
    body = f"""
        q = QuantizeLinear(x, step, zero)
        a = DequantizeLinear(q, step, zero)
        {together}
        {PARTS[part]}
        {end or apart}
        p = Add(t, place)
        c = Relu(p)
        k = QuantizeLinear(c, step, zero)
        d = DequantizeLinear(k, step, zero)
        y = ReduceMean<axes: ints = [1], keepdims: int = 0>(d)
    """
    rows = "-1" if batch == "N" else str(3 * int(batch))
    constants = (
        f"float step = {{0.25}}, uint8 zero = {{0}}, int64[2] merged = {{{rows}, 4}}, "
        f"int64[3] apart = {{{'-1' if batch == 'N' else batch}, 3, 2}}, int64[1] first = {{0}}, float[2] b = {{0.25, -0.5}}, "
        "float[2,4] w = {1, -2, 3, 0, 1, -1, 2, 2}, float[2,2] u = {1, -1, 2, 1}, float[2] steps = {0.5, 0.25}, "
        "uint8[2] zeros = {0, 0}, float[3,2] place = {0, 1, 0.5, -1, 2, 0.25}"
    )
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float[{batch},3,4] x) => (float[{batch},2] y) <{constants}> {{{body}}}"""
    model = onnx.parser.parse_model(text)
    for node in model.graph.node:
        node.name = node.output[0]
    return model


@pytest.mark.parametrize("batch", ["N", "1", "4"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("merge", MERGES)
def test_rows_keep_an_axis_of_their_own(merge, part, batch, save) -> None:
    if merge.startswith("squeeze"):
        batch = "1"
    path = save(network(merge, part, batch))
    images = np.random.default_rng(2).integers(0, 9, (8, 3, 4)).astype(np.float32) / np.float32(4)
    step = len(images) if batch == "N" else int(batch)
    run = session(path.read_bytes())
    right = np.concatenate([run.run(None, {"x": images[i : i + step]})[0] for i in range(0, len(images), step)])
    data = Dataset("images", "test", images, None)
    done = compile_model(path)
    found = chipsim.run(done.mapping, data).scores
    if done.mapping.exactness == "certified":
        np.testing.assert_array_equal(found, right)
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-6 * np.abs(right).max())
    assert chipsim.compare(done.mapping, path, data).equal
    checked = verify(path, images)
    assert checked.equal
    assert checked.values > right.size  # levels too


def test_what_is_not_known_to_keep_rows_apart_is_refused(save) -> None:
    model = network("reshape", "linear", end="f = Transpose<perm: ints = [1, 0]>(o)\nt = Reshape(f, apart)")
    with pytest.raises(ModelError, match="moves the batch axis") as caught:
        compile_model(save(model))
    assert (caught.value.subject, caught.value.code) == ("f", "batch-moved")


def test_rows_that_are_the_output_are_refused(save) -> None:
    """A file whose output has a row for each token, and no axis for the images."""
    model = network("reshape", "quantized")
    del model.graph.node[-6:]
    model.graph.output[0].name = "o"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="moves the batch axis"):
        compile_model(save(model))
