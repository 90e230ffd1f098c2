"""Draw the figures of a run with matplotlib."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from chipsim.chip.routes import SIDES, STEPS
from chipsim.report.canvas import LETTER, bar_place, columns_of, foot, sheet, sign
from chipsim.timing.tick import INCREMENTS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chipsim.report.chip_view import Core, Link, Place, Run

LAYERS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5c00", "#3d3d3d", "#5b3fa0", "#00868b")
PARTS = dict(zip(INCREMENTS, ("#1f5f99", "#7fb2d9", "#e0a030", "#b8d4a8", "#b2182b", "#b0b0b0"), strict=True))
#: inches that a letter of a title takes
TITLE_LETTER = 0.072
DEAD, IDLE, HOST = "#b2182b", "#e4e4e4", "#3d3d3d"

#: what a core is coloured by
_WHAT = {
    "SOPs": "synaptic operations per core and image",
    "synapses": "synapses per core",
    "rows": "rows of memory in use per core",
}


def _title(run: Run, text: str, figure: Figure) -> str:
    """A title, and a further line: under what conditions; broken where the figure ends."""
    letters = int(figure.get_figwidth() / TITLE_LETTER)
    return "\n".join(part for line in (text, run.conditions) for part in textwrap.wrap(line, letters))


def cores(run: Run) -> Figure:
    """Draw the grid: SOPs per image of each core, layers outlined, dead cores and links crossed out."""
    columns, rows = run.grid
    layers = _layers(run)
    handles: list[Artist] = [*layers]
    figure, (plan,) = _page(run, 1, [str(handle.get_label()) for handle in handles])
    sops = np.full((rows, columns), np.nan)
    for core in run.cores:
        sops[core.at[1], core.at[0]] = core.sops
    most = max((core.sops for core in run.cores), default=0.0)
    used = plan.imshow(
        np.ma.masked_invalid(sops),
        cmap=_part("Greys", 0.08, 0.75),
        vmin=0,
        vmax=max(1.0, most),
        interpolation="nearest",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
    )
    _lattice(plan, columns, rows, -0.5)
    bar = figure.add_axes(bar_place(figure, plan))
    figure.colorbar(used, cax=bar, label=_WHAT[run.quantity], format="{x:,.0f}")
    for handle, mine in zip(layers, _by_layer(run).values(), strict=False):
        colour = handle.get_edgecolor()
        plan.add_collection(LineCollection(_frame({core.at for core in mine}), colors=colour, linewidths=1.9, zorder=4))
    _dead(run, plan, handles)
    _ports(run, plan, handles)
    _legend(figure, run, handles)
    working = columns * rows - len(run.dead_cores)
    seen = f", mean of {run.images:,} images" if run.images else ", as compiled"
    title = f"{run.title}: {len(run.cores):,} of {working:,} cores{seen}"
    figure.text(0.5, 1 - 0.1 / figure.get_figheight(), _title(run, title, figure), fontsize=9, ha="center", va="top")
    return figure


def _by_layer(run: Run) -> dict[str, list[Core]]:
    """Cores by the name of their layer, in the order of their first."""
    found: dict[str, list[Core]] = {}
    for core in run.cores:
        found.setdefault(core.layer, []).append(core)
    return found


def _layers(run: Run) -> list[Patch]:
    """A key of the legend for each layer, and one for cores that are not used."""
    handles: list[Patch] = []
    for number, (name, mine) in enumerate(_by_layer(run).items()):
        label = f"{name}: {len(mine):,} core{'s'[: len(mine) != 1]}, {sum(core.sops for core in mine):,.0f} {run.quantity}"
        handles.append(Patch(facecolor="none", edgecolor=LAYERS[number % len(LAYERS)], linewidth=1.9, label=label))
    return [*handles, Patch(facecolor="none", edgecolor="#bbbbbb", linewidth=0.6, label="not used")]


def _legend(figure: Figure, run: Run, handles: list[Artist]) -> None:
    """The legend at the foot, and below it what made the run."""
    labels = [str(handle.get_label()) for handle in handles]
    width, height = figure.get_figwidth(), figure.get_figheight()
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, foot([run.made], width) / height), frameon=False,
        ncols=columns_of(labels, width, 3), fontsize=8, borderaxespad=0,
    )  # fmt: skip
    sign(figure, [run.made])


def links(run: Run) -> Figure:
    """Draw the mesh: flits per image on each link, in each direction; the busiest is named."""
    assert run.links is not None
    label = "two lines a link, one each way: each lies to the right of where its flits go"
    figure, (after, ingress) = _page(run, 2, [label])
    for axes, what, loads in (
        (after, "packets of the cores", [(link, link.flits) for link in run.links]),
        (ingress, "ingress: the host's spikes", [(link, link.ingress) for link in run.links]),
    ):
        _mesh(figure, axes, run, [(link, load) for link, load in loads if load > 0], what)
    handles: list[Artist] = []
    _dead(run, after, handles)
    _dead(run, ingress, [])
    _ports(run, after, handles)
    _ports(run, ingress, [])
    handles.append(Line2D([], [], color="none", label=label))
    _legend(figure, run, handles)
    title = _title(run, f"{run.title}: {run.timing}", figure)
    figure.text(0.5, 1 - 0.08 / figure.get_figheight(), title, fontsize=9, ha="center", va="top")
    return figure


def _mesh(figure: Figure, axes: Axes, run: Run, loads: list[tuple[Link, float]], what: str) -> None:
    columns, rows = run.grid
    _lattice(axes, columns, rows, 0)
    if not loads:
        axes.set_title(f"{what}: no link is used", fontsize=9)
        return
    loads.sort(key=lambda pair: pair[1])  # the busy above
    values = np.array([load for _, load in loads])
    lines = LineCollection(
        [_line(link) for link, _ in loads], cmap=_part("YlOrRd", 0.3, 1), norm=Normalize(0, values[-1]), zorder=2,
        linewidths=0.9 + 2.3 * values / values[-1], capstyle="butt",
    )  # fmt: skip
    lines.set_array(values)
    axes.add_collection(lines)
    figure.colorbar(lines, cax=figure.add_axes(bar_place(figure, axes)), label="flits per image", format="{x:,.0f}")
    link, most = loads[-1]
    (start, end), (right, down) = _line(link), STEPS[SIDES.index(link.side)]
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.2, "shrinkA": 0, "shrinkB": 0}, zorder=5
    )
    axes.scatter(
        (start[0] + end[0]) / 2, (start[1] + end[1]) / 2, s=110, facecolor="none", edgecolor="black", lw=1, zorder=5
    )
    where = f"{link.at[0]}, {link.at[1]} to {link.at[0] + right}, {link.at[1] + down}"
    axes.set_title(f"{what}\nbusiest (circle): {link.side} from {where}, {most:,.0f} flits per image", fontsize=9)


def _line(link: Link) -> tuple[tuple[float, float], tuple[float, float]]:
    """A direction's line, shifted to the right of its flits."""
    (x, y), (right, down) = link.at, STEPS[SIDES.index(link.side)]
    left, up = x - 0.14 * down, y + 0.14 * right
    return (left + 0.06 * right, up + 0.06 * down), (left + 0.94 * right, up + 0.94 * down)


def ticks(run: Run) -> Figure:
    """Draw one bar per tick, stacked by increment; the ticks after a dominant ingress are repeated larger."""
    assert run.ticks is not None
    rest = run.ticks[1:]
    dwarfed = bool(rest) and run.ticks[0].cycles > 3 * max(tick.cycles for tick in rest)
    heights = [len(run.ticks), len(rest)] if dwarfed else [len(run.ticks)]
    left = 0.4 + LETTER * max(len(tick.layer) for tick in run.ticks)
    under = foot([run.made], left + 7)
    figure, axes = sheet(
        [(6.7, 0.34 * max(2, count)) for count in heights], left=left, right=0.3, top=0.75, bottom=0.9 + under, gap=0.55,
        down=True,
    )  # fmt: skip
    for each, shown in zip(axes, (run.ticks, rest), strict=False):
        start = np.zeros(len(shown))
        for number, (part, colour) in enumerate(PARTS.items()):
            width = np.array([tick.increments[number] for tick in shown])
            each.barh(range(len(shown)), width, 0.72, start, color=colour, label=part)
            start += width
        for row, tick in enumerate(shown):
            bound = INCREMENTS[int(np.argmax(tick.increments))]
            each.annotate(
                f"{tick.cycles:,.0f}, bound by {bound}",
                (tick.cycles, row),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        each.set_yticks(range(len(shown)), [tick.layer for tick in shown])
        each.invert_yaxis()
        each.margins(x=0.28)
        each.set_xlim(left=0)
        each.spines[["top", "right"]].set_visible(False)
        each.xaxis.set_major_formatter("{x:,.0f}")
    if dwarfed:
        axes[1].set_title("the same without the ingress", fontsize=9, loc="left")
    axes[-1].set_xlabel(f"cycles per image, mean; {run.clock_mhz:g} cycles are 1 us")
    cycles = sum(tick.cycles for tick in run.ticks)
    title = _title(run, f"{run.title}: {run.timing}; {cycles:,.0f} cycles for a frame alone", figure)
    figure.text(0.5, 1 - 0.08 / figure.get_figheight(), title, fontsize=9, ha="center", va="top")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="lower center", bbox_to_anchor=(0.5, under / figure.get_figheight()),
        ncols=6, frameon=False, borderaxespad=0,
    )  # fmt: skip
    sign(figure, [run.made])
    return figure


def _page(run: Run, count: int, labels: list[str]) -> tuple[Figure, list[Axes]]:
    """A page with so many drawings of the grid beside each other, y growing downwards, and room for a legend below."""
    columns, rows = run.grid
    side = 5.6 / max(columns, rows)
    size = (max(3.8, columns * side), max(2.0, rows * side))
    left, right, gap = 0.6, 1.0, 1.6
    width = left + right + count * size[0] + (count - 1) * gap
    marks = 3  # dead cores, dead links, ports
    lines = -(-(len(labels) + marks) // columns_of(labels, width, 3))
    figure, axes = sheet(
        [size] * count, left=left, right=right, top=0.62 if count == 1 else 0.85, gap=gap,
        bottom=0.55 + 0.175 * lines + foot([run.made], width),
    )  # fmt: skip
    for each in axes:
        each.set(xlim=(-1.4, columns - 0.4), ylim=(rows - 0.4, -0.6), aspect="equal", xlabel="x, router", ylabel="y, router")
        each.set(xticks=_places(columns), yticks=_places(rows))
        each.spines[["top", "right", "left", "bottom"]].set_visible(False)
    return figure, axes


def _places(count: int) -> list[int]:
    """Some columns or rows to be named on an axis, all of them on the grid."""
    found = MaxNLocator(nbins=9, steps=[1, 2, 5, 10], integer=True).tick_values(0, max(1, count - 1))
    return [int(place) for place in found if 0 <= place < count]


def _lattice(axes: Axes, columns: int, rows: int, at: float) -> None:
    """Lines through the routers, or from -0.5 on between the cores."""
    last, lowest = columns - 1 - at, rows - 1 - at
    across = [((at, y), (last, y)) for y in np.arange(at, lowest + 1)]
    down = [((x, at), (x, lowest)) for x in np.arange(at, last + 1)]
    axes.add_collection(LineCollection(across + down, colors=IDLE, linewidths=0.7, zorder=1.5))


def _part(name: str, first: float, last: float) -> ListedColormap:
    """A part of a colour map: neither too pale to be seen nor too dark for what is drawn on it."""
    return ListedColormap(colormaps[name](np.linspace(first, last, 256)))


def _frame(places: set[Place]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The border of some cells, a little inside, so that two that touch are both seen."""
    inset, found = 0.44, []
    for x, y in places:
        for right, down in STEPS:
            if (x + right, y + down) in places:
                continue
            ends = []
            for way in (-1, 1):  # along the side; to the cell's edge where the border goes on
                along = (way * abs(down), way * abs(right))
                goes_on = (x + along[0], y + along[1]) in places
                reach = 0.5 if goes_on else inset
                ends.append((x + inset * right + reach * along[0], y + inset * down + reach * along[1]))
            found.append((ends[0], ends[1]))
    return found


def _dead(run: Run, axes: Axes, handles: list[Artist]) -> None:
    """Cross out what is dead."""
    if run.dead_cores:
        x, y = zip(*run.dead_cores, strict=True)
        axes.scatter(x, y, marker="x", s=40, color=DEAD, linewidths=1.6, zorder=6)
        handles.append(Line2D([], [], marker="x", color=DEAD, linestyle="none", label="dead core"))
    if run.dead_links:
        middle = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in run.dead_links]
        x, y = zip(*middle, strict=True)
        axes.scatter(x, y, marker="P", s=26, color=DEAD, linewidths=0, zorder=6)
        axes.add_collection(LineCollection(list(run.dead_links), colors=DEAD, linewidths=1, linestyles=":", zorder=5))
        handles.append(Line2D([], [], marker="P", color=DEAD, linestyle=":", label="dead link"))


def _ports(run: Run, axes: Axes, handles: list[Artist]) -> None:
    """Mark the host's ports, at the west of their routers."""
    if not run.ports:  # a chip whose host is reached otherwise
        return
    x, y = np.array(run.ports).T
    axes.scatter(x - 0.95, y, marker=">", s=36, color=HOST, zorder=6)
    handles.append(Line2D([], [], marker=">", color=HOST, linestyle="none", label="port of the host"))
