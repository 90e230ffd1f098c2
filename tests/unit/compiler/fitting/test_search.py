"""The search over ladders, and which changes are reported, on made-up costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipsim.chip import load_chip
from qsnnc.fitting.change import Change
from qsnnc.fitting.compiled import Fitting, Measured, Refused
from qsnnc.fitting.edit import Narrowed
from qsnnc.fitting.fit import _Search
from qsnnc.fitting.ladders import Climb, Ladder, Rung
from qsnnc.fitting.pareto import MOST, beats, chosen_of
from qsnnc.fitting.search import mildest

#: errors of the rungs of each ladder, rising
ERRORS = st.lists(st.lists(st.integers(0, 9), max_size=3).map(sorted), min_size=1, max_size=4)


@settings(max_examples=60)
@given(errors=ERRORS, savings=st.lists(st.integers(1, 9), min_size=12, max_size=12), wanted=st.integers(0, 60))
def test_a_climb_fits_and_no_ladder_can_be_climbed_down(errors, savings, wanted) -> None:
    ladders = [Ladder(str(i), "levels", tuple(Rung(float(e)) for e in rungs)) for i, rungs in enumerate(errors)]

    def fits(climb: Climb) -> bool:
        return sum(sum(savings[3 * at : 3 * at + height]) for at, height in enumerate(climb)) >= wanted

    found = mildest(ladders, fits)
    tops = tuple(len(ladder.rungs) for ladder in ladders)
    if found is None:
        assert not any(tops) or not fits(tops)
        return
    assert fits(found)
    for at, height in enumerate(found):
        assert not height or not fits((*found[:at], height - 1, *found[at + 1 :]))
    # no climb of smaller largest error fits
    worst = max((ladder.rungs[h - 1].error for ladder, h in zip(ladders, found, strict=True) if h), default=-1.0)
    for other in product(*(range(top + 1) for top in tops)):
        if fits(other) and not fits(tuple(0 for _ in tops)):
            assert max(ladder.rungs[h - 1].error for ladder, h in zip(ladders, other, strict=True) if h) >= worst


def fitting(
    cores: int, lost: float, host: float = 0.0, changed: int = 0, chip: str = "xbar1152", **change: object
) -> Fitting:
    measured = Measured("train", 100, 0.9 - lost, lost, changed, lost)
    made = Change(narrowed={"a": Narrowed(cores)}) if not change else Change(**change)  # type: ignore[arg-type]
    return Fitting(made, load_chip(chip), cores, cores, True, host, None, measured, None)


def test_what_another_change_beats_is_not_reported() -> None:
    good, worse, hosted = fitting(10, 0.01), fitting(20, 0.02), fitting(5, 0.0, host=0.5)
    assert beats(good, worse)
    assert not beats(hosted, good)  # it leaves half of the network to the host
    assert not beats(fitting(10, 0.01), fitting(10, 0.01))
    other = fitting(30, 0.0, chip="mini", grid=(9, 9))
    assert not beats(good, other)  # the cores of two chips are not compared
    assert chosen_of([worse, good, hosted, other]) == [other, hosted, good]


def test_without_images_a_milder_narrowing_is_worth_its_cores() -> None:
    mild, strong, worse = (
        replace(fitting(cores, 0.0), calibration=None, narrowing=error)
        for cores, error in ((30, 0.01), (10, 0.1), (31, 0.02))
    )
    assert chosen_of([strong, worse, mild]) == [mild, strong]


def test_at_most_five_are_reported_and_the_costliest_narrowings_go() -> None:
    many = [fitting(100 - i, i / 100) for i in range(8)]
    grid = fitting(200, 0.0, chip="mini", grid=(9, 9))
    found = chosen_of([*many, grid])
    assert len(found) == MOST
    assert grid in found
    assert [each.cores for each in found if each is not grid] == [100, 99, 98, 97]


@pytest.mark.parametrize("others", [True, False])
def test_a_ruined_network_is_reported_only_where_nothing_else_fits(others) -> None:
    ruined, fine = fitting(1, 0.8, changed=80), fitting(9, 0.1, changed=10)
    assert chosen_of([ruined, fine] if others else [ruined]) == ([fine] if others else [ruined])


@pytest.mark.parametrize("wanted", [*range(1, 12), 60, 61])
def test_as_few_layers_as_possible_are_left_to_the_host_in_few_compiles(wanted: int) -> None:
    names = [f"layer{number}" for number in range(60)]
    tried: list[str] = []

    def compile_(change: Change) -> Fitting | Refused:
        assert change.encoder is not None
        tried.append(change.encoder)
        fits = names.index(change.encoder) + 1 >= wanted
        return fitting(1, 0.0, encoder=change.encoder) if fits else Refused(change, ())

    compiler = SimpleNamespace(
        options=SimpleNamespace(encoder="host"), compile=compile_, model=None,
        graph=SimpleNamespace(layers=[SimpleNamespace(name=name) for name in names]),
    )  # fmt: skip
    search = _Search(compiler, (), None, lambda done, total: None)  # type: ignore[arg-type]
    with mock.patch("qsnnc.fitting.fit.linear_layers", return_value=names):
        found = list(search.encoders())
    assert [each.change.encoder for each in found] == ([names[wanted - 1]] if wanted <= 60 else [])
    assert len(tried) == len(set(tried)) <= 12
