"""The law on random networks in the forms of published files: chipsim(compile(net))(x) == onnxruntime(net)(x), to the bit.

Some hundred are drawn here; `HYPOTHESIS_PROFILE=many` draws ten thousand.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.forms import APART, FORMS, OTHER_NUMBERS, dressed
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
#: up to two forms that make another network and up to two that only write it differently
forms = (
    st.tuples(
        st.lists(st.sampled_from(OTHER_NUMBERS), max_size=2, unique=True),
        st.lists(st.sampled_from([form for form in FORMS if form not in OTHER_NUMBERS]), max_size=2, unique=True),
    )
    .map(lambda drawn: tuple(drawn[0] + drawn[1]))
    .filter(lambda drawn: not any(pair <= set(drawn) for pair in APART))
)


@pytest.mark.slow
@settings(max_examples=max(150, settings().max_examples))
@given(plans, forms)
# an activation that turns, its levels handed over: directly, and behind max pools
@example(Plan((5, 4), 3, ("padone", "valley"), 2, signed=True, ending="argmax", seed=2484846569), ("float end",))
@example(Plan((3, 3), 1, ("slice", "valley", "maxpool", "maxpool"), 2, True, "argmax", 3515871609), ("float end", "quants"))
# rounding without a clip behind a max pool, moved sums, and a transposed convolution
@example(Plan((5, 2), 1, ("latepool", "maxpool", "add"), 2, signed=False, ending="scores", seed=2712169683), ("unclipped",))
@example(Plan((4, 3), 2, ("moved", "add"), 1, signed=False, ending="scores", seed=870971020), ("unclipped",))
@example(Plan((3, 3), 2, ("deconv",), 1, signed=False, ending="scores", seed=2168973716), ("unclipped",))
# levels and the same levels scaled, handed over together
@example(
    Plan((3, 2), 1, ("requantize", "concat", "slice"), 3, signed=True, ending="levels", seed=3705237826), ("float end",)
)
# the average of one channel of two, which a matrix reads
@example(Plan((3, 3), 2, ("same", "split", "openavg"), 1, signed=False, ending="scores", seed=1926124120), ("spelt",))
def test_a_network_in_published_forms(plan: Plan, forms: tuple[str, ...]) -> None:
    found = dressed(build(plan), forms, plan.seed)
    try:
        done = check(found.model, CHIP)
    except ModelError as error:
        assume(error.code not in FAIR.union(*(OF_FORM.get(form, ()) for form in forms)))
        raise
    assume("unclipped" not in forms or done.fits)  # many values make many neurons
    assume({v.code for v in done.violations} != {"weight-bits"})
    assert done.fits, done.violations
    shape = tuple(dim.dim_value for dim in found.plain.graph.input[0].type.tensor_type.shape.dim)[1:]
    images = np.random.default_rng(plan.seed).integers(0, 256, (4, *shape)).astype(np.uint8)
    run = session(found.plain)
    given_type = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[run.get_inputs()[0].type]
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None), threads=1)
    (wanted,) = run.run(None, {"image": images.astype(given_type)})
    scores = result.scores.reshape(wanted.shape)
    if "float end" in forms and result.readout == "chip":  # single weights lie on a grid of their own: float sums, tested
        np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(scores, wanted)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_leaves_its_mark(form) -> None:
    """A form that changes nothing would test nothing."""
    steps = ("conv", "gemm", "qdq", "conv")
    models = [build(Plan((4, 4), 2, steps, 3, False, "scores", seed)) for seed in range(8)]
    changed = [dressed(model, (form,), seed).model for seed, model in enumerate(models)]
    assert any(new.SerializeToString() != old.SerializeToString() for new, old in zip(changed, models, strict=True))
