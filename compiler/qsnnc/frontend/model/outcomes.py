"""Refusals that need not be the last word: whoever asked may know another way to compile the node.

Each is a type, so that a pass catches what it can handle and nothing else. The codes are those of the errors.
"""

from __future__ import annotations

from typing import ClassVar

from qsnnc.errors import ModelError


class Refusal(ModelError):
    """A `ModelError` whose type says its code; ``fields`` are those of `chipsim.errors.ReportedError`."""

    CODE: ClassVar[str]

    def __init__(self, subject: str, message: str, **fields: object) -> None:
        super().__init__(subject, message, code=self.CODE, **fields)  # type: ignore[arg-type]


class NotMonotone(Refusal):
    """An activation rises and falls: no threshold stands for a level that is left and reached again."""

    CODE = "not-monotone"


class ConstantActivation(Refusal):
    """An activation has one value whatever its input."""

    CODE = "constant-activation"


class UnevenLevels(Refusal):
    """The values of a quantizer are not equally spaced, or differ by channel."""

    CODE = "levels-uneven"


class TooManyLevels(Refusal):
    """A quantizer has more levels than there may be neurons for."""

    CODE = "levels-many"


class WindowReordered(Refusal):
    """A convolution or pool reads positions that no kernel can step over."""

    CODE = "reshape-before-window"


class UnrelatedScales(Refusal):
    """The scales of the operands of a sum have no ratio of small integers."""

    CODE = "add-scales"


class ConcatScales(Refusal):
    """The scales of tensors that one operator reads side by side have no ratio of small integers."""

    CODE = "concat-scales"


class WeightsNotQuantized(Refusal):
    """The weights of a channel lie on no grid of few bits."""

    CODE = "weights-not-quantized"
