"""The command-line options that say how a NIR file is read, each declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from qsnnc.nir.options import NirOptions
from qsnnc.nir.semantics import CHOICES, PROFILES, Semantics, option_of, settings

Result = TypeVar("Result")

PANEL = "NIR files"


def _option(kind: Any, *names: str, **more: Any) -> Any:
    return Annotated[kind, typer.Option(*names, rich_help_panel=PANEL, **more)]


#: declarations of the fields of `NirOptions` but ``settings`` and ``weight_bits``, which ONNX files share, by name
DECLARED: dict[str, Any] = {
    "semantics": _option(
        str | None, "--semantics", metavar="PROFILE",
        help=f"What the framework that wrote the file means: {', '.join(PROFILES)}."
    ),
    "steps": _option(int | None, "--steps", metavar="T", help="Steps of a frame."),
    "input": _option(
        str | None, "--input", metavar="spikes|rate|direct",
        help="What enters: the data set's own spikes, spikes made of images, or the image itself in every step.",
    ),
    "rate": _option(
        str | None, "--rate", metavar="bernoulli|regular",
        help="How --input rate makes spikes of images.", show_default="bernoulli"
    ),
    "seed": _option(int | None, "--rate-seed", metavar="N", help="Seed of --rate bernoulli.", show_default="0"),
    "readout": _option(
        str | None, "--score", metavar="count|last|largest",
        help="What is read out: spike counts, or the last or largest potential of an output that does not spike.",
    ),
    "tolerance": _option(
        float | None, "--tolerance", metavar="R", help="Relative difference from the integer grid that counts as rounding.",
        show_default="2**-18",
    ),
}  # fmt: skip

#: what each single setting says
SETTINGS: dict[str, str] = {
    "compare": "How the potential is compared with the threshold.",
    "spikes": "Spikes a step: at most one, or potential / threshold of them.",
    "reset": "What a spike does: sets the potential, subtracts the threshold at once or in the next step, or nothing.",
    "decay": "A LIF's factor in each step: 1 - dt / tau, exp(-dt / tau) or 1 - 1 / r.",
    "gain_if": "An IF's factor of its input: r dt, or 1.",
    "gain_lif": "A LIF's factor of its input: r dt / tau, 1, or 1 - decay.",
    "dt": "Duration of a step, in the unit of tau.",
    "start": "The potential before the first step: 0 or v_reset.",
    "delay": "How many steps later a spike is sent.",
    "flatten": "How Flatten numbers features: channels first or last.",
}


def with_nir(verb: Callable[..., Result]) -> Callable[..., Result]:
    """Replace the parameter ``nir`` of a verb by an option for each field of `NirOptions` and each setting."""
    hints = get_type_hints(verb, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        parameter.replace(kind=keyword, annotation=hints[parameter.name])
        for parameter in inspect.signature(verb).parameters.values()
        if parameter.name != "nir"
    ]
    declared = {f"nir_{name}": kind for name, kind in DECLARED.items()} | {
        f"nir_{entry.name}": _option(
            float | None if entry.name == "dt" else str | None, option_of(entry.name),
            metavar="SECONDS" if entry.name == "dt" else "|".join(CHOICES[entry.name]), help=SETTINGS[entry.name],
        )
        for entry in fields(Semantics)
    }  # fmt: skip
    parameters += [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in declared.items()]

    @wraps(verb)
    def call(**given: Any) -> Result:
        values = {name: given.pop(f"nir_{name}") for name in DECLARED}
        single = {entry.name: given.pop(f"nir_{entry.name}") for entry in fields(Semantics)}
        return verb(**given, nir=NirOptions(**values, settings=settings(single)))

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call
