"""Draw an exploration: the front with names, parallel coordinates, and one figure over one key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chipsim.report.canvas import LETTER, columns_of, foot, named, printed, sheet, sign

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = dict[str, Any]
OTHERS, CHOSEN = "#b8b8b8", "#1f5f99"
#: points of a name on a front
NAME_SIZE = 7
LABELS = {"energy_pj": "energy, pJ", "area_bits": "area, bits", "busiest_link": "busiest link, flits"}
#: figures and keys that are whole numbers
COUNTED = ("cores", "bound", "area_bits", "axons", "columns")
#: chips in parallel coordinates that are not on the front
MOST_LINES = 2000


def _page(width: float, height: float, made: str) -> tuple[Figure, Axes]:
    """Return a figure with axes of a size in inches, room for a legend above and for what made it below."""
    left, right, under = 0.9, 0.3, 0.6
    room = foot([made], left + width + right)
    figure, (axes,) = sheet([(width, height)], left=left, right=right, top=0.55, bottom=under + room)
    axes.spines[["top", "right"]].set_visible(False)
    sign(figure, [made])
    return figure, axes


def _legend(figure: Figure, axes: Axes, most: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = columns_of(labels, figure.get_figwidth(), most)
    axes.legend(handles, labels, frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 1.02), ncols=columns)


def _count(axes: Axes, x: str, y: str) -> None:
    """Label both axes; what is counted has whole numbers, with commas."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis, name in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_label_text(LABELS.get(name, name))
        low, high = axis.get_view_interval()
        if name in COUNTED and high - low < 2:
            axis.axes.set(**{f"{axis.axis_name}lim": ((low + high) / 2 - 1, (low + high) / 2 + 1)})
        axis.set_major_locator(MaxNLocator(6, integer=name in COUNTED))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def front(rows: Sequence[Record], chosen: Sequence[Record], figures: Sequence[str], made: str = "") -> bytes:
    """Draw the front over its first two figures; a third is the size of the dots. ``made`` stands below."""

    def page() -> Figure:
        figure, axes = _page(6.3, 3.6, made)
        known = [row for row in rows if all(row[name] is not None for name in figures[:2])]
        x, y = _columns(known, figures[:2])
        axes.scatter(x, y, s=12, color=OTHERS, label="chips that fit")
        sizes = 30.0 if len(figures) < 3 else 15 + 85 * _scaled([row[figures[2]] for row in chosen])
        x, y = _columns(chosen, figures[:2])
        label = "Pareto front" + (f" (size of a dot: {LABELS.get(figures[2], figures[2])})" if len(figures) > 2 else "")
        axes.scatter(x, y, s=sizes, color=CHOSEN, label=label)
        axes.margins(0.08)
        _count(axes, *figures[:2])
        _names(figure, axes, chosen, figures)
        _legend(figure, axes, 2)
        return figure

    return printed(page, "svg", "--pareto")


def _names(figure: Figure, axes: Axes, chosen: Sequence[Record], figures: Sequence[str]) -> None:
    """Write names beside the dots of a front where neither a dot nor another name stands.

    Chips in one place have one name and a number. The table has the names that there is no room for.
    """
    places: dict[tuple[float, float], list[Record]] = {}
    for row in chosen:
        places.setdefault((row[figures[0]], row[figures[1]]), []).append(row)
    box = axes.get_position(original=True)
    size = np.array([figure.get_figwidth() * box.width, figure.get_figheight() * box.height])
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    dots = size * (np.array(list(places)) - low) / (high - low)  # inches from the corner of the axes
    taken: list[tuple[float, float, float]] = [(x - 0.05, x + 0.05, y) for x, y in dots]
    for (x, y), (place, several) in zip(dots, places.items(), strict=True):
        text = _name(several[0]) + (f" and {len(several) - 1} more" if len(several) > 1 else "")
        width = LETTER * NAME_SIZE / 8 * len(text)
        for left, middle in (
            (x + 0.1, y + 0.09),
            (x + 0.1, y - 0.09),
            (x - 0.1 - width, y + 0.09),
            (x - 0.1 - width, y - 0.09),
        ):
            inside = left >= 0 and left + width <= size[0] + 0.25
            if inside and all(
                abs(middle - other) > NAME_SIZE / 60 or left > end or left + width < begin
                for begin, end, other in taken
                if other != y
            ):
                taken.append((left, left + width, middle))
                shift = 72 * (left - x), 72 * (middle - y)
                axes.annotate(text, place, fontsize=NAME_SIZE, xytext=shift, textcoords="offset points", va="center")
                break


def parallel(rows: Sequence[Record], chosen: Sequence[Record], columns: Sequence[str], made: str = "") -> bytes:
    """Draw a line for each chip over the keys and figures, each from its smallest to its largest value."""

    def page() -> Figure:
        figure, axes = _page(max(5.0, 0.95 * len(columns)), 3.0, made)
        lines = [*rows[:MOST_LINES], *chosen]
        heights = np.array([_scaled([_number(row[name]) for row in lines]) for name in columns])
        first = len(lines) - len(chosen)
        for number in range(len(lines)):
            own = number >= first
            label = {0: "chips that fit", first: "Pareto front"}.get(number) if len(rows) else None
            axes.plot(
                heights[:, number], color=CHOSEN if own else OTHERS, linewidth=1.2 if own else 0.5, zorder=2 if own else 1,
                label=label,
            )  # fmt: skip
        axes.set_xticks(range(len(columns)), [named(LABELS.get(name, name)) for name in columns], fontsize=8)
        for number, tick in enumerate(axes.get_xticklabels()):
            tick.set_y(-0.05 - 0.055 * (number % 2))  # neighbours on two lines
        axes.tick_params(axis="x", length=0)
        axes.set_yticks([])
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_ylim(-0.02, 1.02)
        for at, name in enumerate(columns):
            axes.axvline(at, color="#dddddd", linewidth=0.8, zorder=0)
            values = sorted((row[name] for row in lines), key=_number)
            for end, value, up in ((0, values[0], -8), (1, values[-1], 4)):
                axes.annotate(_shown(value), (at, end), xytext=(0, up), textcoords="offset points", fontsize=7, ha="center")
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 1.06), ncols=2)
        return figure

    return printed(page, "svg", "--pareto")


def over(rows: Sequence[Record], figure_name: str, key: str, made: str = "") -> bytes:
    """Draw one figure over one key: a dot for each chip that fits, and the best at each value."""

    def page() -> Figure:
        figure, axes = _page(5.2, 3.2, made)
        known = [row for row in rows if row[figure_name] is not None]
        for model in dict.fromkeys(row["model"] for row in known):
            own = [row for row in known if row["model"] == model]
            x, y = np.array([_number(row[key]) for row in own]), np.array([row[figure_name] for row in own], float)
            label = f"{named(model)}, the smallest"
            (line,) = axes.plot(np.unique(x), [y[x == value].min() for value in np.unique(x)], label=label)
            axes.scatter(x, y, s=10, color=line.get_color(), alpha=0.4)
        _count(axes, key, figure_name)
        if all(isinstance(row[key], list) for row in known):
            shown = {_number(row[key]): _shown(row[key]) for row in known}
            axes.set_xticks(list(shown), list(shown.values()))
        _legend(figure, axes, 3)
        return figure

    return printed(page, "svg", "--pareto")


def _columns(rows: Sequence[Record], names: Sequence[str]) -> list[list[float]]:
    return [[row[name] for row in rows] for name in names]


def _name(row: Record) -> str:
    return named(str(row["chip"]))


def _shown(value: Any) -> str:
    """Return a value of a key or figure as text: a grid as ``8 x 8``, a longer list as the number of its entries."""
    if isinstance(value, list | tuple):
        short = len(value) == 2 and all(isinstance(each, int | float) for each in value)
        return " x ".join(f"{each:g}" for each in value) if short else f"{len(value)} of them"
    return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else named(str(value))


def _number(value: Any) -> float:
    """Return a value as a place on an axis: a list by the product of its numbers, which of a grid is its cores."""
    if isinstance(value, list | tuple):
        flat = np.ravel(np.array(value, object))
        numbers = [float(each) for each in flat if isinstance(each, int | float)]
        return float(np.prod(numbers)) if len(flat) == 2 else float(len(value))
    return float(value) if isinstance(value, bool | int | float) else 0.0


def _scaled(values: Sequence[float]) -> Any:
    found = np.array(values, float)
    low, high = (found.min(), found.max()) if len(found) else (0.0, 0.0)
    return (found - low) / (high - low) if high > low else np.full(len(found), 0.5)
