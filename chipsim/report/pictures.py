"""Draw the chip of a run: SOPs per core, flits per link, or cycles per tick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chipsim.chip.routes import SIDES
from chipsim.errors import InputError, UsageError
from chipsim.files import UNLIKE, read_json, unlike
from chipsim.report.canvas import printed
from chipsim.report.chip_view import Core, Link, Place, Run, Tick
from chipsim.timing.tick import INCREMENTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: columns and rows that a picture has at most
SIDE = 1024


def read(kind: str, paths: Sequence[str]) -> Run:
    """Read a result of ``chipsim run --json``.

    Raises
    ------
    UsageError
        There are several files.
    InputError
        The file cannot be read, is no run, or a run without timing where the figure needs it.
    """
    if len(paths) > 1:
        raise UsageError("plot", f"{kind} takes one result; found {len(paths)} files", code="plot-files", found=len(paths))
    (path,) = paths
    content = read_json(path)
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != "chipsim-run/1":
        raise InputError(
            path, f"has the schema {schema!r}; expected: a result of chipsim run --json", code="result-schema", found=schema,
            allowed=["chipsim-run/1"],
        )  # fmt: skip
    if not content.get("floorplan"):
        raise InputError(path, "has no floorplan; write it again with chipsim run --json", code="result-schema")
    if kind != "map" and not content.get("timing"):
        raise InputError(
            path, f"has no timing, which {kind} needs; write it with chipsim run --timing cycle --json", code="result-timing"
        )
    try:
        return _run(content)
    except UNLIKE as error:
        raise unlike(path, error) from None


def _number(value: Any) -> float:
    """Return a number that can be drawn."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{found} in a result")
    return found


def _run(content: dict[str, Any]) -> Run:
    floor, timing, images = content["floorplan"], content["timing"], int(content["images"])
    timed = f"timing {timing['mode']}, mean of {int(timing['images']):,} images" if timing else ""
    columns, rows = (int(side) for side in floor["grid"])
    if not (1 <= columns <= SIDE and 1 <= rows <= SIDE):
        raise ValueError(f"a grid of {columns} x {rows}")

    def place(found: list[int]) -> Place:
        x, y = (int(value) for value in found)
        if not (0 <= x < columns and 0 <= y < rows):
            raise ValueError(f"({x}, {y}) on a grid of {columns} x {rows}")
        return x, y

    cores = tuple(
        Core(int(core["id"]), place([core["x"], core["y"]]), str(core["layer"]), _number(core["sops"]) / images)
        for core in content["cores"]
    )
    links = timing and tuple(
        Link(place([x, y]), SIDES[SIDES.index(side)], _number(flits), _number(ingress))
        for x, y, side, flits, ingress in timing["links"]
    )
    ticks = timing and tuple(
        Tick(str(tick["layer"]), tuple(_number(tick[part]) for part in INCREMENTS)) for tick in timing["ticks"]
    )
    return Run(
        title=str(content["chip"]),
        images=images,
        timing=timed,
        grid=(columns, rows),
        ports=tuple(place(port) for port in floor["ports"]),
        dead_cores=tuple(place(core) for core in floor["dead_cores"]),
        dead_links=tuple((place(a), place(b)) for a, b in floor["dead_links"]),
        cores=cores,
        links=links,
        ticks=ticks,
        clock_mhz=_number(timing["clock_mhz"]) if timing else None,
    )


def draw(kind: str, run: Run, form: str) -> bytes:
    """Draw one figure.

    Parameters
    ----------
    kind : str
        ``map`` (cores), ``links`` or ``ticks``.
    form : str
        ``png``, ``svg`` or ``pdf``.
    """

    def page() -> Figure:
        from chipsim.report import drawing

        figure: Figure = {"map": drawing.cores, "links": drawing.links, "ticks": drawing.ticks}[kind](run)
        return figure

    return printed(page, form)
