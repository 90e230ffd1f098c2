"""Draw throughput and latency of a mesh against offered traffic, for several buffer depths."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from chipsim.report.canvas import foot, printed, sheet, sign
from chipsim.timing.network.alone import Progress, network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUFFERS = (2, 4, 8, 16)
RATES = (0.02, 0.05, 0.1, 0.13, 0.15, 0.2, 0.25, 0.28, 0.3, 0.32, 0.34, 0.36, 0.37, 0.38, 0.39, 0.4, 0.45, 0.5, 0.6)
CYCLES = 4000
SIDE = 8
#: uniform traffic on k x k nodes: of what the k^2 / 2 nodes of one half send, k^2 / 2 in k^2 - 1 crosses over k links, as
#: nobody sends to itself; so at most 4 / k * (k^2 - 1) / k^2 flits per node and cycle, 63/128
BOUND = 4 / SIDE * (1 - 1 / SIDE**2)
#: 3 H + 4 cycles for the mean distance of two different nodes, 2 k / 3
ZERO_LOAD = 3 * 2 * SIDE / 3 + 4
SHADES = ("#9ecae1", "#4a98c9", "#1f5f99", "#0b2f57")


@dataclass(frozen=True, slots=True)
class Curve:
    """One mesh: accepted traffic and mean latency by offered traffic."""

    buffer: int
    offered: tuple[float, ...]
    accepted: tuple[float, ...]
    latency: tuple[float, ...]


def curves(cycles: int = CYCLES, seed: int = 0, progress: Progress | None = None) -> list[Curve]:
    """Simulate uniform traffic at each rate; ``progress`` is called with (meshes done, meshes in all)."""
    found: list[Curve] = []
    for buffer in BUFFERS:
        runs = [network((SIDE, SIDE), buffer=buffer, rate=rate, cycles=cycles, seed=seed) for rate in RATES]
        latencies = tuple(run.latency["mean"] if run.latency else 0.0 for run in runs)
        if progress is not None:
            progress(len(found) + 1, len(BUFFERS))
        found.append(Curve(buffer, tuple(run.offered for run in runs), tuple(run.accepted for run in runs), latencies))
    return found


def draw(found: list[Curve], form: str, cycles: int = CYCLES, seed: int = 0) -> bytes:
    """Draw the curves and the bisection bound; ``form`` is ``png``, ``svg`` or ``pdf``, the others are as for `curves`."""
    made = f"qsnnc {metadata.version('qsnnc')}; {SIDE} x {SIDE} nodes, uniform traffic, {cycles:,} cycles, seed {seed}"

    def page() -> Figure:
        under = 0.5 + foot([made], 8.95)
        figure, (accepted, latency) = sheet([(3.7, 2.9)] * 2, left=0.65, right=0.15, top=0.45, bottom=under, gap=0.75)
        for curve, colour in zip(found, SHADES, strict=True):
            style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3, "linewidth": 1.4}
            accepted.plot(curve.offered, curve.accepted, label=f"buffers of {curve.buffer} flits", **style)
            latency.plot(curve.offered, curve.latency, **style)
        most = max(RATES)
        accepted.plot([0, BOUND], [0, BOUND], color="#bbbbbb", linewidth=0.8, zorder=0)
        accepted.axhline(BOUND, color="#b2182b", linestyle="--", linewidth=1, label="bound of the bisection, 63/128")
        latency.axvline(BOUND, color="#b2182b", linestyle="--", linewidth=1)
        latency.axhline(ZERO_LOAD, color="#777777", linestyle=":", linewidth=1)
        latency.annotate("zero load, 20", (0, ZERO_LOAD), (6, -11), textcoords="offset points", color="#777777")
        accepted.set(ylabel="accepted, flits a node and cycle", xlim=(0, most), ylim=(0, 0.55))
        latency.set(ylabel="mean latency, cycles", xlim=(0, most), ylim=(0, 150))
        for axes in (accepted, latency):
            axes.set_xlabel("offered, flits a node and cycle")
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(frameon=False, loc="upper left", ncols=5, fontsize=8)
        sign(figure, [made])
        return figure

    return printed(page, form)
