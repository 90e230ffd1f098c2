"""Draw an exploration: the front with names, parallel coordinates, and one figure over one key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chipsim.report.canvas import named, printed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = dict[str, Any]
OTHERS, CHOSEN = "#b8b8b8", "#1f5f99"
#: names on a front, so that they can be read
MOST_NAMES = 40
#: chips in parallel coordinates that are not on the front
MOST_LINES = 2000


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))  # fixed margins: what a layout computes differs in the last digits
    axes = figure.add_axes((0.13, 0.24, 0.84, 0.66))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def front(rows: Sequence[Record], chosen: Sequence[Record], figures: Sequence[str]) -> bytes:
    """Draw the front over its first two figures; a third is the size of the dots."""

    def page() -> Figure:
        figure, axes = _figure(7, 5)
        known = [row for row in rows if all(row[name] is not None for name in figures[:2])]
        x, y = _columns(known, figures[:2])
        axes.scatter(x, y, s=12, color=OTHERS, label="chips that fit")
        sizes = 30.0 if len(figures) < 3 else 15 + 85 * _scaled([row[figures[2]] for row in chosen])
        x, y = _columns(chosen, figures[:2])
        axes.scatter(x, y, s=sizes, color=CHOSEN, label="Pareto front")
        for row in chosen[:MOST_NAMES]:
            axes.annotate(
                _name(row), (row[figures[0]], row[figures[1]]), fontsize=6, xytext=(3, 3), textcoords="offset points"
            )
        axes.set_xlabel(figures[0])
        axes.set_ylabel(figures[1] + (f" (size of a dot: {figures[2]})" if len(figures) > 2 else ""))
        figure.legend(frameon=False, loc="outside upper left", ncols=2)
        return figure

    return printed(page, "svg", "--pareto")


def parallel(rows: Sequence[Record], chosen: Sequence[Record], columns: Sequence[str]) -> bytes:
    """Draw a line for each chip over the keys and figures, each from its smallest to its largest value."""

    def page() -> Figure:
        figure, axes = _figure(max(6.0, 1.1 * len(columns)), 4.5)
        lines = [*rows[:MOST_LINES], *chosen]
        heights = np.array([_scaled([_number(row[name]) for row in lines]) for name in columns])
        for number in range(len(lines)):
            own = number >= len(lines) - len(chosen)
            axes.plot(
                heights[:, number], color=CHOSEN if own else OTHERS, linewidth=1.2 if own else 0.5, zorder=2 if own else 1
            )
        axes.set_xticks(range(len(columns)), [named(name) for name in columns], rotation=30, ha="right")
        axes.set_yticks([])
        for at, name in enumerate(columns):
            values = [_number(row[name]) for row in lines]
            low, high = min(values), max(values)
            axes.annotate(f"{low:g}", (at, 0), xytext=(0, -8), textcoords="offset points", fontsize=6, ha="center")
            axes.annotate(f"{high:g}", (at, 1), xytext=(0, 4), textcoords="offset points", fontsize=6, ha="center")
        return figure

    return printed(page, "svg", "--pareto")


def over(rows: Sequence[Record], figure_name: str, key: str) -> bytes:
    """Draw one figure over one key: a dot for each chip that fits, and the best at each value."""

    def page() -> Figure:
        figure, axes = _figure(6, 4)
        known = [row for row in rows if row[figure_name] is not None]
        for model in dict.fromkeys(row["model"] for row in known):
            own = [row for row in known if row["model"] == model]
            x, y = np.array([_number(row[key]) for row in own]), np.array([row[figure_name] for row in own], float)
            (line,) = axes.plot(np.unique(x), [y[x == value].min() for value in np.unique(x)], label=named(model))
            axes.scatter(x, y, s=10, color=line.get_color(), alpha=0.4)
        axes.set_xlabel(key)
        axes.set_ylabel(f"{figure_name} (line: the smallest)")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1.02), ncols=3, borderaxespad=0)
        return figure

    return printed(page, "svg", "--pareto")


def _columns(rows: Sequence[Record], names: Sequence[str]) -> list[list[float]]:
    return [[row[name] for row in rows] for name in names]


def _name(row: Record) -> str:
    return named(str(row["chip"]))


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
