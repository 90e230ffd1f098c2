"""The table of operators: what it says is what the code does, and docs/onnx.md is what it says."""

from __future__ import annotations

import onnx
import pytest
from support.places import DOCS

from chipsim import mct_ops, monotone, qonnx_layout, qonnx_ops, tensorflow_ops
from chipsim.onnx_repair import MCT, TENSORFLOW
from qsnnc.frontend.decompose.integer_ops import writers
from qsnnc.frontend.model import operators
from qsnnc.frontend.model.operator_table import MICROSOFT, QONNX, QONNX_CHANNELS_LAST, ROLES, TABLE
from qsnnc.frontend.model.operators import ELEMENTWISE, OPERATORS, POOLS, RELABEL, WEIGHTED

PAGE = DOCS / "onnx.md"
START, END = "<!-- operators -->\n", "<!-- end of operators -->"


def names(role: str, domain: str) -> set[str]:
    return {name for row in TABLE if row.role == role and row.domain == domain for name in row.names}


def test_the_page_holds_the_table(request) -> None:
    text = PAGE.read_text()
    before, rest = text.split(START)
    after = rest.split(END)[1]
    wanted = f"{before}{START}\n{operators.markdown()}\n{END}{after}"
    if request.config.getoption("--update-golden"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, (
        "pytest tests/unit/compiler/frontend/model/test_operator_table.py --update-golden writes it"
    )


def test_every_rewriting_has_a_row_and_every_row_a_rewriting() -> None:
    assert names("decomposed", QONNX) == set(qonnx_ops._WRITERS)
    assert names("decomposed", QONNX_CHANNELS_LAST) == set(qonnx_layout.writers({}))
    assert names("decomposed", TENSORFLOW) == set(tensorflow_ops.writers())
    assert names("decomposed", MCT) == set(mct_ops.writers())
    assert names("decomposed", "") | names("decomposed", MICROSOFT) | names("host", MICROSOFT) == set(writers(set()))


def test_what_is_known_to_be_monotone_is_supported() -> None:
    assert monotone.TABLE.keys() <= OPERATORS.keys()


def test_every_elementwise_operator_has_an_interval_rule_but_two() -> None:
    assert {name for name in ELEMENTWISE if OPERATORS[name].bounds is None} == {"Mod", "Pow"}


@pytest.mark.parametrize("name", sorted(ELEMENTWISE | POOLS | RELABEL | WEIGHTED))
def test_every_name_is_an_operator_of_the_standard(name) -> None:
    assert onnx.defs.has(name.removesuffix(" (linear)")), name


def test_every_row_has_a_role() -> None:
    assert {row.role for row in TABLE} == set(ROLES)
