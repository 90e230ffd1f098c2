"""The saturation figure: the curves are the simulator's, the bound stands beside them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from chipsim.cli import app
from chipsim.errors import UsageError
from chipsim.report import saturation


def test_bound_and_zero_load() -> None:
    assert saturation.BOUND == 63 / 128
    assert saturation.ZERO_LOAD == 20


@pytest.mark.slow
def test_curves_rise_to_saturation_and_are_drawn() -> None:
    import matplotlib as mpl

    found = saturation.curves(cycles=300)
    for curve in found:
        assert curve.accepted[0] == pytest.approx(curve.offered[0], abs=0.005)
        assert curve.accepted[-1] < curve.offered[-1]
        assert max(curve.accepted) < saturation.BOUND
        assert curve.latency[0] == pytest.approx(saturation.ZERO_LOAD, abs=1)
    most = [max(curve.accepted) for curve in found]
    assert most == sorted(most)
    with mpl.rc_context({"svg.fonttype": "none"}):
        words = saturation.draw(found, "svg").decode()
    for shown in ("buffers of 16 flits", "63/128", "mean latency, cycles", "zero load, 20"):
        assert shown in words


@pytest.mark.parametrize("arguments", [["saturation", "run.json"], ["sops"]])
def test_files_where_they_belong(arguments: list[str]) -> None:
    found = CliRunner().invoke(app, ["plot", *arguments, "-o", "never.svg"])
    assert isinstance(found.exception, UsageError)
