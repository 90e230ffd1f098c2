"""tests/unit mirrors the source: a folder for each package, and no test file elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.places import ROOT, TESTS

UNIT = TESTS / "unit"
#: folders of tests/unit, and the packages whose folders they mirror
SOURCES = {"compiler": ROOT / "compiler" / "qsnnc", "chipsim": ROOT / "chipsim"}
#: every other folder of tests/unit and what it tests; they have no folders of their own
OTHERS = {"docs": "docs", "models": "models", "repository": ".", "rtl": "rtl"}
KINDS = {"end_to_end", "golden", "property", "unit"}


def folders(top: Path) -> set[str]:
    """Folders below ``top`` that hold a test, at any depth, relative to it."""
    return {str(path.parent.relative_to(top)) for path in top.rglob("test_*.py")}


@pytest.mark.parametrize("name", SOURCES)
def test_every_folder_of_tests_is_a_package(name) -> None:
    found = folders(UNIT / name)
    assert "frontend/linear" in found or name != "compiler", "nothing was looked at"
    for folder in sorted(found):
        assert (SOURCES[name] / folder / "__init__.py").exists(), f"tests/unit/{name}/{folder} mirrors no package"


def test_every_other_folder_is_known_and_flat() -> None:
    for folder in sorted(folders(UNIT)):
        top, *rest = Path(folder).parts or (".",)
        assert top in SOURCES or (top in OTHERS and not rest), f"tests/unit/{folder} mirrors nothing"
        assert top in SOURCES or (ROOT / OTHERS[top]).exists(), f"tests/unit/{folder} mirrors nothing"


def test_every_test_is_of_a_known_kind() -> None:
    kinds = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")}
    assert kinds <= KINDS


def test_names_of_test_files_are_unique() -> None:
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert len(names) == len(set(names)), "pytest imports test files by their name alone"
