"""The page for users of other tools: its commands, and those of verify, print what it says, and its messages exist."""

from __future__ import annotations

import ast
import re
import shlex

import pytest
from support.command_line import call_text
from support.places import ROOT

PAGE = (ROOT / "docs" / "bring-your-own-network.md").read_text()
VERIFY = (ROOT / "docs" / "verify-and-check.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
SESSIONS = re.findall(r"```console\n(.*?)```", PAGE + VERIFY, re.DOTALL)


def commands(session: str) -> list[tuple[list[str], list[str]]]:
    """Each command and the lines that it is said to print; ``...`` stands for any."""
    parts = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    return [(shlex.split(part.splitlines()[0], comments=True), part.splitlines()[1:]) for part in parts]


def matches(said: list[str], printed: list[str]) -> bool:
    pattern = "".join("(.*\n)*?" if line == "..." else re.escape(line.rstrip()) + r"\s*\n" for line in said)
    return re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in printed)) is not None


@pytest.mark.slow
@pytest.mark.parametrize("session", SESSIONS, ids=lambda body: body.splitlines()[0][2:50])
def test_commands_print_what_the_page_says(session, tmp_path) -> None:
    for words, said in commands(session):
        program, *rest = (str(tmp_path / word) if word == "net.map" else word for word in words)
        done = call_text(program, *rest, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert matches(said, done.stdout.splitlines()), done.stdout


def test_scripts_are_python() -> None:
    scripts = [body for kind, body in BLOCKS if kind == "python"]
    assert len(scripts) == 4
    for body in scripts:
        ast.parse(body)


def test_messages_of_the_table_exist() -> None:
    rows = re.findall(r"^\| `([^`]+)`", PAGE.split("## What the error messages mean")[1], re.MULTILINE)
    sources = [path.read_text() for folder in ("compiler", "chipsim") for path in (ROOT / folder).rglob("*.py")]
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))
    assert len(rows) >= 10
    for row in rows:
        words = [part.strip() for part in re.split(r"\.\.\.|'\.\.\.'|\bN\b|\d[\d,]*|Mul\b|uint16", row)]
        missing = [part for part in words if len(part) > 3 and part.strip("' ,") not in code]
        assert not missing, (row, missing)


def test_what_links_to_the_page() -> None:
    assert "bring-your-own-network.md" in (ROOT / "docs" / "README.md").read_text()
    for target in re.findall(r"\]\((\.\./[^)]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
