"""Derive the sets of operators that the passes use, and the documentation, from the operator table."""

from __future__ import annotations

from qsnnc.frontend.model import operator_table
from qsnnc.frontend.model.operator_table import ROLES, TABLE, Operator

#: supported operators of the standard domain, except those that are rewritten
OPERATORS = {
    operator.name: operator
    for group in TABLE
    for operator in group.operators
    if group.role in ("weighted", "join", "pool", "move", "elementwise")
}


def _of(*roles: str, domain: str = "") -> frozenset[str]:
    return frozenset(name for group in TABLE if group.role in roles and group.domain == domain for name in group.names)


WEIGHTED = _of("weighted")
JOINS = _of("join")
POOLS = _of("pool")
RELABEL = _of("move")
#: skipped until another operator reads their result; an addition is elementwise if it has one non-constant input
ELEMENTWISE = _of("elementwise", "join")
#: operators of the standard domain that are decomposed
INTEGER = _of("decomposed")
#: refused operators of any domain, with the advice
REFUSED = {name: f"{group.allowed}; {group.notes}" for group in TABLE if group.role == "refused" for name in group.names}
#: those of mode linear
LINEAR = frozenset(operator_table.LINEAR)
#: pools that take the largest value
MAXIMUM = frozenset(name for name in POOLS if OPERATORS[name].largest)
#: operators whose output holds every input value once, unchanged
REARRANGING = frozenset(name for name, operator in OPERATORS.items() if operator.rearranges)
#: operators whose output is their input
IDENTITY = ELEMENTWISE & REARRANGING


def facts(op: str) -> Operator:
    """Return the row of an operator of the standard domain; an empty row if it has none."""
    return OPERATORS.get(op, Operator(op))


def markdown() -> str:
    """Return the table as Markdown, one section per role."""
    lines: list[str] = []
    for role, title in ROLES.items():
        lines += [f"### {title}", "", "| operators | allowed | notes |", "| --- | --- | --- |"]
        for group in TABLE:
            if group.role == role:
                names = ", ".join(group.names)
                lines.append(f"| {f'{group.domain}: ' if group.domain else ''}{names} | {group.allowed} | {group.notes} |")
        lines.append("")
    return "\n".join(lines)
