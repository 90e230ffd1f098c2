""".ci/pythons.py finds the interpreters of the versions that setup.cfg names and says which are missing."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.places import ROOT


@pytest.fixture
def pythons() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / ".ci" / "pythons.py")))


def program(path: Path, says: str, code: int = 0) -> Path:
    """A stand-in for an interpreter, which prints its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_versions_are_those_of_the_classifiers(pythons) -> None:
    named = (
        "[metadata]\nclassifiers =\n    Programming Language :: Python :: 3\n    Programming Language :: Python :: 3.12\n"
    )
    assert pythons.versions(named) == ["3.12"]
    here = pythons.versions((ROOT / "setup.cfg").read_text())
    assert here[0] == "3.11"
    assert len(here) >= 3


def test_interpreters_that_do_not_run_are_passed_over(pythons, tmp_path, monkeypatch) -> None:
    """A shim of an inactive version exits with 127; of pyenv's releases the newest is taken."""
    program(tmp_path / "shims" / "python3.12", "not found", 127)
    program(tmp_path / "bin" / "python3.12", "3.11")
    program(tmp_path / "pyenv/versions/3.12.9/bin/python3.12", "3.12")
    newest = program(tmp_path / "pyenv/versions/3.12.10/bin/python3.12", "3.12")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert pythons.interpreter("3.12") == newest
    mine = program(tmp_path / "last" / "python3.12", "3.12")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'last'}")
    assert pythons.interpreter("3.12") == mine


def test_none_found_is_a_failure_and_each_missing_version_is_named(pythons, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pythons.py"])
    assert pythons.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"Python {v}: missing on this machine" for v in pythons.versions((ROOT / "setup.cfg").read_text())]
