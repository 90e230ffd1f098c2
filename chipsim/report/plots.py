"""Draw results next to the published figures: spikes, synaptic operations, accuracy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from chipsim.errors import UsageError
from chipsim.report import schema
from chipsim.report.canvas import LETTER, columns_of, foot, named, printed, sheet, sign

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("sparsity", "sops", "accuracy")
SUFFIXES = ("png", "svg", "pdf")
#: networks of one figure
MOST_NETWORKS = 100
Colour = str | tuple[float, float, float]
PUBLISHED, PAPER_COUNT, OURS = "#9a9a9a", "#7fb2d9", "#1f5f99"


@dataclass(frozen=True, slots=True)
class Network:
    """The results of one network; counts are means per image, None if unknown."""

    name: str
    levels: tuple[int, int] | None = None  # k, B
    neurons: int | None = None  # the encoder's included
    paper_spikes: float | None = None
    sops: float | None = None
    paper_sops: float | None = None
    accuracy: float | None = None
    ann_accuracy: float | None = None
    noise: dict[float, float] = field(default_factory=dict)  # accuracy by the share of encoder spikes lost
    made: str = ""  # what made it: versions, hashes, data set, engine, time


def suffix(target: str, option: str = "--output") -> str:
    """Return the format of a figure's file; png on standard output."""
    found = "png" if target == "-" else Path(target).suffix.lstrip(".").lower()
    if found not in SUFFIXES:
        raise UsageError(
            option,
            f"{target!r} does not end in .{', .'.join(SUFFIXES)}",
            code="option-value",
            found=found,
            allowed=SUFFIXES,
        )
    return found


@dataclass(frozen=True, slots=True)
class Published:
    """The authors' figures, as ``published.yaml`` holds them."""

    networks: dict[tuple[int, int], Network]  # by k and B
    full_precision: float  # accuracy
    source: str


def published() -> Published:
    """Read the authors' figures."""
    import yaml

    content = yaml.safe_load((resources.files("chipsim.report") / "published.yaml").read_text())
    found = {}
    for row in content["networks"]:
        levels = row["k"], row["B"]
        found[levels] = Network(
            name=f"k={row['k']}, B={row['B']}",
            levels=levels,
            neurons=row.get("neurons"),
            paper_spikes=row.get("paper_spikes"),
            paper_sops=row.get("paper_sops"),
            accuracy=row["snn"],
            ann_accuracy=row["ann"],
            noise=row.get("noise", {}),
        )
    return Published(found, content["full_precision"], content["source"])


def read_results(paths: Sequence[str]) -> list[Network]:
    """Read the JSON of ``chipsim run``, or a table of several networks (schema ``qsnnc-results/1``).

    A run is called by its file's name; where that holds k1b2, it is drawn beside the published k=1, B=2.

    Raises
    ------
    InputError
        A file cannot be read or is no result.
    """
    found: list[Network] = []
    for path in paths:
        made_by = "a result of chipsim run --json, or a table of results"
        kind, content = schema.read(path, made_by, "chipsim-run/1", "qsnnc-results/1")
        if kind == "chipsim-run/1":
            found.append(_of_run(named(Path(path).stem), schema.parse(path, content, schema.RunMeans)))
        else:
            found += [_of_row(row) for row in schema.parse(path, content, schema.ResultsTable).networks]
        schema.at_most(path, "networks with those before it", len(found), MOST_NETWORKS)
    return found


def _of_run(name: str, run: schema.RunMeans) -> Network:
    made = schema.made_line(run)
    kb = re.search(r"k([0-9])b([0-9])", name.lower())
    return Network(
        name="\n".join(filter(None, (name, *map(named, schema.conditions_of(run).split("; ")), made.partition(";")[0]))),
        made=made and f"{name}: {made}",
        levels=(int(kb[1]), int(kb[2])) if kb else None,
        paper_spikes=run.paper_spikes_per_image,
        sops=run.sops_per_image,
        paper_sops=run.paper_sops_per_image,
        accuracy=run.accuracy,
    )


def _of_row(row: schema.NetworkRow) -> Network:
    return Network(
        name=named(row.model),
        levels=(row.k, row.B),
        neurons=row.neurons,
        paper_spikes=row.paper_spikes,
        sops=row.sops,
        paper_sops=row.paper_sops,
        accuracy=row.snn_accuracy,
        ann_accuracy=row.ann_accuracy,
        noise={float(share): found.mean for share, found in row.noise.items()},
    )


def draw(kind: str, networks: list[Network], form: str) -> bytes:
    """Draw one figure.

    Parameters
    ----------
    kind : str
        ``sparsity`` (spikes per image), ``sops`` (synaptic operations per image) or ``accuracy`` (test error).
    form : str
        ``png``, ``svg`` or ``pdf``.
    """
    given = published()
    theirs = given.networks
    slots: list[tuple[Network | None, Network | None]] = [
        (theirs.get(mine.levels) if mine.levels else None, mine) for mine in networks
    ]
    shown = {mine.levels for mine in networks}
    slots = [(other, None) for levels, other in theirs.items() if levels not in shown and _has(kind, other)] + slots

    def page() -> Figure:
        wide = {"sparsity": 1.1, "sops": 1.25, "accuracy": 1.5}[kind]
        labels = [_label(theirs, mine) for theirs, mine in slots]
        wide = max(wide, 0.15 + LETTER * max(len(line) for label in labels for line in label.splitlines()))
        inner = max(5.6, wide * len(slots))
        lines = [f"published: {given.source}", *(mine.made for mine in networks)]
        under = 0.15 + 0.15 * max(len(label.splitlines()) for label in labels)
        figure, (axes,) = sheet([(inner, 3.4)], left=0.75, right=0.1, top=0.75, bottom=under + foot(lines, inner + 0.85))
        {"sparsity": _sparsity, "sops": _sops, "accuracy": _accuracy}[kind](axes, slots)
        axes.set_xticks(range(len(slots)), labels)
        axes.spines[["top", "right"]].set_visible(False)
        shown = [str(label) for label in axes.get_legend_handles_labels()[1]]
        axes.legend(
            frameon=False, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=columns_of(shown, inner, 3), borderaxespad=0
        )
        sign(figure, lines)
        return figure

    return printed(page, form)


def _has(kind: str, network: Network) -> bool:
    value = {"sparsity": network.paper_spikes, "sops": network.paper_sops, "accuracy": network.accuracy}[kind]
    return value is not None


def _label(theirs: Network | None, mine: Network | None) -> str:
    network = mine or theirs
    assert network is not None
    if network.levels is None or mine is None:
        return network.name
    k, b = network.levels
    return f"{network.name}\nk={k}, B={b}"


def _bars(axes: Axes, bars: list[tuple[int, float, str]], offset: float, width: float, colour: Colour, label: str) -> None:
    """Bars at some of the slots, each with its value in words on top."""
    if not bars:
        return
    drawn = axes.bar(
        [slot + offset for slot, _, _ in bars], [value for _, value, _ in bars], width, color=colour, label=label
    )
    axes.bar_label(drawn, [text for _, _, text in bars], fontsize=6.5, padding=2)


def _sparsity(axes: Axes, slots: list[tuple[Network | None, Network | None]]) -> None:
    for side, (offset, colour, label) in enumerate(((-0.2, PUBLISHED, "published"), (0.2, OURS, "ours"))):
        bars = []
        for slot, pair in enumerate(slots):
            network = pair[side]
            if network is not None and network.paper_spikes is not None:
                spikes = network.paper_spikes
                share = f"\n({100 * spikes / network.neurons:.0f} %)" if network.neurons else ""
                bars.append((slot, spikes, f"{spikes:,.0f}{share}"))
        _bars(axes, bars, offset, 0.38, colour, label)
    axes.set_ylabel("spikes per image, encoder included (% of neurons)")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.margins(y=0.1)


def _sops(axes: Axes, slots: list[tuple[Network | None, Network | None]]) -> None:
    def bars(side: int, name: str) -> list[tuple[int, float, str]]:
        values = [(slot, getattr(pair[side], name, None)) for slot, pair in enumerate(slots)]
        return [(slot, value / 1e6, f"{value / 1e6:.2f}") for slot, value in values if value is not None]

    _bars(axes, bars(0, "paper_sops"), -0.27, 0.26, PUBLISHED, "published, the paper's count")
    _bars(axes, bars(1, "paper_sops"), 0.0, 0.26, PAPER_COUNT, "ours, the paper's count")
    _bars(axes, bars(1, "sops"), 0.27, 0.26, OURS, "ours, non-zero synapses")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("synaptic operations per image, millions (log scale)")
    axes.yaxis.set_minor_formatter("")
    smallest = min(bar.get_height() for bar in axes.patches)  # type: ignore[attr-defined]
    axes.set_ylim(min(1.0, smallest / 2), axes.get_ylim()[1] * 1.5)


def _accuracy(axes: Axes, slots: list[tuple[Network | None, Network | None]]) -> None:
    def error(network: Network | None, share: float) -> float | None:
        if network is None:
            return None
        found = network.accuracy if share == 0 else network.noise.get(share)
        return None if found is None else 100 * (1 - found)

    shares = sorted({0.0, *(share for pair in slots for network in pair if network for share in network.noise)})
    shades = (1.0, 0.6, 0.35)
    width = 0.84 / (2 * len(shares))
    for side, colour, label in ((0, PUBLISHED, "published"), (1, OURS, "ours")):
        for number, share in enumerate(shares):
            offset = (side * len(shares) + number - len(shares) + 0.5) * width
            values = [(slot, error(pair[side], share)) for slot, pair in enumerate(slots)]
            bars = [(slot, value, f"{value:.2f}") for slot, value in values if value is not None]
            suffix = "" if share == 0 else f", {100 * share:.0f} % of encoder spikes lost"
            faded = _fade(colour, shades[min(number, 2)])
            _bars(axes, bars, offset, width * 0.95, faded, label + suffix)
    axes.set_ylabel("wrong answers on the test set, % (100 % - accuracy)")
    axes.margins(y=0.08)


def _fade(colour: str, strength: float) -> Colour:
    """The colour mixed with white."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 1 - strength * (1 - red), 1 - strength * (1 - green), 1 - strength * (1 - blue)
