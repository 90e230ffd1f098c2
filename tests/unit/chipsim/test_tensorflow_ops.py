"""TensorFlow's fake quantizers, rewritten, against what TensorFlow 2.21 gave for the same values."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipsim.errors import InputError
from chipsim.onnx_repair import FAKE_QUANTIZERS, TENSORFLOW, repaired
from chipsim.qonnx_ops import rewrite
from qsnnc.frontend.model.reference import session

#: range, bits, narrow: the levels that each half of a step becomes, from three halves below the minimum onwards
LEVELS = {
    (0.0, 6.0, 4, 0): "0 0 0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9 10 10 11 11 12 12 13 13 14 14 15 15 15 15 15 15 15",
    (-1.25, 2.7, 4, 0): "-5 -5 -5 -5 -4 -4 -3 -3 -2 -2 -1 -1 0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9 10 10 10 10 10 10 10",
    (-0.77, 0.77, 5, 1): "-15 -15 -15 -15 -14 -14 -13 -13 -12 -12 -11 -11 -10 -10 -9 -9 -8 -8 -7 -7 -6 -6 -5 -5 -4 -4 -3 -3 "
    "-2 -2 -1 -1 -1 0 1 1 2 2 3 3 4 4 5 5 6 6 6 7 8 8 9 9 10 10 11 11 11 12 13 13 14 14 15 15 15 15 15 15 15 15 15",
    (
        0.5,
        2.0,
        5,
        1,
    ): "9 9 10 10 10 11 12 12 13 13 14 14 15 15 15 16 17 17 18 18 19 19 20 20 21 21 22 22 23 23 23 24 25 25 26 26 "
    "27 27 28 28 29 29 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30 30",
    (-2.0, -1.0, 3, 0): "-7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -7 -6 -6 -5 -5 -4",
}
#: where the other two quantizers give one level more or less
OTHERWISE = {(-0.77, 0.77, 5, 1): [26, 44], (0.5, 2.0, 5, 1): [4, 14, 30]}
CASES = [pytest.param(*key, id=f"{key[0]:g} to {key[1]:g}, {key[2]} bits") for key in LEVELS]


def model(op: str, low: Any, high: Any, domain: str = "", **attributes: Any) -> onnx.ModelProto:
    """Return a model of one quantizer; the range as inputs, if the operator has them."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    given = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in (("low", low), ("high", high))]
    if op.endswith("Args"):
        attributes |= {"min": float(np.float32(low)), "max": float(np.float32(high))}
        given = []
    node = helper.make_node(op, ["x", *(tensor.name for tensor in given)], ["y"], "quantizer", domain=domain, **attributes)
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def halves(low: float, high: float, bits: int, narrow: int) -> tuple[np.ndarray, np.float32]:
    step = (np.float32(high) - np.float32(low)) / np.float32(2**bits - 1 - narrow)
    return (np.arange(-3, 2 ** (bits + 1) + 4) / 2 * float(step) + float(np.float32(low))).astype(np.float32), step


def computed(made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return session(rewrite(repaired(made))).run(None, {"x": x})[0]


@pytest.mark.parametrize(("low", "high", "bits", "narrow"), CASES)
def test_values_are_tensorflows(low, high, bits, narrow) -> None:
    x, step = halves(low, high, bits, narrow)
    right = np.array(LEVELS[low, high, bits, narrow].split(), np.float32) * step
    found = computed(model("FakeQuantWithMinMaxVars", low, high, num_bits=bits, narrow_range=narrow), x)
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(("low", "high", "bits", "narrow"), CASES)
def test_the_other_quantizers_differ_at_some_halves(low, high, bits, narrow) -> None:
    x, step = halves(low, high, bits, narrow)
    options = {"num_bits": bits, "narrow_range": narrow}
    right = np.array(LEVELS[low, high, bits, narrow].split(), np.float32) * step
    args = computed(model("FakeQuantWithMinMaxArgs", low, high, **options), x)
    np.testing.assert_array_equal(np.flatnonzero(args != right), OTHERWISE.get((low, high, bits, narrow), []))
    ends = [low, 0.0], [high, 0.0]  # a channel whose range is empty gives zeros
    each = computed(model("FakeQuantWithMinMaxVarsPerChannel", *ends, **options), np.stack([x, x], axis=1))
    np.testing.assert_array_equal(each, np.stack([args, np.zeros_like(args)], axis=1))


def test_tf2onnxs_own_domain_is_read_too(caplog) -> None:
    x = halves(0.0, 6.0, 4, 0)[0]
    plain, own = (model("FakeQuantWithMinMaxVars", 0, 6, domain, num_bits=4) for domain in ("", TENSORFLOW))
    with caplog.at_level(logging.INFO, "chipsim"):
        moved = repaired(plain)
    assert caplog.messages[0] == "quantizer is an operator of TensorFlow's: FakeQuantWithMinMaxVars"
    assert [node.domain for node in moved.graph.node] == [TENSORFLOW]
    assert [node.domain for node in plain.graph.node] == [""]  # the given model is not changed
    np.testing.assert_array_equal(computed(own, x), computed(plain, x))


@pytest.mark.parametrize("op", sorted(FAKE_QUANTIZERS))
@pytest.mark.parametrize(
    ("low", "high", "options", "message"),
    [
        (0, 6, {"num_bits": 1}, "num_bits = 1; allowed: 2 to 16"),
        (0, 6, {"num_bits": 17}, "num_bits = 17; allowed: 2 to 16"),
        (6, 0, {}, "a minimum of 6 and a maximum of 0"),
        (np.nan, 1, {}, "a minimum of nan"),
        (0, 6, {"round": 1}, "has no attribute 'round'"),
    ],
)
def test_what_tensorflow_does_not_allow_is_refused(op, low, high, options, message) -> None:
    with pytest.raises(InputError, match=message):
        rewrite(repaired(model(op, low, high, **options)))


def test_a_range_that_is_computed_is_refused() -> None:
    made = model("FakeQuantWithMinMaxVars", 0, 6)
    del made.graph.initializer[0]
    with pytest.raises(InputError, match="its minimum must be a constant"):
        rewrite(repaired(made))
