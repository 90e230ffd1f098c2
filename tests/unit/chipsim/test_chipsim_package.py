"""What ``import chipsim`` offers: public names, types, and options that are declared once."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from support.hand_mappings import two_cores

import chipsim
from chipsim import options

DATA = chipsim.Dataset("by hand", "test", np.array([[2, 0], [2, 1]], np.float32))


def test_dir_lists_the_public_names_and_each_is_there() -> None:
    assert dir(chipsim) == sorted(chipsim.__all__)
    for name in dir(chipsim):
        assert getattr(chipsim, name) is not None
    assert {"ReportedError", "UsageError", "InputError", "MappingError", "MappingBuilder", "run"} <= set(dir(chipsim))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = chipsim.nothing


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import chipsim, sys; dir(chipsim); print({'numpy', 'onnx', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_package_is_typed() -> None:
    assert (Path(importlib.util.find_spec("chipsim").origin).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", ["Data", "Engine", "Run"])
def test_keywords_are_the_fields_of_the_options(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from chipsim.chip.avoid import Source as Avoid
    from chipsim.datasets import Split
    from chipsim.faults.spec import Source as Faults

    for key, value in {"Avoid": Avoid, "Split": Split, "Faults": Faults, "Path": Path}.items():
        monkeypatch.setattr(options, key, value, raising=False)  # imported for type checkers only
    value, keywords = getattr(options, f"{name}Options"), getattr(options, f"{name}Keywords")
    hints = get_type_hints(value)
    assert get_type_hints(keywords) == {entry.name: hints[entry.name] for entry in fields(value)}


def test_keywords_take_precedence_over_the_value() -> None:
    given = chipsim.RunOptions(limit=1, threads=1)
    mapping = two_cores().build()
    assert chipsim.run(mapping, DATA, given).images == 1
    assert chipsim.run(mapping, DATA, given, limit=2).images == 2
    assert chipsim.profile(mapping, DATA, given).images == 1


def test_an_unknown_keyword_is_an_error() -> None:
    for call in (chipsim.run, chipsim.profile, chipsim.history):
        with pytest.raises(TypeError, match="threds"):
            call(two_cores().build(), DATA, threds=2)
    with pytest.raises(TypeError, match="noise"):
        chipsim.sweep(two_cores().build(), DATA, ["dead_cores"], [0.1], noise=0.1)


@pytest.mark.parametrize(
    ("change", "code", "subject"),
    [
        ({"limit": 0}, "option-value", "--limit"),
        ({"split": "all"}, "option-value", "--split"),
        ({"threads": 0}, "option-value", "--threads"),
        ({"batch": 0}, "option-value", "--batch"),
        ({"engine": "quick"}, "option-value", "--engine"),
        ({"noise": 1.5}, "option-value", "--noise"),
        ({"seed": -1}, "option-value", "--seed"),
    ],
)
def test_a_value_out_of_range_is_refused_when_it_is_given(change: dict[str, object], code: str, subject: str) -> None:
    with pytest.raises(chipsim.UsageError) as caught:
        chipsim.RunOptions(**change)
    assert (caught.value.code, caught.value.subject) == (code, subject)
