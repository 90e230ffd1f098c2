"""The table of operators: what it says is what the code does, and docs/onnx.md is what it says."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from chipsim import qonnx_ops
from qsnnc.frontend.decompose import contrib_ops
from qsnnc.frontend.decompose.integer_ops import INTEGER, REFUSED
from qsnnc.frontend.model import operators
from qsnnc.frontend.model.operators import ELEMENTWISE, MICROSOFT, POOLS, QONNX, RELABEL, TABLE, WEIGHTED

PAGE = Path(__file__).resolve().parents[3] / "docs" / "onnx.md"
START, END = "<!-- operators -->\n", "<!-- end of operators -->"


def names(role: str, domain: str) -> set[str]:
    return {name for row in TABLE if row.role == role and row.domain == domain for name in row.names.split()}


def test_the_page_holds_the_table(request) -> None:
    text = PAGE.read_text()
    before, rest = text.split(START)
    after = rest.split(END)[1]
    wanted = f"{before}{START}\n{operators.markdown()}\n{END}{after}"
    if request.config.getoption("--update-golden"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, "pytest tests/unit/compiler/test_table.py --update-golden writes it"


def test_every_spelling_has_a_row_and_every_row_a_spelling() -> None:
    assert names("spelled", QONNX) == set(qonnx_ops._WRITERS)
    assert names("spelled", "") == INTEGER
    written = {"QuantizeLinear", "DequantizeLinear", "QGemm", *contrib_ops.writers(set())}
    assert names("spelled", MICROSOFT) | names("host", MICROSOFT) == written
    assert names("refused", "") | names("refused", MICROSOFT) == {*REFUSED, "If", "Loop", "Scan"}


@pytest.mark.parametrize("name", sorted(ELEMENTWISE | POOLS | RELABEL | WEIGHTED))
def test_every_name_is_an_operator_of_the_standard(name) -> None:
    assert onnx.defs.has(name), name


def test_every_row_has_a_role() -> None:
    assert {row.role for row in TABLE} == set(operators.ROLES)
