"""How neurons behave over the steps of a frame: leak, bias, comparison, reset, and the potentials that they can reach.

One step of a neuron with potential v, all in units of 2**-fraction_bits of a weight:

    v = floor(v * k / 2**m) + (sum of the weights of the axons that hold a bit) * 2**fraction_bits + bias
    it fires iff v >= threshold
    where it fires: v = amount ("value"), v = v - amount ("subtract"), or v stays ("none")

so it fires at most once in a step. Before the first step v is ``start``. A layer without a model has no state: v is 0 before
every step. The compiler chooses fraction bits with which the floor never cuts anything off (`exact`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chipsim.chip.spec import NeuronLimits

Int = npt.NDArray[np.int64]
Reset = Literal["value", "subtract", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronModel:
    """What all neurons of a layer have in common.

    ``leak`` (k, m) multiplies the potential by k / 2**m before a step's input is added. With ``delay`` 1 a spike found in
    step t is read as one of step t + 1 and none is sent in the last step.
    """

    reset: Reset
    leak: tuple[int, int] = (1, 0)
    fraction_bits: int = 0
    delay: int = 0

    def integrate(self, potential: Int, total: Int, bias: Int | int) -> Int:
        """Return the potential after a step's input, before any reset.

        Parameters
        ----------
        potential : int64 ndarray
            After the step before, or ``start``.
        total : int64 ndarray
            Sum of the weights of the axons that hold a bit.
        """
        k, m = self.leak
        left = potential if (k, m) == (1, 0) else (potential * k) >> m  # an arithmetic shift: the floor
        return np.asarray(left + (total << self.fraction_bits) + bias)

    def settle(self, potential: Int, fired: npt.NDArray[np.bool_], amount: Int | int) -> Int:
        """Return the potential after the reset of the neurons that fired."""
        if self.reset == "none":
            return potential
        return np.where(fired, amount if self.reset == "value" else potential - amount, potential)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dynamics(NeuronModel):
    """A neuron model with the constants of each channel; each int64 (border classes, channels)."""

    amount: Int  # the potential after a spike ("value"), or what a spike subtracts ("subtract"); zeros for "none"
    start: Int  # the potential before the first step
    bias: Int  # added in every step

    @property
    def model(self) -> NeuronModel:
        """The neuron model without the constants."""
        return NeuronModel(reset=self.reset, leak=self.leak, fraction_bits=self.fraction_bits, delay=self.delay)

    @property
    def constants(self) -> tuple[Int, Int, Int]:
        """``amount``, ``start`` and ``bias``."""
        return self.amount, self.start, self.bias


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """What neurons can reach over the steps of a frame, for every input; arrays of one shape."""

    low: Int  # smallest potential, before or after a reset
    high: Int
    ever: npt.NDArray[np.bool_]  # whether some input makes it fire in some step


def potential_range(
    model: NeuronModel, low: Int, high: Int, threshold: Int | None, constants: tuple[Int, Int, Int], steps: int
) -> Range:
    """Bound the potentials of neurons over all inputs (interval analysis, step by step).

    Parameters
    ----------
    low, high : int64 ndarray
        Smallest and largest sum of weights in any step.
    threshold : int64 ndarray or None
        None: the neurons never fire (potentials that are read out).
    constants : tuple of int64 ndarray
        ``amount``, ``start``, ``bias``.
    """
    amount, start, bias = constants
    bottom = top = np.broadcast_to(start, np.broadcast_shapes(low.shape, np.shape(start))).astype(np.int64)
    lowest, highest = bottom, top
    ever = np.zeros(bottom.shape, bool)
    for _ in range(steps):
        bottom, top = model.integrate(bottom, low, bias), model.integrate(top, high, bias)
        lowest, highest = np.minimum(lowest, bottom), np.maximum(highest, top)
        if threshold is None:
            continue
        can, must = top >= threshold, bottom >= threshold
        ever = ever | can
        if model.reset == "none":
            continue
        fires_from = np.maximum(bottom, threshold)  # the smallest potential that fires, where one can
        after = (amount, amount) if model.reset == "value" else (fires_from - amount, top - amount)
        quiet = (bottom, np.minimum(top, threshold - 1))
        bottom, top = (
            np.where(must, spiking, np.where(can, join(silent, spiking), silent))
            for silent, spiking, join in zip(quiet, after, (np.minimum, np.maximum), strict=True)
        )
        lowest, highest = np.minimum(lowest, bottom), np.maximum(highest, top)
    return Range(lowest, highest, ever)


def exact(model: NeuronModel, constants: tuple[Int, Int, Int], steps: int) -> bool:
    """Whether the leak never cuts a bit off in that many steps, whatever the input.

    A potential is a multiple of 2**z for the z that every term has at least. A step takes m - (twos in k) of them, so with
    k odd and constants that are whole weights, m * (steps - 1) fraction bits are enough; a start takes m more.
    """
    amount, start, bias = constants
    k, m = model.leak
    if m == 0:
        return True
    added = min(model.fraction_bits, _twos(bias), _twos(amount) if model.reset != "none" else _MOST)
    zeros = _twos(start)
    for _ in range(steps):
        if zeros < _MOST:
            zeros += _twos(np.array(k)) - m
            if zeros < 0:
                return False
        zeros = min(zeros, added)
    return True


def unsupported(
    model: NeuronModel, constants: tuple[Int, Int, Int], chip: NeuronLimits | None
) -> list[tuple[str, Any, Any]]:
    """Find what neurons of this model need and a chip's cannot do.

    Returns
    -------
    list of (str, found, allowed)
        The keys of a chip's ``neuron:`` section; ``"neuron"`` alone where the chip's potentials do not outlive a step.
    """
    if chip is None:
        return [("neuron", "potentials that are kept from step to step", "none")]
    _, start, bias = constants
    m = model.leak[1]
    checks = (
        ("resets", model.reset, list(chip.resets), model.reset in chip.resets),
        ("leak_bits", m, chip.leak_bits, m <= chip.leak_bits),
        ("fraction_bits", model.fraction_bits, chip.fraction_bits, model.fraction_bits <= chip.fraction_bits),
        ("bias", "a bias", "none", chip.bias or not bias.any()),
        ("start", "a start value", 0, chip.start or not start.any()),
        ("delay", model.delay, 0, chip.delay or not model.delay),
    )
    return [(key, found, allowed) for key, found, allowed, holds in checks if not holds]


#: more trailing zeros than any number has: that of zero
_MOST = 64


def _twos(values: npt.NDArray[Any]) -> int:
    """How often two divides all of them."""
    together = int(np.bitwise_or.reduce(np.asarray(values, np.int64), axis=None))
    return _MOST if together == 0 else (together & -together).bit_length() - 1
