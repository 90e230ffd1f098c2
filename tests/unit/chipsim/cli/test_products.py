"""Where products go, what is not written over, and options that would do nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.command_line import unlabelled
from support.hand_mappings import two_cores

from chipsim import reads_writes, terminal
from chipsim.errors import InputError, UsageError
from chipsim.files import write_atomically
from chipsim.mapping import write_mapping
from chipsim.paths import check_output

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call a command in a directory with a mapping and data for it: exit code, standard output and error."""
    write_mapping(two_cores().build(), tmp_path / "m.map")
    images = np.array([[2, 0], [2, 1], [0, 2]], np.float32)
    np.savez(tmp_path / "d.npz", images=images, labels=np.array([0, 1, 1]))
    np.savez(tmp_path / "large.npz", images=images * 1e30)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        import chipsim.cli
        import qsnnc.cli

        monkeypatch.setattr(sys, "argv", list(words))
        with pytest.raises(SystemExit) as left:
            (qsnnc.cli if words[0] == "qsnnc" else chipsim.cli).main()
        return int(left.value.code or 0), *capfd.readouterr()

    return run


RUN = ("chipsim", "run", "m.map", "--dataset", "d.npz")
SWEEP = ("chipsim", "sweep", "m.map", "--fault", "noise", "--rates", "0.1", "--dataset", "d.npz")
REFUSED = {
    (*RUN, "--json", "m.map"): "--json: m.map is also an input",
    (*RUN, "--json", "./d.npz"): "--json: ./d.npz is also an input",
    (*RUN, "--json", "a", "--outputs", "./a"): "--outputs: ./a is also the file of --json",
    (*RUN, "--timing-images", "5"): "--timing-limit: needs --timing cycle or",
    (*SWEEP, "--published"): "--published: needs --plot",
    (*SWEEP, "--seed", str((1 << 63) - 1), "--seeds", "2"): "--seed: is 9223372036854775808; allowed: 0 to",
    (*SWEEP, "--seeds", "0"): "--seeds: is 0; allowed: a whole number from 1 to 100,000",
    ("chipsim", "plot", "map", "m.map", "--published", "-o", "a.svg"): "--published: applies to faults only",
    ("chipsim", "trace", "m.map", "--dataset", "d.npz", "-o", "m.map"): "--output: 'm.map' does not end",
    ("chipsim", "area", "m.map", "--json", "m.map"): "--json: m.map is also an input",
    ("qsnnc", "inspect", "m.map", "--json", "m.map"): "--json: m.map is also an input",
    ("qsnnc", "compile", "m.map", "-o", "m.map"): "-o: m.map is also an input",
    (
        "qsnnc",
        "compile",
        "m.onnx",
        "-o",
        "x",
        "--calibrate-images",
        "5",
    ): "--limit: has no effect without --calibrate",
    ("chipsim", "runn"): "chipsim: No such command 'runn'. Did you mean 'run'? Try --help.\n",
    (*RUN, "--noise", "ten"): "--noise: is 'ten'; allowed: a number from 0 to 1\n",
    ("qsnnc", "chips", ""): "NAME: unknown chip ''",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_meant_is_a_usage_error(call: Call, words: tuple[str, ...]) -> None:
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    code, out, err = call(*words)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert unlabelled(err).startswith(REFUSED[words])
    assert "Input should be" not in err
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_a_directory_of_logs_is_refused_before_the_mapping_is_read(call: Call) -> None:
    code, _, err = call("chipsim", "run", "none.map", "--dataset", "d.npz", "--logs", "none/logs")
    assert code == 3
    assert unlabelled(err) == "none/logs: cannot be written: there is no directory none; choose another path\n"


@pytest.mark.slow
def test_a_command_alone_shows_its_help(call: Call) -> None:
    code, out, err = call("chipsim")
    assert (code, err) == (2, "")
    assert "Usage: chipsim" in out


def test_images_that_are_no_pixels_are_named(call: Call) -> None:
    for engine in ("fast", "reference"):
        code, _, err = call("chipsim", "run", "m.map", "--dataset", "large.npz", "--batch", "2", "--engine", engine)
        assert code == 3
        assert unlabelled(err).startswith(
            "large.npz, images 0 to 1: contain values that the mapping's encoder does not take"
        )


@pytest.mark.slow
def test_a_timed_run_of_a_broken_chip_is_broken_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    import chipsim.engine.setup as setup

    broken = []

    def inflict(*given: object) -> object:
        broken.append(given)
        return whole(*given)

    whole = setup.inflict
    monkeypatch.setattr(setup, "inflict", inflict)
    Path("f.yaml").write_text("stuck_synapses: {rate: 0.1, at: 1}\n")
    code, _, err = call(*RUN, "--faults", "f.yaml", "--timing", "ideal", "--quiet")
    assert (code, err, len(broken)) == (0, "", 1)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="devices")
def test_a_device_is_written_into() -> None:
    check_output(os.devnull)
    write_atomically(os.devnull, b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(InputError, match=r"^/dev/full: cannot be written: No space left"):
        write_atomically("/dev/full", b"x")
    with open("/dev/full", "wb") as full:
        code = "import sys; sys.argv[1:] = ['chips']; from qsnnc.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 3
    assert unlabelled(done.stderr).startswith(
        b"standard output or a temporary file: cannot be written: No space left on device; free some space"
    )
    assert done.stderr.count(b"\n") == 1


def test_a_closed_standard_output_takes_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(InputError, match=r"^standard output: is closed; write to a file"):
        reads_writes.check([], {"--json": "-"})
    reads_writes.check([], {"--json": None})
    terminal.show("a summary that nobody wants")


def test_one_product_on_standard_output() -> None:
    with pytest.raises(UsageError, match="only one output"):
        reads_writes.check([], {"--json": "-", "-o": "-"})


def test_an_error_is_one_line_whatever_a_file_is_called() -> None:
    assert str(InputError("a\nb\x1b[31m.map", "is\nnone", code="x")) == r"a\nb\x1b[31m.map: is none"


def test_a_table_obeys_no_name_and_cuts_no_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.table import Table

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    table = Table.grid(padding=2)
    table.add_row("\x1b[2Jconv1", *["1,234,567"] * 9)
    terminal.show(table, "\x1b[2Jdone\nand more")
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    assert shown.splitlines()[0].count("1,234,567") == 9
    assert shown.splitlines()[0].startswith("\\x1b[2Jconv1")
    assert shown.endswith("\\x1b[2Jdone\nand more\n")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_while_libraries_load() -> None:
    code = "import os, signal, time; from chipsim.start import watch; watch(); os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, b"interrupted\n")
