"""The compiler's errors; `chipsim.errors` draws the whole tree."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from chipsim.errors import ReportedError


class QsnncError(ReportedError):
    """An error of the compiler that a user can cause and mend."""


class ModelError(QsnncError):
    """An ONNX file that is no ONNX, or holds what cannot be compiled."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that a layer breaks: what it needs, what the chip allows, what to do.

    ``limit`` is one of columns, axons, targets, potential, cores.
    """

    code: str
    layer: str
    limit: str
    found: int
    allowed: int
    advice: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.advice}"

    def to_json(self) -> dict[str, object]:
        """Return the fields as a dictionary."""
        return asdict(self)


class DoesNotFit(QsnncError):
    """The network breaks limits of the chip; ``violations`` holds all of them, root causes first."""

    exit_code = 4

    def __init__(self, violations: tuple[Violation, ...], chip: str) -> None:
        assert violations
        self.violations = violations
        first = violations[0]
        more = f" ({len(violations) - 1} more: qsnnc check lists them)" if len(violations) > 1 else ""
        super().__init__(
            first.layer,
            f"{first.advice}{more}",
            code=first.code,
            layer=first.layer,
            limit=first.limit,
            found=first.found,
            allowed=first.allowed,
        )
        self.chip = chip
