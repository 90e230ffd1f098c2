"""The compiler's errors; `chipsim.errors` draws the whole tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from chipsim.errors import ReportedError


class QsnncError(ReportedError):
    """An error of the compiler that a user can cause and mend."""


#: what would be right instead, where an error does not say it itself
ALLOWED = {
    "activation-not-quantized": "a quantizer (scale, round, clip) between the two",
    "weights-not-quantized": "integers of at most 9 bits times one scale, or one an output channel",
    "weights-not-constant": "an initializer, or what is computed from initializers only",
    "model-not-quantized": "activations on levels and weights on a grid",
    "not-static": "static scales, one a tensor or one a channel, found by calibration",
    "not-monotone": "a function that only rises or only falls",
    "levels-uneven": "levels that are equally spaced",
    "model-operator": "the operators that docs/onnx.md lists",
    "model-attribute": "the attributes that the operator has in the model's opset",
    "model-subgraph": "a plain graph",
    "add-scales": "one scale for both arms, or a ratio of small integers",
    "add-shapes": "two tensors of one shape",
}


class ModelError(QsnncError):
    """An ONNX file that is no ONNX, or holds what cannot be compiled; ``problems`` are this one and all others."""

    exit_code = 3

    @property
    def problems(self) -> tuple[ModelError, ...]:
        """All that stands against the model, root causes first."""
        return (self,)

    def to_json(self) -> dict[str, object]:
        """Return the fields as a dictionary, as `Violation.to_json` has them."""
        fields = self.fields
        return {
            "code": self.code,
            "layer": fields["layer"] or self.subject,
            "node": fields["node"],
            "limit": fields["limit"],
            "found": fields["found"],
            "allowed": ALLOWED.get(self.code) if fields["allowed"] is None else fields["allowed"],
            "advice": self.message,
        }


class ModelErrors(ModelError):
    """Several problems of one model; as an error it is the first of them."""

    def __init__(self, problems: tuple[ModelError, ...]) -> None:
        first = problems[0]
        more = f"{first.message} ({len(problems) - 1} more: qsnnc check lists them)"
        super().__init__(first.subject, more, code=first.code, **first.fields)  # type: ignore[arg-type]
        self._problems = problems

    @property
    def problems(self) -> tuple[ModelError, ...]:
        """All that stands against the model, root causes first."""
        return self._problems


def together(problems: Sequence[ModelError]) -> ModelError:
    """One error for one problem or several."""
    return problems[0] if len(problems) == 1 else ModelErrors(tuple(problems))


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
