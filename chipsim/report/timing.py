"""Format cycles and energy for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chipsim.timing import energy
from chipsim.timing.advice import advise
from chipsim.timing.keys import macs
from chipsim.timing.record import PARTS
from chipsim.timing.result import Profile, Spread
from chipsim.timing.tick import INCREMENTS
from chipsim.wording import shortened

if TYPE_CHECKING:
    from rich.table import Table


def summary(p: Profile) -> list[Any]:
    """Return lines and tables for a terminal."""
    advice = [advise(p, tick).text for tick in p.ticks]
    return [
        _head(p),
        "",
        _ticks(p),
        "",
        "bottlenecks",
        *advice,
        "",
        _network(p),
        "",
        _energy(p),
        "",
        _constants(p),
    ]


def _head(p: Profile) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    chip = p.plan.chip
    latency, interval = Spread.of(p.cycles), Spread.of(p.interval_cycles)
    sent = p.work.packets / p.images
    for name, value in (
        (
            "timing",
            f"{p.mode}, {p.images:,} of {p.images_in_all:,} images, {p.images_per_second:,.1f} images simulated per second",
        ),
        ("latency", _cycles(p, latency) + f"; {float(p.chip_cycles.mean()):,.0f} after the ingress"),
        (
            "throughput",
            f"one image every {_cycles(p, interval)}: {1 / p.seconds_of(interval.mean):,.0f} images per second"
            if interval.mean
            else "no cycles",
        ),
        (
            "packets per image",
            f"{sent[-1]:,.0f} from the host, {sent[:-1].sum():,.0f} on the chip; "
            f"{p.work.hops[:, 0].mean():,.0f} and {p.work.hops[:, 1].mean():,.0f} hops",
        ),
        ("busiest link", f"{p.busiest_link.load:,.0f} flits per image of the cores' packets" if p.busiest_link else "none"),
        ("clock", f"{chip.clock_mhz:g} MHz"),
    ):
        table.add_row(name, value)
    return table


def _cycles(p: Profile, of: Spread) -> str:
    around = f" +- {of.ci95:,.0f}" if of.ci95 is not None else ""
    return f"{of.mean:,.0f}{around} cycles, {1e3 * p.seconds_of(of.mean):.3f} ms (p50 {of.p50:,.0f}, p99 {of.p99:,.0f})"


def _ticks(p: Profile) -> Table:
    from rich.table import Table

    table = Table("tick", title="cycles of each tick, per image", title_justify="left", box=None, pad_edge=False)
    for name in ("cycles", *INCREMENTS):
        table.add_column(name, justify="right")
    table.add_column("bottleneck")
    stream = p.stream_increments.mean(axis=0)
    rows = [(tick.name, tick.cycles, list(tick.increments.values()), tick.bound) for tick in p.ticks]
    rows.append(("pipelined", float(p.interval_cycles.mean()), stream.tolist(), INCREMENTS[int(stream.argmax())]))
    short = shortened(row[0] for row in rows)
    for name, cycles, increments, bound in rows:
        table.add_row(short[name], f"{cycles:,.0f}", *(f"{value:,.0f}" for value in increments), bound)
    return table


def _network(p: Profile) -> Table:
    from rich.table import Table

    table = Table("tick", title="cores and network, per image", title_justify="left", box=None, pad_edge=False)
    for name in ("packets", "hops", "slowest core", "done after", "busiest link", "flits", "longest queue", "stalls"):
        table.add_column(name, justify="right")
    short = shortened(tick.name for tick in p.ticks)
    for tick in p.ticks:
        core, link = tick.core, tick.link
        table.add_row(
            short[tick.name],
            f"{tick.packets:,.0f}",
            f"{tick.hops:,.0f}",
            f"{core.id} at {core.x}, {core.y}" if core else "",
            f"{core.cycles:,.0f}" if core else "",
            f"{link.x}, {link.y} {link.side}" if link else "",
            f"{link.load:,.0f}" if link else "",
            str(tick.queue_peak),
            f"{tick.stalls:,.0f}",
        )
    return table


def _energy(p: Profile) -> Table:
    from rich.table import Table

    parts, stream = p.parts, p.stream_parts
    sops = p.work.operations[~p.mapping.passing_cores].sum() / p.images
    each = f", {parts.sum() / sops:,.2f} pJ per SOP" if sops else ""
    title = (
        f"energy: {parts.sum() / 1e6:,.2f} uJ per image, {stream.sum() / 1e6:,.2f} uJ pipelined; "
        f"{sops:,.0f} SOPs for {macs(p.mapping):,} multiply-accumulates{each}"
    )
    table = Table("uJ per image", title=title, title_justify="left", box=None, pad_edge=False)
    for name in (*PARTS, "total"):
        table.add_column(name, justify="right")
    rows = list(zip([layer.name for layer in p.mapping.layers], p.layer_energy[:-1], strict=True))
    rows += [("host", p.layer_energy[-1]), ("total", parts), ("total, pipelined", stream)]
    short = shortened(row[0] for row in rows)
    for name, row in rows:
        table.add_row(short[name], *(f"{value / 1e6:,.3f}" for value in (*row, row.sum())))
    return table


def _constants(p: Profile) -> Table:
    from rich.table import Table

    table = Table("constant", title="energy constants", title_justify="left", box=None, pad_edge=False)
    table.add_column("value", justify="right")
    table.add_column("origin")
    table.add_column("source")
    for constant in energy.constants(p.plan.chip):
        table.add_row(constant.name, f"{constant.value:g}", constant.origin, constant.note)
    return table
