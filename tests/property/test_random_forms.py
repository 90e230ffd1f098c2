"""The law on random networks in the forms of published files: chipsim(compile(net))(x) == onnxruntime(net)(x), to the bit.

Some hundred are drawn here; `HYPOTHESIS_PROFILE=many` draws ten thousand.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.forms import FORMS, dressed
from support.random_graphs import STEPS, Plan, build

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from qsnnc import ModelError, check
from qsnnc.frontend.model.reference import session

CHIP = load_chip("xbar1152").model_copy(update={"grid": (60, 60)})

plans = st.builds(
    Plan,
    size=st.tuples(st.integers(2, 5), st.integers(2, 5)),
    channels=st.integers(1, 3),
    steps=st.lists(st.sampled_from(STEPS), max_size=4).map(tuple),
    levels=st.integers(1, 3),
    signed=st.booleans(),
    ending=st.sampled_from(["scores", "levels", "argmax"]),
    seed=st.integers(0, 2**32 - 1),
)
#: what a network may be refused for, as in `test_random_operators`
FAIR = {"constant-activation", "requantized", "add-scales", "concat-scales"}
#: without clips, values may be too many or too far apart; in float16, sums that are rounded may be read by another operator
OF_FORM = {"unclipped": {"activation-not-quantized", "levels-uneven", "not-monotone"}, "half": {"activation-not-quantized"}}


@pytest.mark.slow
@settings(max_examples=max(150, settings().max_examples))
@given(plans, st.sampled_from(sorted(FORMS)))
def test_a_network_in_a_published_form(plan: Plan, form: str) -> None:
    found = dressed(build(plan), form, plan.seed)
    try:
        done = check(found.model, CHIP)
    except ModelError as error:
        assume(error.code not in FAIR | OF_FORM.get(form, set()))
        raise
    assume(form != "unclipped" or done.fits)  # many values make many neurons
    assume({v.code for v in done.violations} != {"weight-bits"})
    assert done.fits, done.violations
    shape = tuple(dim.dim_value for dim in found.plain.graph.input[0].type.tensor_type.shape.dim)[1:]
    images = np.random.default_rng(plan.seed).integers(0, 256, (4, *shape)).astype(np.uint8)
    run = session(found.plain)
    given_type = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[run.get_inputs()[0].type]
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None), threads=1)
    (wanted,) = run.run(None, {"image": images.astype(given_type)})
    np.testing.assert_array_equal(result.scores.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_leaves_its_mark(form) -> None:
    """A form that changes nothing would test nothing."""
    steps = ("conv", "gemm", "qdq", "conv")
    models = [build(Plan((4, 4), 2, steps, 3, False, "scores", seed)) for seed in range(8)]
    changed = [dressed(model, form, seed).model for seed, model in enumerate(models)]
    assert any(new.SerializeToString() != old.SerializeToString() for new, old in zip(changed, models, strict=True))
