"""Levels that a transpose or reshape moves from NHWC to NCHW: as many cores and ticks as with the move first."""

from __future__ import annotations

import numpy as np
import pytest
from support.published import moved

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model
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
