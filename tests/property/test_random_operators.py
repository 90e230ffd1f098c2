"""The law on random networks from the whole set of operators: chipsim(compile(net))(x) == onnxruntime(net)(x), to the bit.

The networks are exact by construction, so nothing is forgiven. Four hundred are drawn here; `HYPOTHESIS_PROFILE=many` draws ten
thousand. `onnx.reference.ReferenceEvaluator` is the second oracle.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from support.random_graphs import STEPS, Plan, build

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from qsnnc import ModelError, check
from qsnnc.compilation import Compilation, FailedCompilation
from qsnnc.frontend.importer.read import read_onnx
from qsnnc.frontend.model.reference import session
from qsnnc.verification.compare import Comparison

CHIP = load_chip("xbar1152").model_copy(update={"grid": (60, 60)})

plans = st.builds(
    Plan,
    size=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    channels=st.integers(1, 4),
    steps=st.lists(st.sampled_from(STEPS), max_size=5).map(tuple),
    levels=st.integers(1, 5),
    signed=st.booleans(),
    ending=st.sampled_from(["scores", "levels", "argmax"]),
    seed=st.integers(0, 2**32 - 1),
)


def compiled(model: onnx.ModelProto) -> Compilation | FailedCompilation:
    try:
        return check(model, CHIP)
    except ModelError as error:
        # all channels of a layer may come out dead, a tensor that is joined with itself may then be quantized again in two
        # ways, and scales that come together may lie further apart than 64 : 1: all else that is drawn must compile
        assume(error.code not in ("constant-activation", "requantized", "add-scales", "concat-scales"))
        raise


def images_of(plan: Plan, count: int = 4) -> np.ndarray:
    return np.random.default_rng(plan.seed).integers(0, 256, (count, 1, *plan.size)).astype(np.uint8)


@pytest.mark.slow
@settings(max_examples=settings().max_examples if settings().max_examples > 400 else 400)
@given(plans)
# windows that would reach beyond what is left of a map
@example(Plan((3, 2), 1, ("crop", "pad", "requantize", "reduce"), 1, signed=False, ending="scores", seed=1))
# a second quantizer of the same sum, added to the first and to what became of both: two branches that meet again
@example(Plan((2, 2), 1, ("conv", "neg", "add", "add"), 3, signed=True, ending="scores", seed=0))
# an operand that is the largest of averages, beside the convolution of it
@example(Plan((4, 4), 1, ("openavg", "maxpool", "sums"), 1, signed=False, ending="scores", seed=0))
@example(Plan((4, 4), 1, ("openavg", "maxpool", "sums", "reduce"), 1, signed=False, ending="scores", seed=0))
# the same with its channels in another order, and a quantizer with a constant a channel behind those
@example(Plan((2, 2), 2, ("openavg", "shuffle", "sums"), 1, signed=False, ending="scores", seed=0))
@example(Plan((2, 2), 2, ("openavg", "shuffle", "globalpool"), 1, signed=False, ending="scores", seed=2))
# the image's levels, quantized again and added to themselves: nothing more for the host to hand over
@example(Plan((2, 2), 1, ("qdq", "add", "concat"), 1, signed=False, ending="scores", seed=1))
# two levels, -0.5 and 1, that lie a third of a step beside the whole ones
@example(Plan((2, 2), 1, ("requantize", "add"), 3, signed=True, ending="scores", seed=588993))
# sums in phases, added to levels
@example(Plan((2, 2), 1, ("enlarge", "sums"), 1, signed=False, ending="scores", seed=2))
# an average in phases
@example(Plan((2, 2), 1, ("enlarge", "enlarge", "openavg"), 1, signed=False, ending="scores", seed=0))
# averages that are moved before constants of their new places, and steps up and down that are, added to others
@example(Plan((2, 2), 2, ("openavg", "pad", "dilated"), 1, signed=False, ending="scores", seed=2))
@example(Plan((2, 2), 4, ("valley", "globalpool", "enlarge"), 1, signed=False, ending="scores", seed=1))
# two halves of one average, of which the second does not lie as the first
@example(
    Plan((5, 5), 2, ("deconv", "maxpool", "openavg", "split", "three"), 2, signed=False, ending="levels", seed=1126100995)
)
# 0, 32 and 63.5, where an integer type saturates: three values, but 127 steps of a half
@example(Plan((2, 2), 1, ("openadd", "qdq", "qdq", "openadd", "qdq"), 4, signed=False, ending="scores", seed=4))
# sums of sums of one convolution's levels
@example(Plan((4, 6), 3, ("sums", "three", "three", "three", "shuffle"), 1, signed=True, ending="levels", seed=2062616))
# an activation that turns, of which only a level is ever reached
@example(Plan((2, 2), 1, ("neg", "valley", "valley"), 2, signed=False, ending="levels", seed=91049408))
# a level for each value of what lies in phases
@example(Plan((2, 3), 2, ("deconv", "latepool", "openavg", "same", "deconv"), 1, signed=False, ending="scores", seed=1))
# the largest of averages and constants, before a map that falls
@example(Plan((5, 3), 4, ("same", "openavg", "pad", "reduce", "neg"), 4, signed=True, ending="scores", seed=131563))
def test_random_network_of_any_operators(plan: Plan) -> None:
    model = build(plan)
    done = compiled(model)
    # operands of a Concat whose scales lie far apart may need weights of more than 8 bits behind it: that does not fit
    assume({v.code for v in done.violations} != {"weight-bits"})
    assert done.fits, done.violations
    images = images_of(plan)
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None), threads=1)
    (wanted,) = session(model).run(None, {"image": images.astype(np.float32)})
    np.testing.assert_array_equal(result.scores.reshape(wanted.shape), wanted)
    held = Comparison(read_onnx(model), done.graph)  # the levels of every layer, as well
    held.add(images.astype(np.float32), 0)
    assert not held.differences, held.found


@settings(max_examples=60)
@given(plans)
def test_the_references_agree(plan: Plan) -> None:
    """Where they do not, neither could be a reference: they differ on no network that is exact by construction."""
    model = build(plan)
    feed = {"image": images_of(plan, 2).astype(np.float32)}
    (one,) = session(model).run(None, feed)
    (two,) = ReferenceEvaluator(model).run(None, feed)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("step", STEPS)
def test_every_step_leaves_its_mark(step) -> None:
    """A step that builds nothing would test nothing."""
    plain = Plan((5, 5), 4, (), 3, False, "scores", 7)
    other = Plan((5, 5), 4, ("conv", step, step), 3, False, "scores", 7)
    count = len(build(Plan((5, 5), 4, ("conv",), 3, False, "scores", 7)).graph.node)
    assert len(build(plain).graph.node) < count
    longer = [len(build(Plan((5, 5), 4, ("conv", step, step), 3, False, "scores", seed)).graph.node) for seed in range(9)]
    assert max(longer) > count, other
