"""How a NIR network is read, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from chipsim.errors import UsageError
from qsnnc.nir.semantics import Semantics, profile

InputKind = Literal["spikes", "rate", "direct"]
RateKind = Literal["bernoulli", "regular"]
Readout = Literal["count", "last", "largest"]

#: relative difference from the grid that is taken as rounding: decoded decays were seen 1e-6 off
TOLERANCE = 2.0**-18
MOST_STEPS = 65_535


@dataclass(frozen=True, kw_only=True)
class NirOptions:
    """How a NIR network is read; None is not given, and may come from the file's metadata.

    Parameters
    ----------
    semantics : str, optional
        A profile: what the framework that wrote the file means.
    settings : Semantics
        Single settings, which go before the profile's.
    steps : int, optional
        Steps of a frame.
    input : str, optional
        ``spikes`` (the data set's own), ``rate`` (spikes made of images) or ``direct`` (the image in every step: the host
        computes the first neurons).
    rate : str, optional
        How ``rate`` makes spikes: ``bernoulli`` or ``regular``.
    seed : int, optional
        Seed of ``bernoulli``.
    readout : str, optional
        ``count`` of spikes, ``last`` potential, or the ``largest`` one; from the last node where it leaves no choice.
    weight_bits : int, optional
        Quantize the weights of every layer to so many bits, and round thresholds and biases; without it what lies on no grid
        is refused.
    layer_bits : dict
        The same for single layers by name, before ``weight_bits``.
    tolerance : float, optional
        Relative difference from the grid that is taken as rounding.
    """

    semantics: str | None = None
    settings: Semantics = field(default_factory=Semantics)
    steps: int | None = None
    input: InputKind | None = None
    rate: RateKind | None = None
    seed: int | None = None
    readout: Readout | None = None
    weight_bits: int | None = None
    layer_bits: Mapping[str, int] = field(default_factory=dict)
    tolerance: float | None = None

    def __post_init__(self) -> None:
        profile(self.semantics)
        _one_of("--input", self.input, get_args(InputKind))
        _one_of("--rate", self.rate, get_args(RateKind))
        _one_of("--score", self.readout, get_args(Readout))
        _within("--steps", self.steps, 1, MOST_STEPS)
        _within("--seed", self.seed, 0, 2**63 - 1)
        for bits in (self.weight_bits, *self.layer_bits.values()):
            _within("--weight-bits", bits, 2, 8)
        if self.tolerance is not None and not 0 <= self.tolerance < 0.5:
            raise UsageError(
                "--tolerance", f"is {self.tolerance}; allowed: 0 to below 0.5", code="option-value", found=self.tolerance
            )

    @property
    def rounds(self) -> bool:
        """Whether the weights of some layer are quantized."""
        return self.weight_bits is not None or bool(self.layer_bits)

    @property
    def given(self) -> bool:
        """Whether any of them is given."""
        return self != NirOptions() or any(getattr(self.settings, entry.name) is not None for entry in fields(Semantics))


def _one_of(option: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise UsageError(
            option, f"is {value!r}; allowed: {', '.join(allowed)}", code="option-value", found=value, allowed=list(allowed)
        )


def _within(option: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(
            option, f"is {value}; allowed: {low} to {high}", code="option-value", found=value, allowed=[low, high]
        )
