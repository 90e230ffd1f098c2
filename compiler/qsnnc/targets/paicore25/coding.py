"""How the levels of a population travel: one bit for each of its thermometer neurons, or the level as one word."""

from __future__ import annotations

from dataclasses import dataclass

from chipsim.paicore.program import THERMOMETER, VALUE


@dataclass(frozen=True, slots=True)
class Coding:
    """The code of a population: ``inputs`` of ``width`` bits for each feature."""

    code: str
    width: int
    inputs: int

    @property
    def top(self) -> int:
        """Largest value of one input, as the levels use it; its bits could hold more."""
        return (1 << self.width) - 1


def thermometer(levels: int) -> Coding:
    """One neuron of one bit a level; a read-out layer has one a feature."""
    return Coding(THERMOMETER, 1, max(levels, 1))


def value(width: int) -> Coding:
    """One neuron a feature, whose output is the level."""
    return Coding(VALUE, width, 1)
