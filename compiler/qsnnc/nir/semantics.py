"""What a producer means by the nodes of a NIR file, which does not say it itself: profiles, single settings, metadata.

Each profile is a row of `PROFILES`, measured against the framework (docs/nir.md has the versions). A setting comes from,
in this order: a single option, the profile that was asked for, the metadata of the node, that of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from chipsim.errors import UsageError

Compare = Literal[">", ">="]
Spikes = Literal["one", "many"]
Reset = Literal["value", "subtract", "subtract-late", "none"]
Decay = Literal["euler", "exp", "r"]
Gain = Literal["ode", "one", "leak"]
Start = Literal["zero", "reset"]
Order = Literal["chw", "hwc"]

#: what begins the keys of our metadata
PREFIX = "qsnnc."


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """The settings that NIR leaves open; None is not given.

    Parameters
    ----------
    compare : ``>`` or ``>=``
        A neuron fires if its potential compares so with the threshold.
    spikes : ``one`` or ``many``
        At most one spike a step, or floor(v / threshold) of them.
    reset : str
        What a spike does to the potential: ``value`` sets it to v_reset; ``subtract`` takes the threshold away at once;
        ``subtract-late`` takes it away in the next step, after the leak; ``none`` leaves it.
    decay : str
        The factor of a LIF's potential in each step: ``euler`` 1 - dt / tau, ``exp`` exp(-dt / tau), ``r`` 1 - 1 / r.
    gain_if, gain_lif : str
        The factor of the input in each step: ``ode`` r dt (IF) or r dt / tau (LIF); ``one``; ``leak`` 1 - decay (LIF).
    dt : float
        Seconds, or the unit of tau, of one step.
    start : ``zero`` or ``reset``
        The potential before the first step: 0 or v_reset.
    delay : 0 or 1
        How many steps later a spike is sent.
    flatten : ``chw`` or ``hwc``
        The order in which Flatten numbers the features of (channels, rows, columns).
    """

    compare: Compare | None = None
    spikes: Spikes | None = None
    reset: Reset | None = None
    decay: Decay | None = None
    gain_if: Gain | None = None
    gain_lif: Gain | None = None
    dt: float | None = None
    start: Start | None = None
    delay: int | None = None
    flatten: Order | None = None

    def over(self, other: Semantics) -> Semantics:
        """Return these settings, and the other's where these are not given."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return Semantics(**{name: getattr(other, name) if value is None else value for name, value in given.items()})


def _profile(
    compare: Compare, spikes: Spikes, reset: Reset, decay: Decay, gain_if: Gain, gain_lif: Gain | None, dt: float | None,
    start: Start = "zero", delay: int = 0, flatten: Order = "chw",
) -> Semantics:  # fmt: skip
    return Semantics(
        compare=compare, spikes=spikes, reset=reset, decay=decay, gain_if=gain_if, gain_lif=gain_lif, dt=dt, start=start,
        delay=delay, flatten=flatten,
    )  # fmt: skip


#: one row a producer; None: the user has to say it, if the network needs it
PROFILES: dict[str, Semantics] = {
    "nir": _profile(">", "one", "value", "euler", "ode", "ode", None),
    "snntorch": _profile(">", "one", "subtract-late", "r", "one", "one", None),
    "snntorch-zero": _profile(">", "one", "value", "r", "one", "one", None),
    "sinabs": _profile(">=", "many", "subtract", "exp", "one", None, 1.0),
    "sinabs-single": _profile(">=", "one", "subtract", "exp", "one", None, 1.0),
    "norse": _profile(">", "one", "value", "euler", "one", "ode", 1e-6),
    "spikingjelly": _profile(">=", "one", "value", "euler", "one", "ode", 1e-4, start="reset"),
    "rockpool": _profile(">=", "many", "subtract", "exp", "one", "one", None),
    "spyx": _profile(">", "one", "subtract-late", "euler", "one", "one", 1.0, delay=1, flatten="hwc"),
}

#: the values that each setting takes; dt takes any positive number
CHOICES: dict[str, tuple[str, ...]] = {
    "compare": get_args(Compare),
    "spikes": get_args(Spikes),
    "reset": get_args(Reset),
    "decay": get_args(Decay),
    "gain_if": ("ode", "one"),
    "gain_lif": get_args(Gain),
    "start": get_args(Start),
    "delay": ("0", "1"),
    "flatten": get_args(Order),
}


def option_of(name: str) -> str:
    """Return the command-line option of a setting."""
    return "--" + name.replace("_", "-")


def parse_setting(name: str, text: str) -> str | float | int:
    """Parse a setting.

    Raises
    ------
    ValueError
        With what is allowed.
    """
    if name == "dt":
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 < value < float("inf"):
            raise ValueError(f"is {text!r}; allowed: a number above 0")
        return value
    if text not in CHOICES[name]:
        raise ValueError(f"is {text!r}; allowed: {', '.join(CHOICES[name])}")
    return int(text) if name == "delay" else text


def settings(given: Mapping[str, str | float | int | None]) -> Semantics:
    """Return the single settings that were given as options.

    Raises
    ------
    UsageError
        A value that is not allowed.
    """
    found = {}
    for name, value in given.items():
        if value is not None:
            try:
                found[name] = parse_setting(name, str(value))
            except ValueError as error:
                raise UsageError(option_of(name), str(error), code="option-value", found=value) from None
    return Semantics(**found)  # type: ignore[arg-type]


def profile(name: str | None) -> Semantics:
    """Return the profile of a name, nothing for None.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    if name is None:
        return Semantics()
    if name not in PROFILES:
        raise UsageError(
            "--semantics", f"unknown profile {name!r}; expected one of {', '.join(PROFILES)}",
            code="option-value", found=name, allowed=list(PROFILES),
        )  # fmt: skip
    return PROFILES[name]


def of_metadata(metadata: Mapping[str, str]) -> Semantics:
    """Return the settings of metadata: the keys `qsnnc.NAME`, over the profile of `qsnnc.semantics`.

    Raises
    ------
    ValueError
        A key has a value that is not allowed, with the key.
    """
    found = {}
    for entry in fields(Semantics):
        text = metadata.get(PREFIX + entry.name)
        if text is not None:
            try:
                found[entry.name] = parse_setting(entry.name, text)
            except ValueError as error:
                raise ValueError(f"metadata {PREFIX + entry.name} {error}") from None
    name = metadata.get(PREFIX + "semantics")
    if name is not None and name not in PROFILES:
        raise ValueError(f"metadata {PREFIX}semantics is {name!r}; allowed: {', '.join(PROFILES)}")
    return Semantics(**found).over(profile(name))  # type: ignore[arg-type]
