"""`make lint` fails on merge markers and on files that debugging leaves behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / ".ci" / "leftovers.py"
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def check(directory: Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, SCRIPT, directory], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def tree(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("*.repro.*\n*.orig\n*.rej\nvenv/\n")
    (tmp_path / "page.md").write_text("Title\n========\n\nNothing <<<<<<< here\n")
    subprocess.run(["git", "-C", tmp_path, "add", "."], check=True)
    return tmp_path


def test_a_tidy_tree_passes(tree):
    assert check(tree) == (0, [])


@pytest.mark.parametrize("marker", ["<" * 7 + " HEAD", "|" * 7 + " base", "=" * 7, ">" * 7 + " branch", "=" * 7 + "\r"])
@pytest.mark.parametrize("added", [True, False], ids=["tracked", "new"])
def test_a_merge_marker_is_found(tree, marker, added):
    (tree / "sub").mkdir()
    (tree / "sub" / "code.py").write_bytes(f"a = 1\n{marker}\nb = 2\n".encode())
    if added:
        subprocess.run(["git", "-C", tree, "add", "."], check=True)
    assert check(tree) == (1, ["sub/code.py:2: merge marker; resolve the conflict"])


@pytest.mark.parametrize("name", ["net.repro.onnx", "net.repro.npz", "sub/page.md.orig", "page.md.rej"])
def test_a_leftover_file_is_found_though_git_ignores_it(tree, name):
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_bytes(b"\0")
    assert check(tree) == (1, [f"{name}: left over; remove it"])
    subprocess.run(["git", "-C", tree, "add", "-f", name], check=True)
    assert check(tree) == (1, [f"{name}: left over; remove it"])


def test_ignored_directories_and_binary_files_are_not_looked_into(tree):
    (tree / "venv").mkdir()
    (tree / "venv" / "old.orig").write_bytes(b"")
    (tree / "array.npy").write_bytes(b"\0\n" + b"=" * 7 + b"\n")
    assert check(tree) == (0, [])


def test_make_lint_runs_it_and_git_ignores_the_same_names():
    lint = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    assert ".ci/leftovers.py" in lint
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"*.repro.*", "*.orig", "*.rej"} <= set(ignored)
