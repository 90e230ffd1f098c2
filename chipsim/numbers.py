"""Options that are numbers: each has a range, which its help states and which is checked before anything else happens."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import typer

from chipsim import ranges
from chipsim.errors import UsageError, printable


def whole(help: str, *names: str, least: int = 1, most: int = ranges.MANY, **more: Any) -> Any:
    """Declare an option that takes a whole number from ``least`` to ``most``.

    Parameters
    ----------
    help : str
        Help text; the range is added.
    *names : str
        The option's names, the first of them for errors.
    **more
        Passed on to `typer.Option`.
    """
    return _option(help, names, (least, most), _to_whole, "a whole number", more)


def real(help: str, *names: str, least: float, most: float, **more: Any) -> Any:
    """Declare an option that takes a number from ``least`` to ``most``; otherwise like `whole`."""
    return _option(help, names, (least, most), _to_real, "a number", more)


def said(number: float) -> str:
    """Write a bound as one reads it: 2,147,483,647, or 2^63 - 1."""
    if isinstance(number, int):
        power = (number + 1).bit_length() - 1
        return f"2^{power} - 1" if power > 40 and number == (1 << power) - 1 else f"{number:,}"
    return f"{number:g}"


def _option(
    help: str,
    names: tuple[str, ...],
    bounds: tuple[float, float],
    convert: Callable[[object], float | None],
    what: str,
    more: dict[str, Any],
) -> Any:
    allowed = f"{said(bounds[0])} to {said(bounds[1])}"

    def parse(value: object) -> float:
        found = convert(value)
        if found is None or not bounds[0] <= found <= bounds[1]:  # NaN is in no range
            shown = printable(str(value))
            shown = repr(value) if found is None and len(shown) <= 40 else shown
            shown = shown if len(shown) <= 40 else f"{shown[:30]}... ({len(shown):,} characters)"
            text = f"is {shown}; allowed: {what} from {allowed}"
            raise UsageError(names[0], text, code="option-value", found=shown, allowed=list(bounds))
        return found

    return typer.Option(*names, parser=parse, help=f"{help} Range: {allowed}.", **{"metavar": "N", **more})


def _to_whole(value: object) -> int | None:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"[-+]?[0-9]{1,40}", text) else None


def _to_real(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
