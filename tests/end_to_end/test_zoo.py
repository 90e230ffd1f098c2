"""Graphs that real exporters wrote, file by file: what `verify`, `compile`, `chipsim run` and `compare` say of each.

`tests/zoo/` holds small untrained LeNet-like networks as Brevitas (bv), torch (th), torchao (pt2e), onnxruntime (ort) and
the ONNX standard itself (std) write them, at 1 to 16 bits an activation, and as others simplify or optimise those (opt, qonnx).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.places import ZOO
from support.screens import on_one_screen

import chipsim
from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset
from qsnnc import DoesNotFit, ModelError, check, compile_model, verify
from qsnnc.explain.screen import compilation_screen
from qsnnc.verification import random_images

#: at most 15 levels an activation, or levels that a large chip still holds: equal, level by level
FITS = [
    f"bv_{name}"
    for name in (
        "binary_max_qonnx fixedpoint_qcdq fixedpoint_qcdq_dynamo fixedpoint_qonnx_dynamo int2_max_qcdq int2_max_qcdq_dynamo "
        "int2_max_qonnx int2_max_qonnx_dynamo int4_avg_qcdq int4_avg_qonnx int4_avg_qonnx_dynamo int8_trunc_qcdq "
        "int8_trunc_qonnx shifteduint8_w_qcdq shifteduint8_w_qonnx shifteduint8_w_qonnx_dynamo ternary_max_qcdq "
        "ternary_max_qcdq_dynamo ternary_max_qonnx"
    ).split()
] + [
    *(
        "ort_matmulnbits_QDQ ort_qdq_u4_int4 std_int2_op25 std_int4_op21 th_fp32_cmp_dyn18 th_fp32_cmp_dyn23_noopt th_fp32_cmp_ts13 "
        "opt_onnxsim opt_onnxslim opt_ort_basic opt_ort_extended th_fp32_cmp_ts17 th_fp32_median_dyn18 th_fp32_median_dyn_default th_fp32_median_ts13 th_fp32_median_ts17 "
        "th_fp32_round_dyn18 th_fp32_round_dyn23_noopt th_fp32_round_dyn_default th_fp32_round_ts13 hgq2_kif "
        "qonnx_channels_last qonnx_qcdq_to_quant keras_qat4 aimet_int4"
    ).split()
]
#: as above, but at ties of its average pool onnxruntime's float sum falls on the other side: inside the bound, and said so
EXPLAINED = ["bv_int8_trunc_qcdq_dynamo", "ort_qdq_u16_s8"]
#: 8-bit activations, 255 neurons a feature: equal, and too large for any chip here
LARGE = (
    "ort_qdq_s8s8_pc ort_qdq_u8s8 ort_qop_s8s8sym ort_qop_u8s8 ort_qop_u8u8 pt2e_tern_u2_default pt2e_tern_u2_noopt "
    "pt2e_x86int8_default pt2e_x86int8_noopt pt2e_x86int8_opset21 std_int8_op13 std_int8_op26 std_int8_op27 opt_ort_all "
    "nncf_mixed_npu"
).split()
#: 8-bit activations as well, of a smaller network
EIGHT_BITS = (
    "keras_qdq keras_qop inc_keras_qdq inc_torch_qdq olive_qdq optimum_qdq_pc ort_qop_residual tflite_transposed "
    "quark_xint8 esp_ppq_qdq mct_fake_quant mct_custom".split()
)
REFUSED = {
    "fp32_lenet": "model-not-quantized",
    "fp32_lenet_ts13": "model-not-quantized",
    "fp32_lenet_ts13_pre": "model-not-quantized",
    "ort_dyn_s8": "not-static",
    "ort_dyn_u8_pc": "not-static",
    "ort_matmulnbits_QOperator": "not-static",
}


def path_of(name: str) -> Path:
    return ZOO / f"{name}.onnx"


@pytest.fixture(scope="module")
def chip() -> ChipSpec:
    return load_chip("xbar1152").model_copy(update={"name": "large", "grid": (100, 100)})


def test_every_file_has_a_verdict() -> None:
    names = [*FITS, *EXPLAINED, *LARGE, *EIGHT_BITS, *REFUSED]
    assert sorted(names) == sorted(path.stem for path in ZOO.glob("*.onnx"))
    assert len(names) == 79


@pytest.mark.parametrize("name", [*FITS, *LARGE, *EIGHT_BITS])
def test_the_integer_network_is_equal(name) -> None:
    found = verify(path_of(name), limit=8)
    assert found.equal, str(found.mismatches[0])


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_difference_is_explained_by_the_float_error_bound(name) -> None:
    found = verify(path_of(name), limit=20)
    assert found.exactness == "tested"
    assert found.mismatches
    assert all(mismatch.attributed for mismatch in found.mismatches)


@pytest.mark.parametrize("name", FITS)
def test_the_chip_equals_the_model_level_by_level(name, chip) -> None:
    done = compile_model(path_of(name), chip)
    on_one_screen(compilation_screen(done, str(path_of(name)), "out.map"))
    images = random_images(done.mapping.input, 3, 1)
    compared = chipsim.compare(done.mapping, path_of(name), Dataset("random", "test", images, None))
    assert compared.equal, compared


@pytest.mark.parametrize("name", LARGE)
def test_eight_bits_do_not_fit_and_it_is_said_what_would_help(name, chip) -> None:
    small = load_chip("xbar1152").model_copy(
        update={"grid": (16, 16)}
    )  # a single layer of 8 bits needs a smaller chip to fail
    with pytest.raises(DoesNotFit) as caught:
        compile_model(path_of(name), small if name.startswith("std") else chip)
    assert caught.value.exit_code == 4
    assert caught.value.fields["layer"]
    assert re.search(r"cores with 15 levels|qsnnc fit|fewer bits", str(caught.value))


def test_sixteen_bits_do_not_fit_either(chip) -> None:
    with pytest.raises(DoesNotFit, match="fewer levels in") as caught:
        compile_model(path_of("ort_qdq_u16_s8"), chip)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_statically_quantized_is_refused_by_name(name) -> None:
    with pytest.raises(ModelError) as caught:
        check(path_of(name))
    assert (caught.value.code, caught.value.exit_code) == (REFUSED[name], 3)
    assert "quantize" in str(caught.value)


def test_the_same_network_from_two_exporters_has_the_same_thresholds() -> None:
    """torch's rounding chain, exported by three exporters, is one integer network."""
    graphs = [check(path_of(f"th_fp32_median_{kind}")).graph for kind in ("ts13", "ts17")]
    for first, second in zip(graphs[0].layers, graphs[1].layers, strict=True):
        np.testing.assert_array_equal(first.thresholds, second.thresholds)
        for left, right in zip(first.connections, second.connections, strict=True):
            np.testing.assert_array_equal(left.weights, right.weights)
