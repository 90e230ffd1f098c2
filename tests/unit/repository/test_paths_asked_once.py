"""Questions about paths, and files of the user's, go through `chipsim.paths`: everything else can raise what nobody reports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.places import ROOT

SOURCES = sorted({*(ROOT / "chipsim").rglob("*.py"), *(ROOT / "compiler" / "qsnnc").rglob("*.py")})
#: methods of Path, and functions, that look at what stands at a path or open it
ASKS = {
    "exists", "is_file", "is_dir", "is_symlink", "is_mount", "is_fifo", "resolve", "samefile", "stat", "lstat", "realpath", "abspath",
    "getcwd", "cwd", "read_bytes", "read_text", "write_bytes", "write_text", "mkdir", "makedirs", "isfile", "isdir", "islink", "access",
    "getsize", "expanduser", "touch",
}  # fmt: skip
#: files that may: this module; a private cache of code, whose failures cost nothing; a checkout's own sources; programs that
#: run in environments of their own; and readers of files that come with the package
ALLOWED = {
    "chipsim/paths.py": ASKS | {"open"},
    "chipsim/files.py": {"open"},  # the temporary file
    "chipsim/bug_report.py": {"open"},  # its own
    "chipsim/terminal.py": {"open"},  # os.devnull
    "chipsim/code_cache.py": {"read_bytes", "mkdir", "stat"},
    "chipsim/engine/fast/native.py": {"read_bytes"},  # the sources
    "chipsim/engine/fast/kept.py": {"read_bytes"},
    "chipsim/engine/fast/encoder.py": {"read_bytes"},
    "chipsim/crosscheck/rtl.py": {"resolve"},
    "chipsim/crosscheck/environment.py": {"mkdir"},
    "chipsim/crosscheck/runners/run_sanafe.py": {"open"},
    "chipsim/chip/load.py": {"read_bytes"},  # presets
    "chipsim/datasets/digits.py": {"is_file"},  # scikit-learn's file
    "chipsim/explain/__init__.py": {"read_text"},  # its pages
    "chipsim/tasks/versions.py": {"read_bytes"},  # the sources
    "chipsim/report/plots.py": {"read_text"},  # published.yaml
    "chipsim/report/curves.py": {"read_text"},
    "chipsim/report/page/page.py": {"read_text"},  # style and scripts
}  # fmt: skip


def asked(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each call that asks about a path or opens one."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and (node.func.attr in ASKS or _opens_a_path(node.func)):
            yield node.lineno, node.func.attr
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            yield node.lineno, "open"


def _opens_a_path(method: ast.Attribute) -> bool:
    """Whether it is ``Path(...).open`` or ``path.open``: other things are opened too."""
    owner = method.value.func if isinstance(method.value, ast.Call) else method.value
    return method.attr == "open" and isinstance(owner, ast.Name) and owner.id in ("Path", "path")


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_else_asks(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    wrong = [f"{name}:{line}: {what}" for line, what in asked(path.read_text()) if what not in ALLOWED.get(name, ())]
    assert not wrong, "use chipsim.paths"


def test_what_is_allowed_is_needed() -> None:
    for name, allowed in ALLOWED.items():
        if name != "chipsim/paths.py":
            assert allowed <= {what for _, what in asked((ROOT / name).read_text())}, name


def test_the_rule_sees_what_it_forbids() -> None:
    found = [
        what
        for _, what in asked(
            "import os\nPath('a').exists()\nos.path.isfile('a')\nopen('a')\nos.open('a', 0)\nPath('a').open()\n"
        )
    ]
    assert found == ["exists", "isfile", "open", "open"]


def test_onnxruntime_is_loaded_in_one_place() -> None:
    """Elsewhere its telemetry would be on."""
    for path in SOURCES:
        if path.name != "onnx_runtime.py":
            assert "import onnxruntime" not in path.read_text(), path
