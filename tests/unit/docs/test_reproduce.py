"""docs/reproduce.md: its training commands are accepted, its files exist, its logs are those that are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chipsim.report.logs import batch_logs
from models.train import parse

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reproduce.md").read_text()
COMMANDS = sorted(set(re.findall(r"python -m models\.train ([^`\n]*)", PAGE)))


def test_training_commands_are_accepted() -> None:
    assert len(COMMANDS) >= 5
    for command in COMMANDS:
        options = parse(shlex.split(command))
        assert options.mode in ("training", "export", "inference")


def test_files_that_it_names_exist() -> None:
    for name in set(re.findall(r"models/[\w-]+\.onnx", PAGE)) | set(re.findall(r"\]\((?!http)([^)]+)\)", PAGE)):
        assert (ROOT / name).exists() or (ROOT / "docs" / name).exists(), name


@pytest.mark.slow
def test_the_three_logs_are_named(lenet) -> None:
    import chipsim

    result = chipsim.run(lenet.mapping, "digits", limit=3, per_image=True)
    for name in batch_logs(result):
        assert f"| `{name}` |" in PAGE
