"""Format a sweep as a table, CSV and figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from chipsim.engine.sweep import Point, Sweep
from chipsim.errors import InputError
from chipsim.provenance import OF_THE_COMPUTING, digest, line
from chipsim.report import schema
from chipsim.report.canvas import KEY, LETTER, foot, named, printed, sheet, sign

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

#: one line for each fault: colour, and solid or dashed
COLOURS = ("#1f5f99", "#d1495b", "#2e933c", "#8a4fbe", "#e08e0b", "#5c6b73")
STYLES = ("-", "--")
#: curves of one figure
MOST_CURVES = 100
HEALTHY, THEIRS = "nothing broken", ", the authors' network"
BESIDE = {"noise=encoder": "noise", "noise": "noise_everywhere"}


def to_csv(sweep: Sweep) -> bytes:
    """Return a CSV with one row per run: ``fault,rate,seed,accuracy,made_by``.

    ``made_by`` is a digest of all that the accuracies depend on: the mapping, the images, the options, the version.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    made = "+".join(digest(each, OF_THE_COMPUTING) for each in sweep.provenance)
    writer.writerow(["fault", "rate", "seed", "accuracy", "made_by"])
    writer.writerows([point.fault, point.rate, point.seed, point.accuracy, made] for point in sweep.points)
    return text.getvalue().encode()


def table(sweep: Sweep) -> Table:
    """Return a table with the mean and the standard deviation at each rate."""
    from rich.table import Table

    title = f"accuracy of {sweep.images:,} images, {100 * sweep.healthy:.2f} % without faults"
    found = Table("fault", title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("rate", "mean %", "std dev", "min %", "max %", "seeds"):
        found.add_column(name, justify="right")
    for fault, means in sweep.curves().items():
        for mean in means:
            row = (mean.mean, mean.spread, mean.least, mean.most)
            cells = [f"{100 * value:.2f}" for value in row]
            found.add_row(fault, f"{mean.rate:g}", *cells, str(len(mean.accuracies)))
    return found


def published() -> dict[str, dict[float, float]]:
    """Return the authors' accuracies for their four-spike network by fault and rate; source in ``published.yaml``."""
    import yaml

    content = yaml.safe_load((resources.files("chipsim.report") / "published.yaml").read_text())
    (row,) = (row for row in content["networks"] if (row["k"], row["B"]) == (1, 2))
    return {fault: row[key] for fault, key in BESIDE.items()}


def read_sweeps(paths: Sequence[str]) -> Sweep:
    """Read one or more results of ``chipsim sweep``, of the same network on the same images.

    Raises
    ------
    InputError
        A file cannot be read, is no sweep, or is one of something else.
    """
    found = [_read(path) for path in paths]
    for path, one in zip(paths, found, strict=True):
        for name in ("model_sha256", "chip", "dataset", "images", "map_sha256", "images_sha256"):
            mine, first = _same(one, name), _same(found[0], name)
            if mine != first and None not in (mine, first):
                raise InputError(
                    path,
                    f"has {name} {mine!r}, and {paths[0]} has {first!r}; plot them separately",
                    code="sweep-mixed",
                    found=mine,
                    allowed=first,
                )
    points = tuple(point for one in found for point in one.points)
    return replace(found[0], points=points, made=tuple(each for one in found for each in one.made))


def _same(sweep: Sweep, name: str) -> Any:
    """Return what sweeps of one figure must have in common; hashes are None where they are not known."""
    made = sweep.provenance[0] if sweep.made else {}
    if name == "map_sha256":
        return made.get("map_sha256")
    if name == "images_sha256":
        return (made.get("dataset") or {}).get("sha256")
    return getattr(sweep, name)


def _read(path: str) -> Sweep:
    """Undo `Sweep.to_json`; the seeds are numbered from 0."""
    _, content = schema.read(path, "a result of chipsim sweep --json", "chipsim-sweep/1")
    found = schema.parse(path, content, schema.SweepFile)
    schema.at_most(path, "curves", len(found.curves), MOST_CURVES)
    points = [
        Point(curve.fault, mean.rate, seed, accuracy)
        for curve in found.curves
        for mean in curve.points
        for seed, accuracy in enumerate(mean.accuracies)
    ]
    made: tuple[Callable[[], dict[str, Any]], ...] = (
        () if found.provenance is None else (partial(dict, found.provenance.as_written()),)
    )
    return Sweep(found.model_sha256, found.chip, found.dataset, found.images, found.healthy, tuple(points), made=made)


def draw(sweep: Sweep, form: str, *, beside: bool = False) -> bytes:
    """Draw accuracy against rate with one line per fault: the mean, and a band from minimum to maximum.

    Parameters
    ----------
    form : str
        ``png``, ``svg`` or ``pdf``.
    beside : bool
        Mark the authors' accuracies with noise.
    """

    def page() -> Figure:
        labels = [label(fault) for fault in sweep.curves()] + ([f"{label('noise=encoder')}{THEIRS}"] if beside else [])
        right = KEY + LETTER * max(map(len, [*labels, HEALTHY]))
        made = [line(each) for each in sweep.provenance]
        width = 6.7 + right
        figure, (axes,) = sheet([(6.0, 4.0)], left=0.7, right=right, top=0.2, bottom=0.55 + foot(made, width))
        axes.axhline(100 * sweep.healthy, color="#9a9a9a", linewidth=0.8, label=HEALTHY)
        _lines(axes, sweep, beside)
        axes.set_xlabel("rate (log scale)")
        axes.set_ylabel(f"accuracy of {sweep.images:,} images, %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, borderaxespad=0)
        sign(figure, made)
        return figure

    return printed(page, form, "--plot")


def _lines(axes: Axes, sweep: Sweep, beside: bool) -> None:
    theirs = published() if beside else {}
    for number, (fault, means) in enumerate(sweep.curves().items()):
        colour = COLOURS[number % len(COLOURS)]
        style = STYLES[number // len(COLOURS) % len(STYLES)]
        shown = [mean for mean in means if mean.rate > 0]
        if not shown:
            continue
        rates = [mean.rate for mean in shown]
        axes.plot(
            rates, [100 * mean.mean for mean in shown], style, color=colour, marker="o", markersize=3, label=label(fault)
        )
        axes.fill_between(
            rates, [100 * m.least for m in shown], [100 * m.most for m in shown], color=colour, alpha=0.12, linewidth=0
        )
        marks = theirs.get(fault, {})
        if marks:
            name = f"{label(fault)}{THEIRS}"
            values = [100 * value for value in marks.values()]
            axes.plot(list(marks), values, "x", color=colour, markersize=8, markeredgewidth=1.8, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def label(fault: str) -> str:
    """A fault in words."""
    name, _, value = named(fault).partition("=")
    words = name.replace("_", " ")
    if name == "noise":
        return f"lost spikes, {value or 'every layer'}"
    return f"{words} at {value}" if value else words
