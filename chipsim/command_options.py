"""What both command lines declare alike: options of the same words, and how a group of options is declared once.

A verb takes a group as one parameter, whose type is a frozen dataclass; `spread` makes an option of each of its fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial, wraps
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

Result = TypeVar("Result")

Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result as JSON.")]
Page = Annotated[str, typer.Option("-o", "--output", metavar="PAGE.html|-", help="Page to write.")]


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What the page of a mapping shows besides the mapping and its run."""

    compiled: Annotated[
        str | None,
        typer.Option("--compile", metavar="FILE.json", help="Result of qsnnc compile --json: exactness of layers."),
    ] = None
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL.onnx", help="The model: its nodes can be searched for.")
    ] = None
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="mnist|digits|FILE.npz", help="The images of the run: pictures of the worst."),
    ] = None
    split: Annotated[
        str | None, typer.Option(metavar="test|train", help="Which part of mnist or digits.", show_default="test")
    ] = None


def spread(
    verb: Callable[..., Result],
    declared: Callable[[Any], Mapping[str, Any]] = partial(get_type_hints, include_extras=True),
) -> Callable[..., Result]:
    """Replace each parameter of a verb whose type is a dataclass by an option for each of its fields.

    Parameters
    ----------
    verb : callable
    declared : callable, optional
        Returns the declarations of a dataclass's fields, by name; by default their annotations.
    """
    hints = get_type_hints(verb, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb).parameters.values():
        if parameter.name in groups:
            kind = groups[parameter.name]
            parameters += [
                inspect.Parameter(entry.name, keyword, default=entry.default, annotation=declared(kind)[entry.name])
                for entry in fields(kind)
            ]
        else:
            parameters.append(parameter.replace(kind=keyword, annotation=hints[parameter.name]))

    @wraps(verb)
    def call(**given: Any) -> Result:
        values = {
            group: kind(**{entry.name: given.pop(entry.name) for entry in fields(kind)})  # type: ignore[arg-type, operator]
            for group, kind in groups.items()
        }
        return verb(**values, **given)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call
