"""Tell which elementwise ONNX operators are monotone: one table for the compiler and the fast encoder.

The compiler needs the mathematical function: if it is monotone, a quantizer after it has one threshold per level. The fast
encoder also needs monotonicity in float32 as onnxruntime computes it. Rounding preserves order, but a polynomial
approximation of an exponential may not: neighbouring inputs may give results in the wrong order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Attributes = Mapping[str, Any]
#: returns the value of a constant input by its position; None if it is not known
Constant = Callable[[int], Array | None]
Condition = Callable[[Attributes, Constant], bool]


def _always(_: Attributes, __: Constant) -> bool:
    return True


def _never(_: Attributes, __: Constant) -> bool:
    return False


def _not_negative(*names: str) -> Condition:
    """Require attributes that are not negative; the defaults of missing ones are positive."""
    return lambda attributes, _: all(float(attributes.get(name, 1.0)) >= 0 for name in names)


def _slope_not_negative(_: Attributes, constant: Constant) -> bool:
    slope = constant(1)
    return slope is not None and bool((slope >= 0).all())


def _keeps_order_when_cast(attributes: Attributes, _: Constant) -> bool:
    """Accept types wide enough not to wrap around: the float types, int32, int64 and bool."""
    return attributes.get("to") in (1, 6, 7, 9, 10, 11)


@dataclass(frozen=True, slots=True)
class Monotone:
    """Conditions under which an operator is monotone in its one non-constant input."""

    first: bool = False  # only if the first input is the one that varies
    when: Condition = _always
    in_float32: Condition = _always  # additional condition for the float32 results


ANY = Monotone()
FIRST = Monotone(first=True)
#: computed by an approximation, which may not be monotone in float32
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
    """Return whether a standard operator is monotone in its one input that varies.

    Parameters
    ----------
    op : str
    attributes : mapping
        Those of the node.
    varying : list of int
        Positions of the inputs that are not constant.
    constant : callable
        Returns the value of a constant input; None if it is not known.
    in_float32 : bool
        Whether the float32 results must be monotone as well.
    """
    fact = TABLE.get(op)
    if fact is None or len(varying) != 1 or (fact.first and varying != [0]):
        return False
    return fact.when(attributes, constant) and (not in_float32 or fact.in_float32(attributes, constant))
