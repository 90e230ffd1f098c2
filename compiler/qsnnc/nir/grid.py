"""Integer grids: weights become integers times a unit, and thresholds, biases and leaks follow it or are refused."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.ir.layers import Int
from qsnnc.nir.network import F64
from qsnnc.nir.options import TOLERANCE

#: an 8-bit weight takes no more; whether a chip holds it is decided when the layer is lowered
MOST_BITS = 9
#: bits behind the point that thresholds, biases and resets may have, in units of a weight
FINEST = 12
#: units that are tried to round weights by
UNITS = 71
#: how far from a whole number of grid steps rounding can take a value
CLOSE = 1 / 32
#: a leak is k / 2**m with m at most this
FINEST_LEAK = 12


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Weights as integers times a unit."""

    integers: tuple[Int, ...]
    unit: float
    changed: int = 0  # how many of them the quantization moved by more than the tolerance

    def finer(self, factor: int) -> Weights:
        """Return the same weights on a grid that is so many times finer."""
        return Weights(tuple(array * factor for array in self.integers), self.unit / factor, self.changed)

    @property
    def dyadic(self) -> bool:
        """Whether the unit is a power of two, so that float sums of a framework are exact."""
        return frexp(self.unit)[0] == 0.5


def integer_weights(arrays: tuple[F64, ...], tolerance: float, name: str) -> Weights:
    """Find the coarsest grid of all weights of a layer: a power of two if there is one, else any unit.

    Raises
    ------
    ModelError
        They lie on no grid of at most `MOST_BITS` bits: the value that is furthest off, and its nearest grid value.
    """
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    sizes = np.unique(np.abs(flat[flat != 0]))
    if not len(sizes):
        return Weights(tuple(np.zeros(array.shape, np.int64) for array in arrays), 1.0)
    unit = _dyadic_unit(sizes, tolerance) or _any_unit(sizes, tolerance)
    if unit is None:
        finest = float(sizes[-1]) / (2 ** (MOST_BITS - 2) - 1)
        nearest = np.round(sizes / finest) * finest
        worst = int(np.argmax(np.abs(sizes - nearest) / sizes))
        raise ModelError(
            name,
            f"its weights ({len(sizes)} different sizes) lie on no common grid of {MOST_BITS - 1} bits: {sizes[worst]:.9g} "
            f"is not a multiple of {finest:.9g}, the nearest is {nearest[worst]:.9g}. Train with quantized weights, or "
            f"round them with --weight-bits {MOST_BITS - 1}",
            code="nir-grid", layer=name, found=float(sizes[worst]), allowed=float(nearest[worst]),
        )  # fmt: skip
    return Weights(tuple(np.round(array / unit).astype(np.int64) for array in arrays), unit)


def quantized_weights(arrays: tuple[F64, ...], bits: int) -> Weights:
    """Round all weights of a layer to so many bits, by the unit that loses least.

    Where they lie on a grid of so few bits already, it stays. Otherwise the unit is that of `UNITS` shares of the largest
    weight / (2**(bits - 1) - 1) with the smallest sum of squared errors; what lies beyond is clipped.
    """
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    most = 2 ** (bits - 1) - 1
    sizes = np.unique(np.abs(flat[flat != 0]))
    if not len(sizes):
        return Weights(tuple(np.zeros(array.shape, np.int64) for array in arrays), 1.0)
    found = _dyadic_unit(sizes, TOLERANCE)
    if found is not None and sizes[-1] / found <= most:
        unit = found
    else:
        units = float(sizes[-1]) / most * np.linspace(0.3, 1.0, UNITS)
        lost = [((np.clip(np.round(flat / each), -most - 1, most) * each - flat) ** 2).sum() for each in units]
        unit = float(units[int(np.argmin(lost))])
    integers = tuple(np.clip(np.round(array / unit), -most - 1, most).astype(np.int64) for array in arrays)
    near = [np.abs(q * unit - array) > TOLERANCE * np.abs(array) for q, array in zip(integers, arrays, strict=True)]
    return Weights(integers, unit, int(sum(each.sum() for each in near)))


def _dyadic_unit(sizes: F64, tolerance: float) -> float | None:
    """Return the largest power of two that divides all sizes, if they are then integers of few enough bits."""
    top = frexp(float(sizes[-1]))[1]
    for exponent in range(top - 1, top - MOST_BITS - 1, -1):
        unit = 2.0**exponent
        if sizes[-1] / unit > 2 ** (MOST_BITS - 1):
            return None
        if on_grid(sizes / unit, tolerance).all():
            return unit
    return None


def _any_unit(sizes: F64, tolerance: float) -> float | None:
    """Return the largest unit that divides all sizes."""
    for parts in range(1, 2 ** (MOST_BITS - 1) + 1):
        unit = float(sizes[0]) / parts
        if sizes[-1] / unit > 2 ** (MOST_BITS - 1):
            return None
        ratio = sizes / unit
        if on_grid(ratio, tolerance).all():
            whole = np.round(ratio)
            return float((whole * sizes).sum() / (whole * whole).sum())  # the least squares
    return None


def on_grid(ratio: F64, tolerance: float) -> npt.NDArray[np.bool_]:
    """Return which ratios are whole numbers within a relative tolerance.

    A large ratio is close to some whole number by chance: unless more is asked for, it must be within a 32nd of one.
    """
    whole = np.round(ratio)
    off = np.abs(ratio - whole)
    near = (off <= tolerance * np.abs(ratio)) & (off <= (CLOSE if tolerance <= TOLERANCE else 0.5))
    return np.asarray(near & ((whole != 0) | (ratio == 0)))


def bits_behind(values: F64, unit: float, tolerance: float) -> int | None:
    """Return how many bits behind the point values need in a unit, at most `FINEST`; None if more."""
    for bits in range(FINEST + 1):
        if on_grid(values * (2.0**bits / unit), tolerance).all():
            return bits
    return None


def off_grid(values: F64, unit: float, tolerance: float, what: str, name: str) -> ModelError:
    """Return the refusal of values that lie on no grid: the worst, and the nearest grid value."""
    step = unit / 2**FINEST
    flat = values.reshape(-1)
    worst = flat[~on_grid(flat / step, tolerance)][0]
    nearest = float(np.round(worst / step) * step)
    return ModelError(
        name,
        f"its {what} {worst:.9g} lies on no grid: weights are multiples of {unit:.9g}, and the nearest value with {FINEST} "
        f"bits behind the point is {nearest:.9g}. Train with it on that grid, or raise --tolerance ({tolerance:.2g})",
        code="nir-grid", layer=name, found=float(worst), allowed=nearest,
    )  # fmt: skip


def leak_of(decay: float, tolerance: float, name: str) -> tuple[int, int]:
    """Return a decay as (k, m), k / 2**m with the smallest m.

    Raises
    ------
    ModelError
        It is none within the tolerance.
    """
    for m in range(FINEST_LEAK + 1):
        k = round(decay * 2**m)
        if abs(k / 2**m - decay) <= tolerance * decay:
            return k, m
    near = round(decay * 16) / 16
    raise ModelError(
        name,
        f"its potential decays by the factor {decay:.9g} in each step, which is no k / 2**m within {tolerance:.2g}; the "
        f"nearest sixteenth is {near:g}. Train with a factor such as 0.5, 0.75 or 0.875, or raise --tolerance",
        code="nir-leak", layer=name, found=decay, allowed=near,
    )  # fmt: skip
