"""One number for an image, without an axis of its own, is quantized and added as any other tensor."""

from __future__ import annotations

import numpy as np
import pytest
from support.published import CONSTANTS, LEVELS, SECOND, WEIGHTS, network

import chipsim
from chipsim.datasets import Dataset
from qsnnc import ModelError, check, compile_model, verify
from qsnnc.frontend.model.reference import session

NUMBERS = (
    f"{CONSTANTS}, {WEIGHTS}, {SECOND}, float seven = {{7}}, float below = {{-1}}, float[1] quarter = {{0.25}}, int64 first = {{0}}, "
    "int64 second = {1}, int64[1] axis = {1}, int64[1] flat = {-1}, float[1,3] row = {1, 2, 3}, float half = {0.5}, "
    "float[2,3] rows = {1, 2, 3, 4, 5, 6}"
)
IMAGES = np.random.default_rng(0).uniform(0, 4, (9, 4)).astype(np.float32)
SUMS = f"{LEVELS.format(domain='')} s = MatMul(a, w)"
END = "q1 = Round(v1) q2 = Clip(q1, lowest, seven) u = Unsqueeze(q2, axis) y = MatMul(u, row)"

SINGLE = {
    "of a sum": f"{SUMS} v1 = Gather<axis = 1>(s, first) {END}",
    "scaled": f"{SUMS} g = Gather<axis = 1>(s, first) v1 = Mul(g, quarter) {END}",
    "of levels": f"{LEVELS.format(domain='')} g = Gather<axis = 1>(a, first) u = Unsqueeze(g, axis) y = MatMul(u, row)",
    "the difference of two": (
        f"{LEVELS.format(domain='')} g = Gather<axis = 1>(a, first) h = Gather<axis = 1>(a, second) v1 = Sub(g, h) {END}"
    ),
    "that rises and falls": (
        f"{SUMS} g = Gather<axis = 1>(s, first) k = Sigmoid(g) v1 = Mul(g, k) q1 = Round(v1) q2 = Clip(q1, below, seven) "
        "u = Unsqueeze(q2, axis) y = MatMul(u, row)"
    ),
    "two side by side": f"""{SUMS}
        g = Gather<axis = 1>(s, first) g1 = Round(g) g2 = Clip(g1, lowest, seven) g3 = Unsqueeze(g2, axis)
        h = Gather<axis = 1>(s, second) h1 = Round(h) h2 = Clip(h1, lowest, seven) h3 = Unsqueeze(h2, axis)
        z = Concat<axis = 1>(g3, h3) y = MatMul(z, rows)""",
    "the mean of the image": f"v1 = ReduceMean<axes = [1], keepdims = 0>(x) {END}",
    "read with and without its axis": f"{SUMS} g = Gather<axis = 1>(s, first) v1 = Add(g, g) {END}",
    "squeezed, as levels": f"{SUMS} g = Gather<axis = 1>(s, first) q1 = Round(g) y = Clip(q1, lowest, seven)",
}


@pytest.mark.parametrize("kind", SINGLE)
def test_a_single_number_of_each_image(kind, save) -> None:
    model = network(SINGLE[kind], NUMBERS)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    path = save(model)
    wanted = session(path.read_bytes()).run(None, {"x": IMAGES})[0]
    assert len(np.unique(wanted)) > 1
    done, data = compile_model(path), Dataset("nine", "test", IMAGES)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, wanted)
    assert verify(path, IMAGES).equal
    assert chipsim.compare(done.mapping, path, data).equal


@pytest.mark.parametrize("data", ["a", "s"])
def test_the_largest_of_all_is_refused(data, save) -> None:
    model = network(f"{SUMS} v1 = ReduceMax<axes = [1], keepdims = 0>({data}) {END}", NUMBERS)
    with pytest.raises(ModelError, match="v1: ReduceMax over every axis is not supported; keep the channels"):
        check(save(model))
