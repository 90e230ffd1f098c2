"""Files of public bug reports and of exporters, each with the right output of its images.

They stand in a folder `cases` beside that of MNIST, or in QSNNC_CASES_DIR; where there is none, the tests of
`tests/unit/compiler/frontend/importer/test_published_forms.py` have the same structures.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from qsnnc import compile_model, verify

QUANTS = [[19, 6, -7], [21, 7.5, -6]]
PLAIN = [[7, 6, -8], [6.25, 7.5, -9.5]]
FLOORS = [[-7, -7, -7], [-1, -1, -1]]
RIGHT = {
    "concat_empty_sums": [[19, 6, -7], [20, 7, -6]],
    "domain_ai_onnx": PLAIN,
    "floor_no_clip": FLOORS,
    "floor_noop_clip": FLOORS,
    "fp16_input": [[0.875, 0.75], [0.78125, 0.9375]],
    "gemm_c_1x1": [[7.5, 6.5, -7.5], [6.75, 8, -9]],
    "gemm_c_batch": [[[7.5, 6.5, -7.5], [7.25, 8.5, -8.5]]],  # one image: the file's whole batch
    "ms_noimport": PLAIN,
    "q_fine": QUANTS,
    "q_noimport": QUANTS,
    "q_opset9": QUANTS,
    "q_zp_int64": QUANTS,
    "sparse_constant": PLAIN,
}
#: cores; the right output is in the file of the images
STORED = {
    "nhwc_moved_first_20": 28, "nhwc_moved_first_28": 56, "nhwc_quantized_first_20": 28, "nhwc_quantized_first_28": 56,
}  # fmt: skip

LARGE = ("modelopt_fp16_convhead", "ort_nhwc", "qkeras_q4")


@pytest.fixture(scope="module")
def folder(mnist_dir: Path) -> Path:
    found = Path(os.environ.get("QSNNC_CASES_DIR") or mnist_dir.parent / "cases")
    if not found.is_dir():
        pytest.skip("no case files: set QSNNC_CASES_DIR to their folder")
    return found


def images_of(path: Path) -> np.ndarray:
    with np.load(path.with_suffix(".npz")) as arrays:
        images: np.ndarray = arrays["images"]
    return images[None] if path.stem == "gemm_c_batch" else images


def right_of(path: Path) -> np.ndarray:
    if path.stem in RIGHT:
        return np.array(RIGHT[path.stem])
    with np.load(path.with_suffix(".npz")) as arrays:
        return np.asarray(arrays["right"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RIGHT, *STORED])
def test_the_chip_computes_the_right_output(name, folder) -> None:
    path = folder / f"{name}.onnx"
    images = images_of(path)
    data = Dataset("images", "test", images, None)
    done = compile_model(path, load_chip("xbar1152").model_copy(update={"grid": (60, 60)}))
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, right_of(path))
    assert chipsim.compare(done.mapping, path, data).equal
    assert STORED.get(name) in (None, done.mapping.cores)
    assert done.mapping.exactness == "certified"


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_network_of_eight_bits_is_equal(name, folder) -> None:
    """The integer network, level by level and score by score; the chip would need thousands of cores."""
    path = folder / f"{name}.onnx"
    found = verify(path, images_of(path)[:4])
    assert found.equal
    assert found.images == 4


@pytest.mark.slow
def test_a_promise_that_is_not_kept_is_told_of_the_layer_that_breaks_it(folder) -> None:
    """Quantized to 0 to 15 in torch, which the file no longer says; the second convolution reaches 16."""
    path = folder / "torchao_u4.onnx"
    data = Dataset("images", "test", images_of(path), None)
    done = compile_model(path, levels={"node_conv2d": 15, "node_conv2d_1": 15})
    found = chipsim.compare(done.mapping, path, data).difference
    assert found is not None
    assert (found.layer, found.exceeds, found.expected) == ("node_conv2d_1", True, 16)
    exceeded = chipsim.run(done.mapping, data).exceeded
    assert exceeded is not None
    assert exceeded.layers["node_conv2d_1"]
    assert verify(path, data.images[:10]).equal


def test_every_case_has_a_test(folder) -> None:
    assert {path.stem for path in folder.glob("*.onnx")} == {*RIGHT, *STORED, *LARGE, "torchao_u4"}
