"""The options of the command line that several verbs have, each declared once.

A verb names one of the option values of `chipsim.options` as a parameter, and `options` spreads it: each field of the value
becomes an option of its own, with the field's default and the declaration that stands in `DECLARED`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from chipsim import ranges
from chipsim.command_options import spread
from chipsim.numbers import real, whole

Result = TypeVar("Result")

MapFile = Annotated[str, typer.Argument(metavar="FILE.map", help="Mapping written by qsnnc compile.")]
DatasetName = Annotated[
    str,
    typer.Option("--dataset", metavar="mnist|digits|FILE.npz", help="Data set; a file holds images and optional labels."),
]
Split = Annotated[str, typer.Option(metavar="test|train", help="Which part of mnist or digits.")]
DataDir = Annotated[str | None, typer.Option(metavar="DIR", help="Directory of the four MNIST files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show neither a progress bar nor a summary.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local[:N]|ADDRESS|FILE.json",
        help="Compute on Dask: on N workers of one thread that are started here (default: a worker for each processor), or "
        "on the scheduler at an address, or that wrote this file. Same results; --threads is of each task (default: 1).",
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume", metavar="DIR", help="Keep the results of finished parts in DIR, and go on from those that are there."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print every figure, not one screen.")]
Published = Annotated[
    bool,
    typer.Option(
        "--published", help="With a plot: also show the published accuracies of the authors' four-spike network under noise."
    ),
]

#: declarations of the fields of `chipsim.options`, by name
DECLARED: dict[str, Any] = {
    "split": Split,
    "data_dir": DataDir,
    "limit": Annotated[int | None, whole("Use at most the first N images.", "--limit", show_default="all")],
    "threads": Annotated[
        int | None, whole("Number of threads.", "--threads", most=ranges.THREADS, show_default="all processors")
    ],
    "batch": Annotated[
        int | None, whole("Images executed at a time; does not change the results.", "--batch", most=ranges.BATCH)
    ],
    "engine": Annotated[str, typer.Option(metavar="fast|reference", help="Simulation engine; both give the same results.")],
    "noise": Annotated[
        float, real("Probability with which each encoder spike is lost.", "--noise", least=0, most=1, metavar="P")
    ],
    "seed": Annotated[
        int, whole("Seed of the noise, and of fault rates that specify none.", "--seed", least=0, most=ranges.SEED)
    ],
    "faults": Annotated[
        str | None, typer.Option(metavar="FILE.yaml", help="Faults of the chip that the compiler did not know of.")
    ],
    "avoid": Annotated[
        str | None,
        typer.Option(metavar="FILE.yaml", help="Dead cores and links; a mapping that uses one of them is refused."),
    ],
}


def options(verb: Callable[..., Result]) -> Callable[..., Result]:
    """Replace each parameter of a verb that is a dataclass by an option for each of its fields."""
    return spread(verb, _declared)


def _declared(kind: Any) -> Mapping[str, Any]:
    """Return the declarations of a group: `DECLARED`, or for a group that only the command line has its annotations."""
    return DECLARED if kind.__module__ == "chipsim.options" else get_type_hints(kind, include_extras=True)
