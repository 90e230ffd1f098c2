"""The integer constants of a layer's neurons: thresholds, resets, starts and biases on the grid of its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chipsim.mapping.dynamics import Dynamics, exact, potential_range
from qsnnc.errors import ModelError
from qsnnc.ir.layers import Int
from qsnnc.nir.grid import FINEST, Weights, bits_behind, leak_of, off_grid, on_grid
from qsnnc.nir.network import F64
from qsnnc.nir.neurons import Neuron
from qsnnc.nir.tensors import Tensor

#: fraction bits that a layer may have
MOST_FRACTION_BITS = 30
#: units of a potential; int64 holds sums of a few of them
LARGEST = 2.0**31


@dataclass(frozen=True, slots=True, eq=False)
class Constants:
    """Thresholds and dynamics of a layer, for each border class and channel."""

    border: Int  # (rows, columns)
    thresholds: Int  # (classes, channels, 1), or (classes, channels, 0)
    dynamics: Dynamics
    rounded: int  # thresholds between grid values, for which the next higher one decides the same


@dataclass(frozen=True, slots=True, eq=False)
class _Real:
    """What a neuron has in units of its input: all (channels, rows, columns)."""

    threshold: F64 | None
    amount: F64
    start: F64
    bias: F64


def constants_of(
    neuron: Neuron, x: Tensor, weights: Weights, steps: int, tolerance: float, name: str, *, rounding: bool
) -> Constants:
    """Put a layer's constants on the grid of its weights.

    Parameters
    ----------
    rounding : bool
        Whether biases and resets that lie on no grid are rounded.

    Raises
    ------
    ModelError
        A value lies on no grid; the leak takes too many fraction bits.
    """
    real = _real(neuron, x, name)
    exact_values = [("bias", real.bias), ("start value", real.start)]
    if neuron.reset != "none":
        what = "threshold, which a spike subtracts," if neuron.reset == "subtract" else "reset value"
        exact_values.append((what, real.amount))
    behind = [_behind(values, weights.unit, tolerance, what, name, rounding) for what, values in exact_values]
    if real.threshold is not None:
        behind.append(bits_behind(real.threshold, weights.unit, tolerance) or 0)
    bits = max(behind)
    scale = 2.0**bits / weights.unit
    every = [each for each in (real.amount, real.start, real.bias, real.threshold) if each is not None]
    _refuse_large(max(float(np.abs(each).max()) * scale for each in every), scale, name)
    whole = [np.round(each * scale).astype(np.int64) for each in (real.amount, real.start, real.bias)]
    model = Dynamics(
        reset=neuron.reset, leak=leak_of(neuron.decay, tolerance, name), fraction_bits=bits, delay=neuron.delay,
        amount=np.zeros((1, 1), np.int64), start=np.zeros((1, 1), np.int64), bias=np.zeros((1, 1), np.int64),
    )  # fmt: skip
    while True:
        more = model.fraction_bits - bits
        values = [each << more for each in whole]
        if exact(model, (values[0], values[1], values[2]), steps):
            break
        if model.fraction_bits == MOST_FRACTION_BITS:
            k, m = model.leak
            raise ModelError(
                name,
                f"leaks by {k}/{2**m} in each of {steps} steps, which takes more than {MOST_FRACTION_BITS} fraction bits to "
                "stay exact; use fewer steps or a leak of fewer bits, such as 1/2",
                code="nir-width", layer=name, found=m * steps, allowed=MOST_FRACTION_BITS,
            )  # fmt: skip
        model = replace(model, fraction_bits=model.fraction_bits + 1)
    thresholds, rounded = _thresholds(real.threshold, neuron.strict, scale, more, tolerance, x, rounding=rounding)
    return _classes(*_coarsest(model, thresholds, values, steps), rounded, x)


def _coarsest(model: Dynamics, thresholds: Int, values: list[Int], steps: int) -> tuple[Dynamics, Int, list[Int]]:
    """Drop fraction bits that nothing needs, such as those of a threshold between two grid values."""
    while model.fraction_bits and not any((each & 1).any() for each in (thresholds, *values)):
        less = replace(model, fraction_bits=model.fraction_bits - 1)
        halves = [each >> 1 for each in values]
        if not exact(less, (halves[0], halves[1], halves[2]), steps):
            break
        model, thresholds, values = less, thresholds >> 1, halves
    return model, thresholds, values


def _refuse_large(largest: float, scale: float, name: str) -> None:
    if largest > LARGEST:
        raise ModelError(
            name,
            f"has a threshold, bias, reset or start of {largest / scale:g}, which is {largest:.3g} units of its potential; "
            f"allowed: {LARGEST:.3g}. Use weights and biases of one magnitude",
            code="nir-width", layer=name, found=largest, allowed=LARGEST,
        )  # fmt: skip


def refuse_many(layer_name: str, found: Constants, reach: Int, steps: int) -> None:
    """Refuse neurons that could fire more than one spike in a step: their potential can reach twice the threshold.

    Raises
    ------
    ModelError
    """
    dynamics = found.dynamics
    constants = dynamics.amount, dynamics.start, dynamics.bias
    threshold = found.thresholds[..., 0]
    bounds = potential_range(dynamics, reach[..., 0], reach[..., 1], threshold, constants, steps)
    over = bounds.high >= 2 * dynamics.amount
    if over.any():
        at = tuple(np.argwhere(over)[0])
        scale = 2**dynamics.fraction_bits
        raise ModelError(
            layer_name,
            f"can fire several spikes in one step: its potential reaches {bounds.high[at] / scale:g} of a threshold of "
            f"{dynamics.amount[at] / scale:g} (in weight units), and a wire carries one. Train with at most one spike "
            "a step (in sinabs: spike_fn=SingleSpike, --semantics sinabs-single), or with smaller weights",
            code="nir-multi-spike", layer=layer_name, found=int(bounds.high[at]), allowed=int(2 * dynamics.amount[at] - 1),
        )  # fmt: skip


def _real(neuron: Neuron, x: Tensor, name: str) -> _Real:
    """Divide everything by the gain, so that potentials are in units of the input."""
    gain = x.arranged(neuron.gain, name, "r")

    def each(values: F64, key: str) -> F64:
        return x.arranged(values, name, key) / gain

    threshold = None if neuron.threshold is None else each(neuron.threshold, "v_threshold")
    bias = x.constant + each(neuron.bias, "v_leak")
    return _Real(threshold, each(neuron.amount, "v_reset"), each(neuron.start, "v_reset"), bias)


def _behind(values: F64, unit: float, tolerance: float, what: str, name: str, rounding: bool) -> int:
    found = bits_behind(values, unit, tolerance)
    if found is None and not rounding:
        raise off_grid(values, unit, tolerance, what, name)
    return min(FINEST, 6) if found is None else found


def _thresholds(
    values: F64 | None, strict: bool, scale: float, more: int, tolerance: float, x: Tensor, *, rounding: bool
) -> tuple[Int, int]:
    """Return the smallest potentials that fire, and how many thresholds lie between two grid values.

    The grid is ``scale`` steps a unit, and 2**more times finer for those that do not lie on it.
    """
    if values is None:
        return np.zeros((*x.space, 0), np.int64), 0
    on = on_grid(values * scale, tolerance) | rounding
    finer = values * scale * 2.0**more
    # on the grid, v > threshold is v >= threshold + one unit; between two grid values both are v >= the next
    found = np.where(on, np.round(values * scale) * 2.0**more + strict, np.ceil(finer))
    return found.astype(np.int64)[..., None], int((~on).sum())


def _classes(model: Dynamics, thresholds: Int, values: list[Int], rounded: int, x: Tensor) -> Constants:
    """Give positions with the same constants in every channel one border class."""
    channels, rows, columns = x.space
    stack = np.concatenate([thresholds, np.stack(values, axis=-1)], axis=-1)  # (channels, rows, columns, values)
    by_position = stack.transpose(1, 2, 0, 3).reshape(rows * columns, -1)
    each, border = np.unique(by_position, axis=0, return_inverse=True)
    table = each.reshape(len(each), channels, -1)
    amount, start, bias = (np.ascontiguousarray(table[..., i - 3]) for i in range(3))
    dynamics = replace(model, amount=amount, start=start, bias=bias)
    return Constants(
        np.asarray(border.reshape(rows, columns), np.int64), np.ascontiguousarray(table[..., :-3]), dynamics, rounded
    )
