"""Rules between the keys of a chip: arithmetic and comparisons, such as ``columns <= axons and grid[0] == grid[1]``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

ALLOWED = "keys of a chip, numbers, + - * / // %, comparisons, and, or, not, min, max, abs, len, grid[0]"

_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_UNARY: dict[type[ast.AST], Callable[[Any], Any]] = {ast.Not: operator.not_, ast.USub: operator.neg}
_CALLS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs, "len": len}


class RuleError(ValueError):
    """A rule that cannot be read, or has no value."""


def parse(text: str, keys: Mapping[str, object]) -> ast.expr:
    """Parse a rule whose names are among the keys.

    Raises
    ------
    RuleError
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise RuleError(f"is not an expression; allowed: {ALLOWED}") from None
    _check(tree, keys)
    return tree


def holds(rule: ast.expr, chip: Mapping[str, object]) -> bool:
    """Whether a rule is true for a chip, whose keys include those of its sections, as ``timing.router_cycles``.

    Raises
    ------
    RuleError
        It has no value: a division by zero, or a comparison of a list with a number.
    """
    try:
        return bool(_value(rule, chip))
    except (ArithmeticError, TypeError, IndexError, ValueError) as error:
        raise RuleError(f"has no value ({error})") from None


def _name(node: ast.expr) -> str | None:
    """Return a key with its section, if the node is one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def _children(node: ast.expr) -> list[ast.expr] | None:
    """Return the operands of what is allowed; None for anything else."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return []
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.BoolOp(values=elements):
            return elements
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return [operand]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _BINARY for op in ops):
            return [left, *others]
        case ast.Subscript(value=value, slice=index):
            return [value, index]
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in _CALLS:
            return given
    return None


def _check(node: ast.expr, keys: Mapping[str, object]) -> None:
    name = _name(node)
    if name is not None:
        if name not in keys:
            raise RuleError(f"has the unknown key {name!r}; allowed: {', '.join(keys)}")
        return
    children = _children(node)
    if children is None:
        raise RuleError(f"has {ast.unparse(node)[:60]!r}; allowed: {ALLOWED}")
    for child in children:
        _check(child, keys)


def _value(node: ast.expr, chip: Mapping[str, object]) -> Any:
    name = _name(node)
    if name is not None:
        return chip[name]
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(each, chip) for each in elements]
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(each, chip) for each in values)
        case ast.BoolOp(values=values):
            return any(_value(each, chip) for each in values)
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, chip), _value(right, chip))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_value(operand, chip))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(each, chip) for each in (left, *others)]
            return all(_BINARY[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case ast.Subscript(value=value, slice=index):
            return _value(value, chip)[_value(index, chip)]
        case ast.Call(func=ast.Name(id=called), args=given):
            return _CALLS[called](*(_value(each, chip) for each in given))
    raise AssertionError("`_check` has seen to it")
