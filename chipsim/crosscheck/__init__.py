"""Check a mapping on another simulator of the same chip, integer for integer.

Each simulator is one function of a module of its own: it takes a `Request`, runs both simulators on the same images, and
returns a `Crosscheck`. To add one, write ``chipsim/crosscheck/NAME.py`` with a function ``check`` and add its row to
`SIMULATORS`. The module is imported only when its simulator is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from chipsim.errors import InputError, UsageError
from chipsim.options import DataOptions

#: what `--with` takes: the module that runs each simulator, and what it is
SIMULATORS = {
    "rtl": ("chipsim.crosscheck.rtl", "the chip in SystemVerilog, run by Verilator"),
    "paisim": ("chipsim.crosscheck.paisim", "paisim 0.1.0, the chip team's simulator of PAICORE 2.5, which runs a .paicore"),
    "sanafe": ("chipsim.crosscheck.sanafe", "SANA-FE 2.2.9, which runs a .map core by core"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What to check: the arguments of ``chipsim crosscheck``."""

    file: str  # the mapping: a path
    dataset: str = "digits"  # name or path
    data: DataOptions = field(default_factory=DataOptions)  # which images of it
    python: str | None = None  # interpreter that has the other simulator, where that is a Python package
    progress: Callable[[int, int], None] | None = None  # called with (images done, images in all)

    def first(self, images: int) -> DataOptions:
        """Return the data options, with a limit of so many images if none was given."""
        return self.data if self.data.limit is not None else replace(self.data, limit=images)


@dataclass(frozen=True, slots=True)
class Crosscheck:
    """Whether two simulators agree; None: the other simulator does not report it."""

    simulator: str  # the name that `--with` takes
    version: str  # of the other simulator
    images: int
    potentials_equal: bool | None  # of every neuron that either simulator reports
    spikes_equal: bool | None  # of every neuron
    cores_equal: bool | None  # what each core counts, or, in cycles, when it works and sends
    seconds: float  # that the other simulator took
    compared: str = ""  # one line: how many values of which kind were compared
    difference: str | None = None  # one line: the first place where the two differ

    @property
    def equal(self) -> bool:
        """Whether nothing that was compared differs."""
        return self.difference is None and False not in (self.potentials_equal, self.spikes_equal, self.cores_equal)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of ``chipsim crosscheck``."""
        return {
            "with": self.simulator,
            "version": self.version,
            "images": self.images,
            "potentials_equal": self.potentials_equal,
            "spikes_equal": self.spikes_equal,
            "cores_equal": self.cores_equal,
            "seconds": self.seconds,
            "compared": self.compared,
            "difference": self.difference,
        }


def unavailable(simulator: str, found: str, advice: str) -> InputError:
    """Return the error that says that a simulator cannot be had on this machine (exit code 3)."""
    return InputError(simulator, f"{found}; {advice}", code="crosscheck-unavailable", found=found)


def not_covered(subject: str, found: str) -> InputError:
    """Return the error that says that a simulator does not cover what a chip or a mapping has (exit code 3).

    Parameters
    ----------
    subject : str
        The file.
    found : str
        What was found, and what the simulator covers.
    """
    return InputError(subject, found, code="crosscheck-not-covered", found=found)


def crosscheck(simulator: str, request: Request) -> Crosscheck:
    """Run a mapping on chipsim and on another simulator, and compare.

    Parameters
    ----------
    simulator : str
        One of `SIMULATORS`.

    Raises
    ------
    UsageError
        No such simulator.
    InputError
        The simulator cannot be had, or does not cover the chip; or as `chipsim.run`.
    """
    if simulator not in SIMULATORS:
        allowed = ", ".join(SIMULATORS)
        raise UsageError(
            "--with", f"unknown simulator {simulator!r}; expected {allowed}", code="option-value",
            found=simulator, allowed=allowed,
        )  # fmt: skip
    found = import_module(SIMULATORS[simulator][0]).check(request)
    assert isinstance(found, Crosscheck)
    return found
