"""Every code has a page, and the example of the page causes the error of that code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from unittest import mock

import onnx.parser
import pytest
from support.command_line import call_text, refused
from support.places import DOCS, ROOT

from chipsim.codes import CODES
from chipsim.errors import ReportedError
from chipsim.explain import EXAMPLE_FILES, Example, chapters, document, pages

CODE = re.compile(r"^(?:Warning: )?error\[([a-z0-9-]+)\]: ", re.MULTILINE)


def shell(text: str, folder: Path) -> str:
    """Run command lines, those of the project in this process; what they print on standard error and output."""
    printed = ""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if words and words[0] in ("qsnnc", "chipsim"):
            done = call_text(*words, cwd=folder)
        else:
            line = re.sub(r"^python(?= )", sys.executable, line)
            done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, check=True)
        printed += done.stdout + done.stderr
    return printed


def codes_of(example: Example, folder: Path) -> list[str]:
    if example.language == "sh":
        return CODE.findall(shell(example.text, folder))
    if example.language == "onnx":
        onnx.save(onnx.parser.parse_model(example.text), folder / "example.onnx")
        done = call_text("qsnnc", "check", "example.onnx", *example.options, cwd=folder)
        return CODE.findall(done.stdout + done.stderr)
    loaded = dict(sys.modules)
    with chdir(folder), mock.patch.object(sys, "path", [str(folder), *sys.path]), pytest.raises(ReportedError) as caught:
        exec(compile(example.text, "example", "exec"), {"__name__": "example"})
    # a library that is loaded twice has its settings twice: what is set in the one does nothing in the other
    assert [name for name, module in loaded.items() if sys.modules.get(name) is not module] == []
    return [caught.value.code]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    for line in EXAMPLE_FILES.splitlines():
        shell(re.sub(r"^cp (\S+)", lambda found: f"cp {shlex.quote(str(ROOT / found[1]))}", line), folder)
    for chapter in chapters():
        for name, text in chapter.modules.items():
            (folder / name).write_text(text)
    return folder


def test_every_code_has_a_page_with_an_example() -> None:
    assert sorted(pages()) == sorted(CODES)
    assert not [page.code for page in pages().values() if not page.examples]


def test_the_document_is_up_to_date() -> None:
    assert (DOCS / "errors.md").read_text() == document(), "run make errors"


def test_a_page_is_printed_by_both_programs_as_the_error_names_it() -> None:
    for program in ("qsnnc", "chipsim"):
        for given in ("not-monotone", "error[not-monotone]:"):
            done = call_text(program, "explain", given)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.rstrip("\n") == f"not-monotone\n\n{pages()['not-monotone'].text}"


def test_an_unknown_code_names_the_nearest() -> None:
    line = refused(
        call_text("qsnnc", "explain", "weights-quantized"), 2, "CODE: unknown code 'weights-quantized'; nearest: "
    )
    assert "weights-not-quantized" in line
    refused(call_text("chipsim", "explain", "\x1b[2J"), 2, "CODE: unknown code ")


def test_without_a_code_all_are_listed_in_a_line_each() -> None:
    lines = call_text("chipsim", "explain").stdout.splitlines()
    assert sorted(line.split()[0] for line in lines if line.startswith("  ")) == sorted(CODES)
    assert max(map(len, lines)) <= 100


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_the_example_causes_the_error(code: str, files: Path) -> None:
    for example in pages()[code].examples:
        assert code in codes_of(example, files)
