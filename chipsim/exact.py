"""Numbers of YAML files, taken as they stand: ``true`` is no 1, "252" no 252 and 2.0 no 2."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import BeforeValidator


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3, without a dot, as text."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]+[eE][-+]?[0-9]{1,3}", value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("allowed: a number")
    return value


#: before a float
NUMBER = BeforeValidator(_number)


def one_of(*values: int) -> BeforeValidator:
    """Take one of some whole numbers, before a Literal of them."""
    return BeforeValidator(_choice(values))


def _choice(values: tuple[int, ...]) -> Callable[[Any], Any]:
    allowed = ", ".join(map(str, values[:-1])) + f" or {values[-1]}" if values[1:] else f"{values[0]}"

    def choose(value: Any) -> Any:
        if type(value) is not int or value not in values:
            raise ValueError(f"allowed: {allowed}")
        return value

    return choose
