"""The operators that are supported: one row each, from which docs/onnx.md is made."""

from __future__ import annotations

from qsnnc.frontend.pools import POOLS
from qsnnc.frontend.relabel import RELABEL

ELEMENTWISE = frozenset(
    "Abs Add And BatchNormalization BitShift Cast CastLike Ceil Celu Clip DequantizeLinear Div Dropout Elu Equal "
    "Erf Exp Floor "
    "Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity LeakyRelu Less LessOrEqual Log Max Mean Min Mish "
    "Mod Mul Neg Not "
    "Or PRelu Pow QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign Softplus Softsign Sqrt Sub Sum Swish Tanh "
    "ThresholdedRelu Where Xor".split()
)
WEIGHTED = frozenset("Conv Gemm MatMul".split())
JOINS = frozenset("Add Sub Sum".split())

__all__ = ["ELEMENTWISE", "JOINS", "POOLS", "RELABEL", "WEIGHTED"]
