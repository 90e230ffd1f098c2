"""All pages: lines are wrapped, links lead somewhere, the index names every page."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WIDTH = 100
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *DOCS,
    ROOT / "chipsim" / "mapping" / "FORMAT.md",
    *sorted((ROOT / "models").glob("*.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(page: Path) -> list[tuple[int, str]]:
    """Numbered lines outside code blocks."""
    found, code = [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            found.append((number, line))
    assert not code, f"{page.name}: a code block is not closed"
    return found


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    heads = [line.lstrip("#").strip().lower() for _, line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_wrapped(page: Path) -> None:
    """Tables, images and lines that are a single link or word cannot be wrapped."""
    long = [
        f"{page.name}:{number}"
        for number, line in prose(page)
        if len(line) > WIDTH and not line.startswith(("|", "![")) and len(line.split()) > 2
    ]
    assert not long, f"wrap at {WIDTH} columns: {', '.join(long)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for number, line in prose(page):
        for target in LINK.findall(line):
            if target.startswith("https://"):
                continue
            name, _, anchor = target.partition("#")
            other = page.parent / name if name else page
            assert other.exists(), f"{page.name}:{number}: {target}"
            assert not anchor or anchor in anchors(other), f"{page.name}:{number}: {target}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in DOCS:
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    for folder, name in re.findall(r"`(tests|benchmarks|models|chipsim|compiler|docs)/([\w./-]+\.\w+)`", page.read_text()):
        assert (ROOT / folder / name).exists(), f"{page.name}: {folder}/{name}"


def test_the_frontend_is_drawn_as_import_linter_holds_it() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn: dict[str, set[str]] = {}
    for floor, package in re.findall(r"^\| (\d) \| `(\w+)/` \|", text, re.MULTILINE):
        drawn.setdefault(floor, set()).add(package)
    contracts = ConfigParser()
    contracts.read(ROOT / "setup.cfg")
    layers = contracts["importlinter:contract:frontend-rooms"]["layers"].split("\n")
    held = [{name.strip() for name in layer.split("|")} for layer in layers if layer.strip()]
    assert [drawn[floor] for floor in sorted(drawn, reverse=True)] == held
