"""What would have to improve first in a tick, and how much it could give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.timing.result import Profile, TickResult


@dataclass(frozen=True, slots=True)
class Advice:
    """``saves``: cycles an image that the tick could be shorter at most, all else as it is and nothing in the way."""

    saves: float
    text: str


def advise(p: Profile, tick: TickResult) -> Advice:
    """Say what bounds a tick and what it could give.

    A tick is over when the last core or packet is, and with nothing in the way neither comes sooner by more than what is
    taken from the slowest core's rows, sweep or packets.
    """
    bound, most = tick.bound, tick.increments[tick.bound]
    saves, reason = _REASONS[bound](p, tick)
    saves = max(0.0, min(saves, tick.cycles))
    text = f"{tick.name}: bound by {bound}, {most:,.0f} of {tick.cycles:,.0f} cycles; {reason}"
    if saves >= 0.5:
        text += f", which saves at most {saves:,.0f}"
    contention = tick.increments["contention"]
    if bound != "contention" and contention >= 0.5:
        text += f"; contention-free it would take {tick.cycles - contention:,.0f}"
    return Advice(saves, text)


def _rows(p: Profile, tick: TickResult) -> tuple[float, str]:
    cores = np.flatnonzero(p.plan.tick == tick.number)
    if not len(cores):
        return 0.0, "nobody is at work"
    reads = p.work.input_cycles[cores] / p.images
    most = tick.increments["rows"] - p.plan.timing.start_cycles
    if most - float(reads.mean()) < 0.01 * most:  # nothing to spread
        return most - _scan(p, int(cores[reads.argmax()])), (
            f"its cores read alike, {most:,.0f} cycles: only fewer spikes of what it reads make it shorter"
        )
    return most - float(reads.mean()), (
        f"the slowest core, most often {cores[reads.argmax()]}, reads for {most:,.0f} cycles, the layer's mean core for "
        f"{reads.mean():,.0f}: spread what they read evenly"
    )


def _scan(p: Profile, core: int) -> int:
    """Cycles in which a core looks at its axons even if none of them holds a bit."""
    timing, chip = p.plan.timing, p.mapping.chip
    held = int(p.mapping.core_fold[core]) * chip.axons
    return -(-held // timing.word_bits) if timing.input == "row_parallel" else 0


def _sweep(p: Profile, tick: TickResult) -> tuple[float, str]:
    cores = np.flatnonzero(p.plan.tick == tick.number)
    neurons = np.diff(p.mapping.neuron_offset)[cores]
    sweep = neurons * p.plan.update_cycles[cores]
    at = int(sweep.argmax())
    each = int(p.plan.update_cycles[cores[at]])
    if each == 1:
        what = f"core {cores[at]} sweeps over {neurons[at]} neurons, one a cycle"
        uneven = float(sweep[at] - sweep.mean())
        if uneven < 0.01 * sweep[at]:  # nothing to spread
            return float(sweep[at]) / 2, f"{what}, and so do the others: put them on twice as many cores"
        return uneven, f"{what}: spread them"
    return float(sweep[at] - neurons[at]), (
        f"core {cores[at]} sweeps over {neurons[at]} neurons, {each} cycles each: merge more columns a cycle"
    )


def _injection(p: Profile, tick: TickResult) -> tuple[float, str]:
    if tick.number == 0:
        ports = len(p.plan.mesh.ports)
        return tick.increments["injection"] / 2, (
            f"{tick.packets:,.0f} packets enter through {ports} port{'s'[: ports != 1]}: give the chip twice as many"
        )
    cores = np.flatnonzero(p.plan.tick == tick.number)
    sent = p.work.sent[cores] / p.images
    most, each = float(p.work.most_packets[:, tick.number].mean()), p.plan.timing.lookup_cycles
    return (most - float(sent.mean())) * each, (
        f"the busiest core, most often {cores[sent.argmax()]}, sends {most:,.0f} packets, the layer's mean core "
        f"{sent.mean():,.0f}: spread them evenly"
    )


def _flight(p: Profile, tick: TickResult) -> tuple[float, str]:
    return tick.increments["flight"], f"place it closer to where its {tick.packets:,.0f} packets go"


def _contention(p: Profile, tick: TickResult) -> tuple[float, str]:
    link = tick.link
    busy = f"{link.load:,.0f} flits go {link.side} from router {link.x}, {link.y}" if link else "packets meet at their cores"
    return tick.increments["contention"], f"{busy}: spread the packets over more links, or give routers more buffers"


def _sync(p: Profile, tick: TickResult) -> tuple[float, str]:
    return tick.increments["sync"], "the barrier takes longer than anything else: a smaller grid"


_REASONS = {
    "rows": _rows,
    "sweep": _sweep,
    "injection": _injection,
    "flight": _flight,
    "contention": _contention,
    "sync": _sync,
}
