"""The verb `chipsim crosscheck`: what it takes, prints and exits with, whatever the other simulator is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from chipsim import crosscheck
from chipsim.cli import app
from chipsim.crosscheck import SIMULATORS, Crosscheck, Request
from chipsim.errors import InputError, UsageError

EQUAL = Crosscheck("peer", "Peer 1.2", 3, True, True, None, 0.5, "12 potentials")


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stand in for a simulator: it keeps the request and returns what it is told to."""
    found = SimpleNamespace(result=EQUAL, request=None)

    def check(request: Request) -> Crosscheck:
        found.request = request
        return found.result

    monkeypatch.setitem(SIMULATORS, "peer", ("peer_module", "a stand-in"))
    monkeypatch.setattr(crosscheck, "import_module", lambda name: SimpleNamespace(check=check))
    return found


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the stand-in is given: readable, and never read."""
    for name in ("m.map", "d.npz"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["crosscheck", *words], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.stdout


def test_equal_exits_0_and_says_what_was_compared(peer: SimpleNamespace) -> None:
    code, out = run("m.map", "--with", "peer", "--dataset", "d.npz", "--limit", "3")
    assert (code, out) == (0, "equal: 3 images on Peer 1.2 (12 potentials)\n")
    assert peer.request.file == "m.map"
    assert (peer.request.dataset, peer.request.data.limit, peer.request.python) == ("d.npz", 3, None)
    assert run("m.map", "--with", "peer", "--quiet") == (0, "")
    assert peer.request.dataset == "digits"


@pytest.mark.parametrize("field", ["potentials_equal", "spikes_equal", "cores_equal"])
def test_a_difference_exits_1_and_is_named(peer: SimpleNamespace, field: str) -> None:
    peer.result = replace(EQUAL, difference="image 0, core 2: 5 here, 6 there", **{field: False})
    for quiet in ((), ("--quiet",)):
        assert run("m.map", "--with", "peer", *quiet) == (1, "image 0, core 2: 5 here, 6 there\n")


def test_json_is_all_that_is_on_standard_output(peer: SimpleNamespace) -> None:
    code, out = run("m.map", "--with", "peer", "--json", "-")
    assert code == 0
    keys = ["with", "version", "images", "potentials_equal", "spikes_equal", "cores_equal", "seconds"]
    assert list(json.loads(out))[:7] == keys
    assert [json.loads(out)[key] for key in keys] == ["peer", "Peer 1.2", 3, True, True, None, 0.5]
    peer.result = replace(EQUAL, spikes_equal=False, difference="here")
    code, out = run("m.map", "--with", "peer", "--json", "-")
    assert (code, json.loads(out)["difference"]) == (1, "here")


def test_an_unknown_simulator_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--with: unknown simulator 'spice'; expected rtl") as caught:
        crosscheck.crosscheck("spice", Request("m.map"))
    assert caught.value.code == "option-value"


def test_a_simulator_that_cannot_be_had_exits_3() -> None:
    error = crosscheck.unavailable("peer", "is not installed", "pip install peer")
    assert isinstance(error, InputError)
    assert (str(error), error.exit_code) == ("peer: is not installed; pip install peer", 3)
