"""Running a program of another environment: what it finds comes back, and what goes wrong is one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from chipsim.crosscheck import environment
from chipsim.crosscheck.environment import Package, interpreter, run
from chipsim.errors import InputError

DOUBLE = """
import sys, numpy as np
given = np.load(sys.argv[1])
print("progress 1 2", file=sys.stderr)
print("a warning", file=sys.stderr)
np.savez(sys.argv[2], twice=2 * given["value"])
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "RUNNERS", tmp_path)

    def write(text: str) -> str:
        (tmp_path / "peer.py").write_text(text)
        return "peer.py"

    return write


@pytest.mark.slow
def test_arrays_go_in_and_come_back(runner) -> None:
    seen = []
    found = run(Path(sys.executable), runner(DOUBLE), {"value": np.arange(3)}, lambda *at: seen.append(at))
    assert found["twice"].tolist() == [0, 2, 4]
    assert seen == [(1, 2)]


def test_a_program_that_stops_is_one_line(runner) -> None:
    with pytest.raises(InputError, match=r"^peer: stopped with ValueError: no such core$"):
        run(Path(sys.executable), runner("raise ValueError('no such core')"), {"value": np.arange(3)})


def test_an_interpreter_is_taken_as_it_is() -> None:
    assert interpreter(Package("numpy", "0.0"), sys.executable, print) == Path(sys.executable)


@pytest.mark.parametrize(
    ("python", "text"),
    [
        ("no-such-python", r"^no-such-package: no-such-python cannot be run \(No such file or directory\); "),
        (sys.executable, r"^no-such-package: .* does not have it; install it there "),
    ],
)
def test_an_interpreter_without_the_package_is_refused(python: str, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        interpreter(Package("no-such-package", "1.0"), python, print)
    assert (caught.value.code, caught.value.exit_code) == ("crosscheck-unavailable", 3)


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cache_directory", lambda: tmp_path / "envs")
    monkeypatch.setattr(environment, "_install", lambda python, wanted: "ERROR: no index")
    told: list[str] = []
    with pytest.raises(InputError, match=r"^peer: pip cannot install it \(ERROR: no index\); connect to"):
        interpreter(Package("peer", "1.0", ("numpy",)), None, told.append)
    assert told[0].startswith("peer: installing peer==1.0, numpy in ")
    assert list((tmp_path / "envs").iterdir()) == []


@pytest.mark.slow
def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    monkeypatch.setattr(environment, "cache_directory", lambda: tmp_path)
    monkeypatch.setattr(environment, "_install", lambda python, wanted: made.append(python) or "")
    told: list[str] = []
    first = interpreter(Package("peer", "1.0"), None, told.append)
    assert interpreter(Package("peer", "1.0"), None, told.append) == first
    assert (len(made), len(told), first.is_file()) == (1, 1, True)


def test_the_product_imports_no_other_licence() -> None:
    """Only the programs that run in a process of their own name the packages."""
    package = Path(environment.__file__).parents[1]
    naming = {path for path in package.rglob("*.py") for word in ("paisim", "paicorelib", "sanafe") if _imports(path, word)}
    assert {path.parent for path in naming} == {environment.RUNNERS}


def _imports(path: Path, package: str) -> bool:
    lines = path.read_text("utf-8").splitlines()
    return any(line.split()[:2] in (["import", package], ["from", package]) for line in map(str.strip, lines))
