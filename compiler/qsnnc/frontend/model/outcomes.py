"""Define the refusals that a pass may catch because it knows another way to compile the node.

Each is a type of its own, so that a pass catches only what it can handle. `CODE` is the stable error code.
"""

from __future__ import annotations

from typing import ClassVar

from chipsim.codes import Code
from qsnnc.errors import ModelError


class Refusal(ModelError):
    """A `ModelError` whose type determines its code; ``fields`` are those of `chipsim.errors.ReportedError`."""

    CODE: ClassVar[Code]

    def __init__(self, subject: str, message: str, **fields: object) -> None:
        super().__init__(subject, message, code=self.CODE, **fields)  # type: ignore[arg-type]


class NotMonotone(Refusal):
    """An activation rises and falls, so its levels are not given by one threshold each."""

    CODE: ClassVar[Code] = "not-monotone"


class ConstantActivation(Refusal):
    """An activation has the same value for every input."""

    CODE: ClassVar[Code] = "constant-activation"


class UnevenLevels(Refusal):
    """The values of a quantizer are not equally spaced, or differ by channel."""

    CODE: ClassVar[Code] = "levels-uneven"


class TooManyLevels(Refusal):
    """A quantizer has more levels than supported; each level is a neuron."""

    CODE: ClassVar[Code] = "activation-not-quantized"


class WindowReordered(Refusal):
    """A convolution or pool reads a tensor whose positions were reordered, so that one kernel cannot serve all windows."""

    CODE: ClassVar[Code] = "reordered"


class UnrelatedScales(Refusal):
    """The scales of the operands of an addition have no ratio of small integers."""

    CODE: ClassVar[Code] = "add-scales"


class ConcatScales(Refusal):
    """The scales of tensors that are concatenated have no ratio of small integers."""

    CODE: ClassVar[Code] = "concat-scales"


class WeightsNotQuantized(Refusal):
    """The weights of a channel are not integers of few bits times one scale."""

    CODE: ClassVar[Code] = "weights-not-quantized"
