"""Neurons of NIR nodes: constants of one step, as the stated semantics have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from chipsim.mapping.dynamics import Reset
from qsnnc.errors import ModelError
from qsnnc.nir.network import F64, PREFIX, Node
from qsnnc.nir.options import TOLERANCE
from qsnnc.nir.semantics import Semantics, of_metadata, option_of

SPIKING = ("IF", "LIF")
SILENT = ("I", "LI")
NEURONS = (*SPIKING, *SILENT)


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """One step of a node's neurons: v = decay * v + gain * input + bias; a spike if v passes the threshold.

    Arrays have the shape of the node's parameters, which is broadcast to that of its input. A node without threshold never
    fires.
    """

    decay: float
    gain: F64
    bias: F64
    threshold: F64 | None
    strict: bool  # it fires if v > threshold, not also if v = threshold
    many: bool  # floor(v / threshold) spikes
    reset: Reset
    amount: F64  # the potential after a spike, or what a spike subtracts
    start: F64
    delay: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A setting that a node needs and nobody gave."""

    node: str
    setting: str


def settings_of(node: Node, asked: Semantics, file: Semantics) -> Semantics:
    """Return the settings of a node: those that were asked for, then its own metadata's, then the file's.

    Raises
    ------
    ModelError
        Its metadata has a value that is not allowed.
    """
    try:
        return asked.over(of_metadata(node.metadata)).over(file)
    except ValueError as error:
        raise ModelError(
            node.name, f"{error}; correct it with qsnnc nir-annotate", code="nir-metadata", node=node.name
        ) from None


def needed(node: Node, settings: Semantics) -> list[Missing]:
    """Return the settings that a neuron needs and that are not given."""
    names: list[str] = []
    if node.type in SPIKING:
        names += ["compare", "spikes", "reset", "delay"]
    names.append("start")
    names.append("gain_if" if node.type in ("IF", "I") else "gain_lif")
    if node.type in ("LIF", "LI"):
        names.append("decay")
    timed = settings.decay in ("euler", "exp") if node.type in ("LIF", "LI") else False
    if timed or getattr(settings, "gain_if" if node.type in ("IF", "I") else "gain_lif") == "ode":
        names.append("dt")
    return [Missing(node.name, name) for name in names if getattr(settings, name) is None]


def decode(node: Node, settings: Semantics) -> Neuron:
    """Return the neurons of a node.

    Raises
    ------
    ModelError
        A parameter has a value that means nothing, or that cannot be executed exactly.
    """
    leaky = node.type in ("LIF", "LI")
    decay = _decay(node, settings) if leaky else 1.0
    gain = _gain(node, settings, decay)
    threshold = _threshold(node) if node.type in SPIKING else None
    v_reset = node.finite("v_reset") if "v_reset" in node.values else np.zeros(1)
    reset = settings.reset if node.type in SPIKING else "none"
    assert reset is not None
    if reset != "value" and v_reset.any():
        raise ModelError(
            node.name,
            f"v_reset is {v_reset.reshape(-1)[0]:g}, but by the stated semantics a spike "
            f"{'leaves the potential' if reset == 'none' else 'subtracts the threshold'}; "
            "choose a profile that resets to a value, or export v_reset 0",
            code="nir-parameter", node=node.name, found=float(v_reset.reshape(-1)[0]), allowed=0,
        )  # fmt: skip
    start = v_reset if settings.start == "reset" else np.zeros(1)
    amount = v_reset
    if reset in ("subtract", "subtract-late"):
        assert threshold is not None
        amount = _late(node, threshold, decay) if reset == "subtract-late" else threshold
    elif reset == "none":
        amount = np.zeros(1)
    return Neuron(
        decay=decay, gain=gain, bias=(1.0 - decay) * _v_leak(node, v_reset, start) if leaky else np.zeros(1),
        threshold=threshold, strict=settings.compare == ">", many=settings.spikes == "many" and node.type in SPIKING,
        reset="subtract" if reset == "subtract-late" else reset, amount=amount, start=start,
        delay=settings.delay or 0 if node.type in SPIKING else 0,
    )  # fmt: skip


def clean(values: F64) -> F64:
    """Return values without the rounding of a few float operations: multiples of 2**-12 that are close are meant."""
    grid = np.round(values * 4096) / 4096
    return np.where(np.abs(values - grid) <= TOLERANCE * np.abs(values), grid, values)


def _threshold(node: Node) -> F64:
    found = node.array("v_threshold")
    if not (np.isfinite(found) & (found > 0)).all():
        bad = found.reshape(-1)[~(np.isfinite(found) & (found > 0)).reshape(-1)][0]
        raise ModelError(
            node.name, f"v_threshold is {bad:g}; allowed: a finite number above 0", code="nir-parameter",
            node=node.name, found=float(bad), allowed="above 0",
        )  # fmt: skip
    return found


def _late(node: Node, threshold: F64, decay: float) -> F64:
    """Return what to subtract at once so that the next step, after the leak, has the threshold less."""
    if decay == 0:
        raise ModelError(
            node.name,
            "its potential decays to 0 in every step, so that what is subtracted one step late cannot be subtracted at "
            "once; use a reset that acts at once (--reset subtract or --reset value)",
            code="nir-parameter", node=node.name, found=0.0,
        )  # fmt: skip
    return threshold / decay


def _positive(node: Node, key: str) -> F64:
    found = node.array(key)
    if not (found > 0).all():
        bad = found.reshape(-1)[~(found > 0).reshape(-1)][0]
        raise ModelError(
            node.name,
            f"{key} is {bad:g}; allowed: above 0",
            code="nir-parameter",
            node=node.name,
            found=float(bad),
            allowed="above 0",
        )
    return found


def _decay(node: Node, settings: Semantics) -> float:
    """Return the factor of the potential in each step; one for all neurons."""
    with np.errstate(over="ignore"):
        if settings.decay == "r":
            found = 1.0 - 1.0 / _positive(node, "r")  # r infinite: beta = 1
            if (found < 0).any():
                raise ModelError(
                    node.name, f"r is {node.array('r').min():g}; with decay 1 - 1 / r it must be at least 1",
                    code="nir-parameter", node=node.name, found=float(node.array("r").min()), allowed=">= 1",
                )  # fmt: skip
        else:
            tau = _positive(node, "tau")
            if not np.isfinite(tau).all():
                raise ModelError(
                    node.name, "tau is infinite; export an IF node, or state --decay r for snntorch's beta = 1",
                    code="nir-parameter", node=node.name, found="inf", allowed="a finite number above 0",
                )  # fmt: skip
            assert settings.dt is not None
            found = 1.0 - settings.dt / tau if settings.decay == "euler" else np.exp(-settings.dt / tau)
            if (found < -TOLERANCE).any():
                raise ModelError(
                    node.name,
                    f"tau is {tau.min():g}, which is less than dt {settings.dt:g}: the Euler step overshoots; "
                    "give the dt that the network was trained with (--dt)",
                    code="nir-parameter", node=node.name, found=float(tau.min()), allowed=f">= {settings.dt:g}",
                )  # fmt: skip
    found = np.maximum(clean(found), 0.0)
    if len(np.unique(found)) > 1:
        raise ModelError(
            node.name,
            f"its neurons leak at {len(np.unique(found))} different rates ({found.min():g} to {found.max():g}); allowed: "
            "one rate a layer, which all its cores share. Train with one time constant for each layer, not for each neuron, "
            "or export the neurons of each rate as a layer of their own",
            code="nir-parameter", node=node.name, found=len(np.unique(found)), allowed=1,
        )  # fmt: skip
    return float(found.reshape(-1)[0])


def _gain(node: Node, settings: Semantics, decay: float) -> F64:
    leaky = node.type in ("LIF", "LI")
    kind = settings.gain_lif if leaky else settings.gain_if
    if kind == "one":
        return np.ones(1)
    if kind == "leak":
        if decay == 1.0:
            raise ModelError(node.name, "its input is scaled by 1 - decay, which is 0", code="nir-parameter", node=node.name)
        return np.full(1, 1.0 - decay)
    assert settings.dt is not None
    r = _positive(node, "r")
    if not np.isfinite(r).all():
        raise ModelError(
            node.name,
            "r is infinite; allowed: a finite number above 0 (snntorch writes it for beta = 1: --semantics snntorch)",
            code="nir-parameter", node=node.name, found="inf", allowed="a finite number above 0",
        )  # fmt: skip
    return clean(r * settings.dt / _positive(node, "tau") if leaky else r * settings.dt)


def _v_leak(node: Node, v_reset: F64, start: F64) -> F64:
    """Return v_leak: 0, or what potentials start from and are reset to."""
    found = node.finite("v_leak") if "v_leak" in node.values else np.zeros(1)
    if found.any() and not ((found == v_reset).all() and (found == start).all() and node.type in SPIKING):
        value = float(found.reshape(-1)[np.flatnonzero(found)[0]])
        raise ModelError(
            node.name,
            f"v_leak is {value:g}; allowed: 0, or the value that potentials start from and are reset to. "
            "Shift the threshold by it and export v_leak 0",
            code="nir-parameter", node=node.name, found=value, allowed=0,
        )  # fmt: skip
    return found


def sums(*, accumulated: bool) -> Neuron:
    """Return neurons that hold a step's sums, or the sums of all steps so far, and never fire."""
    one, zero = np.ones(1), np.zeros(1)
    return Neuron(
        decay=float(accumulated), gain=one, bias=zero, threshold=None, strict=False, many=False, reset="none", amount=zero,
        start=zero, delay=0,
    )  # fmt: skip


def missing_error(path: str, missing: Sequence[Missing], nodes: Sequence[Node]) -> ModelError:
    """Return the refusal of a file whose meaning nobody stated: what is missing, and which profile its arrays suggest."""
    names = list(dict.fromkeys(entry.setting for entry in missing))
    order = [entry.name for entry in fields(Semantics) if entry.name in names]
    hint = suggestion(nodes)
    text = (
        f"does not say what its neurons mean: missing {', '.join(option_of(name) for name in order)} "
        f"(or --semantics PROFILE, or metadata {PREFIX}*: qsnnc nir-annotate). "
        "Files of different frameworks can be identical and give different spikes"
    )
    if hint:
        text += f"; its arrays look like those of {hint}, if it comes from there: --semantics {hint}"
    return ModelError(path, text, code="nir-semantics", node=missing[0].node, found=order, allowed=hint or None)


def suggestion(nodes: Sequence[Node]) -> str:
    """Return the profile that names and arrays suggest, '' if none; two producers' files can be identical."""
    if any("Torch" in node.name for node in nodes):
        return "rockpool"
    for node in nodes:
        if node.type not in SPIKING or "r" not in node.values:
            continue
        r = node.array("r").reshape(-1)[:1]
        if node.type == "IF" and np.isclose(r, 1e4, rtol=1e-3).all():
            return "spikingjelly"
        if (
            node.type == "LIF"
            and "tau" in node.values
            and np.isclose(r * 1e-4, node.array("tau").reshape(-1)[:1], rtol=1e-3).all()
        ):
            return "snntorch"
    return ""
