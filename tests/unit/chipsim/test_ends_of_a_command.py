"""How a command ends: what cannot be shown is escaped, a report is whole or not there, signals clean up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.command_line import PROCESS
from support.hand_mappings import two_cores

from chipsim import bug_report, numbers, ranges
from chipsim.environment import tame_environment
from chipsim.errors import UsageError
from chipsim.faults import KINDS
from chipsim.mapping import write_mapping
from chipsim.options import FAULTS


def test_a_report_survives_names_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["chipsim", "caf\udce9"])
    said = bug_report.write(ValueError("\udcff"), "chipsim")
    (path,) = tmp_path.iterdir()
    assert said == f"with {path}"
    assert "caf\\udce9" in path.read_text()
    assert bug_report.write(Silent(), "chipsim").startswith("with ")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert bug_report.write(ValueError(), "chipsim") == "(no report could be written: FileNotFoundError)"


def test_a_report_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "unlink", os.unlink)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left")

    monkeypatch.setattr("builtins.open", full)
    assert "no report could be written" in bug_report.write(ValueError(), "chipsim")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "kept"),
    [("99999999", "500"), ("1", "20"), ("80", "80"), ("²", None), ("-5", None), ("", None), ("0" * 99, "20")],
)
def test_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch, given: str, kept: str | None) -> None:
    monkeypatch.setenv("COLUMNS", given)
    monkeypatch.setenv("TERMINAL_WIDTH", "wide")
    tame_environment()
    assert os.environ.get("COLUMNS") == kept
    assert "TERMINAL_WIDTH" not in os.environ


def test_numbers_have_ranges() -> None:
    parse = numbers.whole("Images.", "--limit", most=9).parser
    assert [parse(each) for each in ("1", " 9 ", 5)] == [1, 9, 5]
    for wrong in ("0", "10", "", "ten", "2.0", "1e3", "٣", "9" * 5000, "nan"):
        with pytest.raises(UsageError, match=r"^--limit: is .*; allowed: a whole number from 1 to 9$") as error:
            parse(wrong)
        assert len(str(error.value)) < 120
    parse = numbers.real("Share.", "--noise", least=0, most=1).parser
    assert parse("1e-3") == 0.001
    for wrong in ("nan", "inf", "-1", "1.1", "x"):
        with pytest.raises(UsageError, match=r"^--noise: is .*; allowed: a number from 0 to 1$"):
            parse(wrong)
    assert numbers.said(ranges.SEED) == "2^63 - 1"


def test_help_names_the_kinds_of_faults_that_there_are() -> None:
    assert FAULTS == KINDS


WRITER = (
    "import sys, time, chipsim.report.tables as t\n"
    "def slow(result, out, *rest):\n    out.write(b'x'); out.flush(); print('here', flush=True); time.sleep(60)\n"
    "t.write_outputs = slow\n"
    "sys.argv = ['chipsim', 'run', 'm.map', '--dataset', 'd.npz', '--outputs', 'o.npz', '--quiet']\n"
    "from chipsim.start import main; main()"
)


def ends_at_once(code: str) -> None:
    """Nothing follows the signal but one line."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.slow
def test_a_signal_in_a_destructor_ends_the_command() -> None:
    code = """
import os, signal
from chipsim.terminal import run_program

class Ends:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

def main():
    del globals()["ends"]
    print("went on", flush=True)

ends = Ends()
run_program(main, "chipsim")
"""
    ends_at_once(code)


@pytest.mark.slow
def test_what_a_signal_leaves_half_made_says_nothing() -> None:
    """Its destructor fails as the object was never finished: one line is printed, not a traceback."""
    code = """
import os, signal
from chipsim.terminal import run_program

class Half:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGHUP)
        self.made = True

    def __del__(self):
        del self.made

def main():
    Half()
    print("went on", flush=True)

run_program(main, "chipsim")
"""
    ends_at_once(code)


@pytest.mark.slow
@pytest.mark.parametrize(("when", "line"), [("before", "interrupted"), ("after", "a.npz: is empty")])
def test_a_signal_at_an_error_leaves_one_line(when: str, line: str) -> None:
    code = f"""
import os, signal
from chipsim import terminal
from chipsim.errors import InputError

class Struck(InputError):
    def shown(self):
        if "{when}" == "before":
            os.kill(os.getpid(), signal.SIGINT)
        return "a.npz: is empty"

def main():
    raise Struck("a.npz", "is empty", code="dataset-npz")

tell = terminal._tell
def told(line):
    tell(line)
    if "{when}" == "after":
        os.kill(os.getpid(), signal.SIGINT)

terminal._tell = told
terminal.run_program(main, "chipsim")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", f"{line}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_clean_up(tmp_path: Path, number: int) -> None:
    import numpy as np

    write_mapping(two_cores().build(), tmp_path / "m.map")
    np.savez(tmp_path / "d.npz", images=np.array([[2, 0], [2, 1]], np.float32))
    before = sorted(path.name for path in tmp_path.iterdir())
    job = subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with job:
        assert job.stdout is not None
        assert job.stdout.readline() == b"here\n"
        assert len(list(tmp_path.iterdir())) == len(before) + 1
        job.send_signal(number)
        _, errors = job.communicate(timeout=60)
    assert (job.returncode, errors) == (130, b"interrupted\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.slow
def test_an_interrupt_during_shutdown_prints_one_line() -> None:
    code = (
        "import sys, threading, time\nthreading.Thread(target=time.sleep, args=(30,)).start()\n"
        "sys.argv = ['chipsim', '--version']\nfrom chipsim.start import main; main()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        assert job.stdout is not None
        job.stdout.readline()
        time.sleep(0.5)  # the interpreter waits for the thread
        job.send_signal(signal.SIGINT)
        _, errors = job.communicate(timeout=20)
    assert (job.returncode, errors) == (130, b"interrupted\n")


@pytest.mark.slow
def test_no_library_speaks_before_us(tmp_path: Path) -> None:
    """onnxruntime and matplotlib where no home can be written: no line, no file in the temporary folder."""
    import numpy as np

    write_mapping(two_cores().build(), tmp_path / "m.map")
    np.savez(tmp_path / "d.npz", images=np.array([[2, 0], [2, 1]], np.float32), labels=np.array([0, 1]))
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "HOME": "/proc/1", "TMPDIR": str(tmp_path / "temporary"), "MPLBACKEND": "nonsense"}
    words = [
        "sweep",
        "m.map",
        "--dataset",
        "d.npz",
        "--fault",
        "noise",
        "--rates",
        "0.1",
        "--seeds",
        "1",
        "--plot",
        "p.svg",
        "-q",
    ]
    done = subprocess.run([*PROCESS["chipsim"], *words], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_cannot_show_is_escaped(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "c.yaml").write_text("base: mini\nname: eigen-→\n", "utf-8")
    name = os.fsencode(tmp_path) + b"/caf\xe9.yaml"
    os.link(tmp_path / "c.yaml", name)
    for words in (["chips", "c.yaml"], ["chips", "c.yaml", "--yaml"], ["chips", name]):
        done = subprocess.run(
            [*PROCESS["qsnnc"], *words], cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"eigen-" in done.stdout
