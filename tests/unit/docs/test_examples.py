"""Examples in README.md and docs/: Python is type-checked and run, and so are shell commands that are quick.

An HTML comment on the line before a block says why it is not run: ``<!-- not run: REASON -->``. Sessions (``console``), which
show what is printed, have a test of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
PROGRAMS = re.compile(r"(qsnnc|chipsim|python|pip|make|printf|\w+\(\) \{)[ $]")
COMMITTED = ("benchmarks", "chipsim", "compiler", "docs", "mappings", "models", "results")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str  # python, shell or ""
    body: str
    reason: str  # why it is not run

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text, found = page.read_text(), []
    for match in BLOCK.finditer(text):
        kind, body = match["kind"], match["body"]
        if kind in ("sh", "bash") or (not kind and PROGRAMS.match(body)):
            kind = "shell"
        line = text[: match.start("body")].count("\n")
        found.append(Block(str(page.relative_to(ROOT)), line, kind, body, match["reason"] or ""))
    return found


#: errors.md holds what causes errors: tests/unit/chipsim/test_explain.py runs it
ALL = [block for page in PAGES if page.name != "errors.md" for block in blocks(page)]
RUN = [block for block in ALL if not block.reason]
PYTHON = [block for block in RUN if block.kind == "python"]
SHELL = [block for block in RUN if block.kind == "shell"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the committed files, into which examples may write."""
    for name in COMMITTED:
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def succeed(command: list[str], folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    sources = os.pathsep.join([str(ROOT / "compiler"), str(ROOT)])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": sources, "MYPYPATH": sources, "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_examples_and_every_comment_belongs_to_one() -> None:
    assert len(PYTHON) >= 5
    assert SHELL
    comments = sum(page.read_text().count("<!-- not run:") for page in PAGES)
    assert comments == sum(bool(block.reason) for block in ALL)


@pytest.mark.slow
def test_python_is_typed(tmp_path: Path) -> None:
    """All at once, with the settings and the cache of ``make lint``, which are strict."""
    for number, block in enumerate(PYTHON):
        name = re.sub(r"\W", "_", f"{block.page}_{block.line}_{number}")
        (tmp_path / f"{name}.py").write_text(block.body)
    succeed([sys.executable, "-m", "mypy", *sorted(map(str, tmp_path.glob("*.py")))], ROOT)


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_runs(block: Block, folder: Path) -> None:
    (folder / "example.py").write_text(block.body)
    succeed([sys.executable, "example.py"], folder)


@pytest.mark.slow
@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_run(block: Block, folder: Path) -> None:
    succeed(["bash", "-euo", "pipefail", "-c", block.body], folder)
