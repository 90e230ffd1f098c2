"""Which operators are supported, and how: sets and documentation, derived from the operator table."""

from __future__ import annotations

from qsnnc.frontend.model.operator_table import ROLES, TABLE, Operator

#: operators of the standard's own domain that are interpreted
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
#: passed over until something reads their result; a join is elementwise where it joins nothing
ELEMENTWISE = _of("elementwise", "join")
#: rewritten, of the standard's own domain
INTEGER = _of("spelled")
#: of any domain, and what to do
REFUSED = {name: f"{group.allowed}; {group.notes}" for group in TABLE if group.role == "refused" for name in group.names}
#: pools that take the largest value
MAXIMUM = frozenset(name for name in POOLS if OPERATORS[name].largest)
#: every value of the input stands in the result, once and unchanged
REARRANGING = frozenset(name for name, operator in OPERATORS.items() if operator.rearranges)
#: the result is the input
IDENTITY = ELEMENTWISE & REARRANGING


def facts(op: str) -> Operator:
    """The row of an operator of the standard's domain; one that says nothing where it is not interpreted."""
    return OPERATORS.get(op, Operator(op))


def markdown() -> str:
    """The table, a section a role."""
    lines: list[str] = []
    for role, title in ROLES.items():
        lines += [f"### {title}", "", "| operators | allowed | notes |", "| --- | --- | --- |"]
        for group in TABLE:
            if group.role == role:
                names = ", ".join(group.names)
                lines.append(f"| {f'{group.domain}: ' if group.domain else ''}{names} | {group.allowed} | {group.notes} |")
        lines.append("")
    return "\n".join(lines)
