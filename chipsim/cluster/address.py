"""Where the workers are: ``local``, ``local:N``, the address of a scheduler, or the file that it wrote."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from chipsim import paths, ranges
from chipsim.errors import UsageError

#: protocols of a scheduler's address
PROTOCOLS = ("tcp", "tls", "ucx", "ws", "wss")


@dataclass(frozen=True, slots=True)
class Address:
    """A cluster to start here, or one that exists."""

    kind: Literal["local", "address", "file"]
    text: str  # as it was given
    workers: int = 0  # of ``local``


def parse_address(text: str) -> Address:
    """Parse the value of ``--cluster``.

    Raises
    ------
    UsageError
        It is of no known form, or ``local:N`` has no number of workers.
    InputError
        The file cannot be read.
    """
    if text == "local":
        return Address("local", text, _processors())
    if text.startswith("local:"):
        count = text.partition(":")[2]
        found = int(count) if re.fullmatch("[0-9]{1,6}", count) else 0
        if not 1 <= found <= ranges.WORKERS:
            raise _wrong(text, f"local:N with N from 1 to {ranges.WORKERS:,}")
        return Address("local", text, found)
    if text.endswith(".json"):
        paths.check_readable(text, "file-unreadable", stored=True)
        return Address("file", text)
    if re.fullmatch(rf"((?:{'|'.join(PROTOCOLS)})://)?[^\s/:]+:[0-9]{{1,5}}", text) or re.fullmatch(
        r"\w+://\[[^\s]+:[0-9]{1,5}", text
    ):
        return Address("address", text)
    raise _wrong(text, "local, local:N, HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or the scheduler's FILE.json")


def _processors() -> int:
    """Count the processors that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _wrong(text: str, allowed: str) -> UsageError:
    return UsageError("--cluster", f"is {text!r}; allowed: {allowed}", code="option-value", found=text, allowed=allowed)
