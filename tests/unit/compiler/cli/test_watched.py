"""What a command says while it works: notes on the file with --verbose, and what it is doing if that takes long."""

from __future__ import annotations

import time

import pytest
from support.command_line import qsnnc
from support.published import moved, qonnx

from chipsim import terminal


@pytest.mark.slow
@pytest.mark.parametrize("words", [("check",), ("verify",), ("compile", "-o", "out.map")])
def test_verbose_says_what_was_changed(words, save, tmp_path) -> None:
    path = save(qonnx('"" : 9'))
    verb, *options = words
    done = qsnnc(verb, path, *options, "--verbose", cwd=tmp_path)
    assert done.returncode == 0
    assert "the import of domain 'qonnx.custom_op.general', which the file lacks, is supplied: version 1" in done.stderr
    assert "the model is converted from opset 9 to 11, which Quant needs" in done.stderr
    assert "supplied" not in qsnnc(verb, path, *options, cwd=tmp_path).stderr


def test_what_takes_long_is_named(monkeypatch, capfd) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.01)
    with terminal.watched() as tell:
        tell("partition conv1 (1 of 3 layers)")
        for _ in range(500):
            time.sleep(0.01)
            if capfd.readouterr().err.startswith("still working: partition conv1 (1 of 3 layers), "):
                return
    pytest.fail("nothing was said")


def test_a_quiet_command_says_nothing(monkeypatch, capfd) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.001)
    with terminal.watched(quiet=True) as tell:
        tell("partition")
        time.sleep(0.05)
    assert not capfd.readouterr().err


@pytest.mark.slow
def test_a_network_far_beyond_the_chip_is_only_estimated(save, tmp_path) -> None:
    """It takes seconds, however many neurons it has."""
    done = qsnnc("check", save(moved("levels first", 120)), "--chip", "mini", cwd=tmp_path)
    assert done.returncode == 4
    assert "estimated from shapes and level ranges" in done.stdout
