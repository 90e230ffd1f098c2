"""Which elementwise ONNX operators only rise or only fall, as one table for the compiler and the fast encoder.

The compiler asks about the mathematical function: where that never turns, a quantizer behind it has one threshold a level.
The fast encoder asks about float32 as onnxruntime computes it, too: rounding keeps an order, but the polynomial that stands
for an exponential does not, so that neighbouring inputs may give results in the wrong order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Attributes = Mapping[str, Any]
#: the value of a constant input by its position; None where it is not known
Constant = Callable[[int], Array | None]
Condition = Callable[[Attributes, Constant], bool]


def _always(_: Attributes, __: Constant) -> bool:
    return True


def _never(_: Attributes, __: Constant) -> bool:
    return False


def _not_negative(*names: str) -> Condition:
    """Attributes that are left out have defaults above zero."""
    return lambda attributes, _: all(float(attributes.get(name, 1.0)) >= 0 for name in names)


def _slope_not_negative(_: Attributes, constant: Constant) -> bool:
    slope = constant(1)
    return slope is not None and bool((slope >= 0).all())


def _keeps_order_when_cast(attributes: Attributes, _: Constant) -> bool:
    """To a type that no model's values wrap around in: float32, int32, int64, bool or double."""
    return attributes.get("to") in (1, 6, 7, 9, 11)


@dataclass(frozen=True, slots=True)
class Monotone:
    """When an operator is monotone in the one input that varies, all others being constant."""

    first: bool = False  # only where the first input is the one that varies
    when: Condition = _always
    in_float32: Condition = _always  # besides: whether float32 arithmetic keeps the order


ANY = Monotone()
FIRST = Monotone(first=True)
#: computed by an approximation
SMOOTH = Monotone(in_float32=_never)

TABLE: Mapping[str, Monotone] = {
    **dict.fromkeys("Add Sub Mul Sum Mean Min Max".split(), ANY),
    **dict.fromkeys("Greater GreaterOrEqual Less LessOrEqual And Or Xor Not".split(), ANY),
    **dict.fromkeys("Neg Relu Round Floor Ceil Sign HardSigmoid Identity".split(), ANY),
    **dict.fromkeys("Div BatchNormalization Clip QuantizeLinear DequantizeLinear".split(), FIRST),
    **dict.fromkeys("Reshape Flatten Squeeze Unsqueeze".split(), FIRST),
    **dict.fromkeys("Erf Exp Log Sigmoid Softplus Softsign Sqrt Tanh".split(), SMOOTH),
    "Cast": Monotone(in_float32=_keeps_order_when_cast),
    "CastLike": Monotone(first=True, in_float32=_never),
    "Dropout": Monotone(first=True, in_float32=_never),
    "Celu": Monotone(when=_not_negative("alpha"), in_float32=_never),
    "Elu": Monotone(when=_not_negative("alpha"), in_float32=_never),
    "Selu": Monotone(when=_not_negative("alpha"), in_float32=_never),
    "LeakyRelu": Monotone(when=_not_negative("alpha")),
    "ThresholdedRelu": Monotone(when=_not_negative("alpha")),
    "PRelu": Monotone(first=True, when=_slope_not_negative),
}


def is_monotone(
    op: str, attributes: Attributes, varying: list[int], constant: Constant, *, in_float32: bool = False
) -> bool:
    """Whether an operator of the standard only rises, or only falls, in its one input that varies.

    Parameters
    ----------
    op : str
    attributes : mapping
        As the node has them.
    varying : list of int
        Positions of the inputs that are not constant.
    constant : callable
        The value of an input that is; None where it is not known.
    in_float32 : bool
        Whether the order must hold of float32 results as well.
    """
    fact = TABLE.get(op)
    if fact is None or len(varying) != 1 or (fact.first and varying != [0]):
        return False
    return fact.when(attributes, constant) and (not in_float32 or fact.in_float32(attributes, constant))
