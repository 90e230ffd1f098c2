"""Draw the chip of a run: SOPs per core, flits per link, or cycles per tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chipsim.errors import InputError, UsageError
from chipsim.provenance import file_sha256, line
from chipsim.report import schema
from chipsim.report.canvas import named, printed
from chipsim.report.chip_view import Core, Link, Run, Tick
from chipsim.timing.tick import INCREMENTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: layers and ticks that a picture shows at most
MOST_LAYERS, MOST_TICKS = 400, 256


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
    if kind == "map" and path.endswith((".map", ".paicore")):
        return of_mapping(path)
    _, content = schema.read(path, "a result of chipsim run --json", "chipsim-run/1")
    found = schema.parse(path, content, schema.RunChip)
    if found.floorplan is None:
        raise InputError(path, "has no floorplan; write it again with chipsim run --json", code="result-schema")
    if kind != "map" and found.timing is None:
        raise InputError(
            path, f"has no timing, which {kind} needs; write it with chipsim run --timing cycle --json", code="result-timing"
        )
    layers = {core.layer for core in found.cores}
    schema.at_most(path, "layers", len(layers), MOST_LAYERS)
    schema.at_most(path, "ticks", len(found.timing.ticks) if found.timing else 0, MOST_TICKS)
    return _run(found, found.floorplan, found.timing)


def of_mapping(path: str) -> Run:
    """Read a mapping as a picture without a run: its cores by synapses, those of a PAICORE chip by rows in use.

    Raises
    ------
    InputError, MappingError
    """
    from chipsim.paicore.kind import is_program

    run = _of_program(path) if is_program(path) else _of_mapping(path)
    schema.at_most(path, "layers", len({core.layer for core in run.cores}), MOST_LAYERS)
    return run


def _of_mapping(path: str) -> Run:
    from chipsim.mapping import read_mapping
    from chipsim.mapping.totals import core_synapses

    m = read_mapping(path)
    made = line({"map_sha256": file_sha256(path), "model_sha256": m.model_sha256})
    names = [named(layer.name) for layer in m.layers]
    each = zip(m.core_position.tolist(), m.core_layer.tolist(), core_synapses(m).tolist(), strict=True)
    cores = tuple(Core(number, (x, y), names[layer], float(count)) for number, ((x, y), layer, count) in enumerate(each))
    chip = m.chip
    return Run(
        title=named(chip.name), images=0, timing="", grid=chip.grid, ports=chip.ports, dead_cores=chip.dead_cores,
        dead_links=chip.dead_links, cores=cores, links=None, ticks=None, clock_mhz=None, quantity="synapses", made=made,
    )  # fmt: skip


def _of_program(path: str) -> Run:
    from chipsim.paicore import read_program

    program = read_program(path)
    made = line({"map_sha256": file_sha256(path), "model_sha256": program.model_sha256})
    cores = tuple(
        Core(
            number, (core.x, core.y), named(program.layers[core.layer].name),
            float(core.records + core.parameters + core.potentials + core.weights),
        )
        for number, core in enumerate(program.cores)
    )  # fmt: skip
    chip = program.chip
    return Run(
        title=named(chip.name), images=0, timing="", grid=chip.grid, ports=(), dead_cores=chip.dead_cores, dead_links=(),
        cores=cores, links=None, ticks=None, clock_mhz=None, quantity="rows", made=made,
    )  # fmt: skip


def _run(run: schema.RunChip, floor: schema.Floorplan, timing: schema.Timing | None) -> Run:
    return Run(
        title=named(run.chip),
        conditions=named(schema.conditions_of(run)),
        made=schema.made_line(run),
        images=run.images,
        timing=f"timing {named(timing.mode)}, mean of {timing.images:,} images" if timing else "",
        grid=floor.grid,
        ports=tuple(floor.ports),
        dead_cores=tuple(floor.dead_cores),
        dead_links=tuple(floor.dead_links),
        cores=tuple(Core(core.id, (core.x, core.y), named(core.layer), core.sops / run.images) for core in run.cores),
        links=_links(timing) if timing else None,
        ticks=_ticks(timing) if timing else None,
        clock_mhz=timing.clock_mhz if timing else None,
    )


def _links(timing: schema.Timing) -> tuple[Link, ...]:
    return tuple(Link((x, y), side, flits, ingress) for x, y, side, flits, ingress in timing.links)


def _ticks(timing: schema.Timing) -> tuple[Tick, ...]:
    return tuple(Tick(named(tick["layer"]), tuple(float(tick[part]) for part in INCREMENTS)) for tick in timing.ticks)


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
