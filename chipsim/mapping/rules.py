"""Report the rule of FORMAT.md that a mapping breaks."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from chipsim.codes import Code
from chipsim.errors import MappingError


def refuse(subject: str, text: str, code: Code, *, found: object = None, allowed: object = None) -> NoReturn:
    """Raise the error of a broken rule."""
    raise MappingError(subject, text, code=code, found=found, allowed=allowed)


def first_of(bad: npt.NDArray[np.bool_]) -> int:
    """Number of the first that is true, or -1."""
    found = np.flatnonzero(bad)
    return int(found[0]) if len(found) else -1


def repeats(values: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Which values stand further ahead already."""
    order = np.argsort(values, kind="stable")
    found = np.zeros(len(values), bool)
    found[order[1:]] = values[order[1:]] == values[order[:-1]]
    return found


def check_cores(bad: npt.NDArray[np.bool_], found: npt.NDArray[Any], rule: str, code: Code, allowed: object) -> None:
    """Refuse the first core that breaks a rule."""
    core = first_of(bad)
    if core >= 0:
        value = np.asarray(found)[core].tolist()
        refuse(f"core {core}", f"{rule}: found {value}, allowed {allowed}", code, found=value, allowed=allowed)
