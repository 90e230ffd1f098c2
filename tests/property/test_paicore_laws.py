"""The law on a PAICORE 2.5: its words give the network's potentials, or a DoesNotFit that is true."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support import networks, random_graphs
from support.paicores import PAISIM, assert_equal, chip, compiled, levels_of, paisim_potentials

from chipsim.chip import PaicoreSpec
from qsnnc.errors import ModelError
from qsnnc.targets.paicore25 import CODINGS, Outcome

KINDS = ["conv", "strided", "padded", "depthwise", "maxpool", "latepool", "avgpool", "bias", "dense"]

recipes = st.builds(
    networks.Recipe,
    size=st.integers(4, 9),
    channels=st.integers(1, 4),
    k=st.integers(0, 2),
    levels=st.integers(1, 5),
    layers=st.lists(st.sampled_from(KINDS), max_size=4).map(tuple),
    outputs=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    odd=st.booleans(),
)
plans = st.builds(
    random_graphs.Plan,
    size=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    channels=st.integers(1, 4),
    steps=st.lists(st.sampled_from(random_graphs.STEPS), max_size=5).map(tuple),
    levels=st.integers(1, 5),
    signed=st.booleans(),
    ending=st.sampled_from(["scores", "levels"]),
    seed=st.integers(0, 2**32 - 1),
)
chips = st.one_of(
    st.just(chip()),
    st.builds(
        lambda rows, lcn, dead: chip(memory_rows=rows, max_lcn=lcn, dead_cores=dead),
        st.integers(16, 90),
        st.integers(0, 3),
        st.sampled_from([(), ((0, 2),), ((0, 4), (1, 2))]),
    ),
)


def hold(network: networks.Recipe | random_graphs.Plan, spec: PaicoreSpec, coding: str, *, keep_dead: bool) -> None:
    made = networks.build(network) if isinstance(network, networks.Recipe) else random_graphs.build(network)
    try:
        graph, done = compiled(made, spec, coding, keep_dead=keep_dead)
    except ModelError as error:  # every channel of a layer may come out dead
        assume(error.code != "constant-activation")
        raise
    if done.program is None:
        assert_true(done, spec)
        return
    assert_equal(graph, done.program, levels_of(graph, 3, network.seed))
    for entry in done.layers:
        assert entry.cores >= entry.bound


def assert_true(done: Outcome, spec: PaicoreSpec) -> None:
    """What a refusal says is so, by its own figures."""
    assert done.violations
    for violation in done.violations:
        assert violation.found > violation.allowed or violation.limit in ("layout", "cores"), violation
        if violation.code == "cores" and done.layers:
            assert sum(entry.cores for entry in done.layers) == violation.found
        if violation.code == "inputs":
            assert violation.allowed == spec.max_inputs
        if violation.code == "rows":
            assert violation.allowed == spec.memory_rows


@pytest.mark.slow
@settings(max_examples=60)
@given(recipes, chips, st.sampled_from(CODINGS), st.booleans())
# a pool of levels that never change: its largest takes them as they come
@example(networks.Recipe(4, 3, 2, 2, ("latepool", "padded", "conv"), 5, 312, odd=True), chip(), "value", False)
def test_random_networks(recipe: networks.Recipe, spec: PaicoreSpec, coding: str, keep_dead: bool) -> None:
    hold(recipe, spec, coding, keep_dead=keep_dead)


@pytest.mark.slow
@settings(max_examples=80)
@given(plans, chips, st.sampled_from(CODINGS), st.booleans())
# one tensor twice in a sum: two weights on one input
@example(random_graphs.Plan((3, 4), 3, ("grouped", "sums", "pad"), 4, signed=False, ending="levels", seed=49), chip(),
         "thermometer", False)  # fmt: skip
# a source of which one reader has run before it sends
@example(random_graphs.Plan((5, 5), 1, ("slice", "avgpool", "crop", "sums", "concat"), 3, signed=True, ending="scores",
                            seed=95), chip(), "thermometer", True)  # fmt: skip
def test_random_graphs(plan: random_graphs.Plan, spec: PaicoreSpec, coding: str, keep_dead: bool) -> None:
    hold(plan, spec, coding, keep_dead=keep_dead)


@pytest.mark.skipif(PAISIM not in os.environ, reason=f"paisim is not here: set {PAISIM} to a Python that has it")
@settings(max_examples=100)
@given(plans, st.sampled_from(CODINGS))
def test_paisim_says_the_same(plan: random_graphs.Plan, coding: str) -> None:
    """The chip team's own simulator; what it calls provisional (overflow, sampling, order of stages) is not silicon's word."""
    graph, done = compiled(random_graphs.build(plan), chip(), coding)
    assume(done.program is not None)
    assert done.program is not None
    levels = levels_of(graph, 2, plan.seed)
    from qsnnc.ir.execute import execute

    wanted = execute(graph, levels)[graph.layers[-1].name].reshape(2, -1)
    np.testing.assert_array_equal(paisim_potentials(done.program, levels), wanted)
