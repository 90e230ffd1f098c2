"""The page of each error code: what it means, the smallest example that causes it, and how to mend it.

The pages are the sections of ``pages/*.md``; ``explain`` of both command lines prints one, ``docs/errors.md`` has all.
A code block of an example is what its language says:

- ``onnx``: a model in the text form of ``onnx.parser``, which ``qsnnc check`` refuses with the options that follow the word
- ``sh``: command lines, run where `EXAMPLE_FILES` are
- ``python``: Python, run in the same place
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache
from importlib import resources

from chipsim.codes import CODES
from chipsim.errors import UsageError

#: the files that examples read, as commands that make them in a clone of the repository
EXAMPLE_FILES = """\
cp models/tiny.onnx net.onnx
cp mappings/tiny-mini.map net.map
python -c "import numpy as np; np.savez('images.npz', images=np.ones((4, 28, 28), np.uint8), labels=np.arange(4))"
chipsim run net.map --dataset images.npz --json run.json
"""

_SECTION = re.compile(r"^## ([a-z0-9-]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A code block of a page."""

    language: str  # onnx, sh or python
    options: tuple[str, ...]  # of ``qsnnc check``, for a model
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to say about a code."""

    code: str
    text: str  # Markdown without the heading

    @property
    def summary(self) -> str:
        """The first sentence."""
        first = " ".join(self.text.split("\n\n")[0].split())
        return re.split(r"(?<=\.)\s", first, maxsplit=1)[0]

    @property
    def examples(self) -> tuple[Example, ...]:
        """Its code blocks that can be run."""
        found = (Example(word, tuple(options.split()), text) for word, options, text in _BLOCK.findall(self.text))
        return tuple(example for example in found if example.language in ("onnx", "sh", "python"))


@dataclass(frozen=True, slots=True)
class Chapter:
    """The pages of one subject."""

    title: str
    introduction: str  # Markdown; its blocks ``python NAME.py`` are modules that examples import
    pages: tuple[Page, ...]

    @property
    def modules(self) -> dict[str, str]:
        """Modules that the examples of this chapter import, by file name."""
        return {name.strip(): text for word, name, text in _BLOCK.findall(self.introduction) if word == "python"}


@cache
def chapters() -> tuple[Chapter, ...]:
    """Return the chapters in the order of the files."""
    found = []
    for file in sorted(resources.files(__package__).joinpath("pages").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".md"):
            text = file.read_text("utf-8")
            title, introduction = text.split("\n## ", 1)[0].split("\n", 1)
            several = tuple(Page(code, body.strip()) for code, body in _SECTION.findall(text))
            found.append(Chapter(title.removeprefix("# "), introduction.strip(), several))
    return tuple(found)


def pages() -> dict[str, Page]:
    """Return the pages by code."""
    return {page.code: page for chapter in chapters() for page in chapter.pages}


def explain(code: str) -> Page:
    """Return the page of a code, which may be given as printed: ``error[CODE]``.

    Raises
    ------
    UsageError
        There is no such code; the nearest are named.
    """
    name = re.sub(r"^error\[(.*)\]:?$", r"\1", code.strip())
    known = pages()
    if name in known:
        return known[name]
    near = _nearest(name)
    text = f"unknown code {name[:60]!r}; " + (f"nearest: {', '.join(near)}" if near else "explain without CODE lists all")
    raise UsageError("CODE", text, code="option-value", found=name[:60], allowed=near or None)


def _nearest(name: str) -> list[str]:
    """Return codes that are spelled alike, then those with a word in common."""
    import difflib

    common = {code: len(set(name.split("-")) & set(code.split("-"))) for code in CODES}
    shared = sorted((code for code in CODES if common[code]), key=lambda code: -common[code])
    return list(dict.fromkeys([*difflib.get_close_matches(name, CODES, 3), *shared]))[:4]


def listing() -> str:
    """Return all codes with a line each, by chapter."""
    width = max(map(len, CODES))
    lines = []
    for chapter in chapters():
        lines += [chapter.title, *(f"  {page.code:{width}}  {_short(page.summary)}" for page in chapter.pages), ""]
    return "\n".join(lines).rstrip()


def _short(sentence: str, most: int = 70) -> str:
    """Cut a sentence where it goes on in detail, so that it stands in one line."""
    head = re.split(r"[:;(]|, (?:so|which|such|and)\b", sentence)[0].strip() if len(sentence) > most else sentence
    return textwrap.shorten(head.rstrip(".") + ".", most, placeholder=" ...")


def document() -> str:
    """Return ``docs/errors.md``."""
    head = (
        "# Error codes\n\n"
        "Every error and every violation has a code, which stays the same when the wording changes:\n\n"
        "```\nerror[not-monotone]: act: ...\n```\n\n"
        "`qsnnc explain CODE` and `chipsim explain CODE` print the sections of this page; without CODE they\n"
        "list all codes. The JSON of `check` and the exceptions of the Python API hold the same codes.\n"
        "This page is generated: `make errors`.\n\n"
        "Each example causes the error. A model is in the text form of `onnx.parser.parse_model`, and\n"
        "`qsnnc check` refuses it with the options beside `onnx`. The others read these files:\n\n"
        f"```sh\n{EXAMPLE_FILES}```\n"
    )
    parts = [head]
    for chapter in chapters():
        parts.append(f"\n## {chapter.title}\n")
        parts += [f"\n{chapter.introduction}\n"] if chapter.introduction else []
        parts += [f"\n### {page.code}\n\n{page.text}\n" for page in chapter.pages]
    return "".join(parts)
