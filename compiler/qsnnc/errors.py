"""Errors of the compiler; `chipsim.errors` draws the whole tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from chipsim.codes import Code
from chipsim.errors import ReportedError, labelled

#: what of a chip can be exhausted, and thus limits how few cores a layer takes
Limit = Literal[
    "columns", "axons", "targets", "potential", "cores", "neuron", "neurons", "rows", "inputs", "weights",
    "outputs", "run", "layout",
]  # fmt: skip


class QsnncError(ReportedError):
    """An error of the compiler that a user can cause and correct."""


#: what is allowed, by code, where an error does not say so itself
ALLOWED: dict[Code, str] = {
    "activation-not-quantized": "a quantizer (scale, round, clip) between the two",
    "weights-not-quantized": "integers of at most 9 bits times one scale, or a scale per output channel",
    "weights-not-constant": "an initializer, or a value computed from initializers only",
    "model-not-quantized": "activations quantized to levels, and weights quantized to integers times a scale",
    "not-static": "static scales, per tensor or per channel, found by calibration",
    "not-monotone": "a function that never falls or never rises",
    "levels-uneven": "levels that are equally spaced",
    "model-operator": "the operators that docs/onnx.md lists",
    "model-attribute": "the attributes that the operator has in the model's opset",
    "model-subgraph": "conditions and numbers of iterations that are the same for every image",
    "add-scales": "the same scale for both operands, or scales whose ratio is a ratio of small integers",
    "tensor-rank": "two axes of a window, three of a tensor; tensors that are added have equally many",
}


class ModelError(QsnncError):
    """An ONNX model that is invalid or cannot be compiled; ``problems`` lists this error and all others."""

    exit_code = 3

    @property
    def problems(self) -> tuple[ModelError, ...]:
        """Everything that prevents the model from being compiled, root causes first."""
        return (self,)

    def to_json(self) -> dict[str, object]:
        """Return the fields as a dictionary, with the keys of `Violation.to_json` and the node."""
        fields = self.fields
        return {
            "code": self.code,
            "layer": fields["layer"] or self.subject,
            "node": fields["node"],
            "limit": fields["limit"],
            "found": fields["found"],
            "allowed": ALLOWED.get(self.code) if fields["allowed"] is None else fields["allowed"],
            "advice": "\n".join((self.message, *self.lines)),
        }


class ModelErrors(ModelError):
    """Several problems of one model; message and code are those of the first."""

    def __init__(self, problems: tuple[ModelError, ...]) -> None:
        first = problems[0]
        more = f"{first.message} ({len(problems) - 1} more: qsnnc check lists them)"
        super().__init__(first.subject, more, code=first.code, **first.fields)  # type: ignore[arg-type]
        self.lines = first.lines
        self._problems = problems

    @property
    def problems(self) -> tuple[ModelError, ...]:
        """Everything that prevents the model from being compiled, root causes first."""
        return self._problems


def together(problems: Sequence[ModelError]) -> ModelError:
    """Combine one or more problems into one error."""
    return problems[0] if len(problems) == 1 else ModelErrors(tuple(problems))


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit of the chip that a layer exceeds: what it needs, what the chip allows, and what to do."""

    code: Code
    layer: str
    limit: Limit
    found: int | str
    allowed: int | str
    advice: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.advice}"

    def shown(self) -> str:
        """Return what the command lines print: the line with its code."""
        return labelled(self.code, str(self))

    def to_json(self) -> dict[str, object]:
        """Return the fields as a dictionary."""
        return asdict(self)


class DoesNotFit(QsnncError):
    """The network exceeds limits of the chip; ``violations`` lists all of them, root causes first."""

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
