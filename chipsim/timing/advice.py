"""Find the bottleneck of a tick, and how many cycles removing it could save."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.timing.result import Profile, TickResult


@dataclass(frozen=True, slots=True)
class Advice:
    """What limits a tick; ``saves`` is an upper bound on the cycles per image that removing it saves."""

    saves: float
    text: str


def advise(p: Profile, tick: TickResult) -> Advice:
    """Return the bottleneck of a tick and the cycles that removing it saves at most.

    A tick is over when the last core or packet is, and with nothing in the way neither comes sooner by more than what is
    taken from the slowest core's rows, sweep or packets.
    """
    bound, most = tick.bound, tick.increments[tick.bound]
    saves, reason = _REASONS[bound](p, tick)
    saves = max(0.0, min(saves, tick.cycles))
    text = f"{tick.name}: limited by {bound} ({most:,.0f} of {tick.cycles:,.0f} cycles); {reason}"
    if saves >= 0.5:
        text += f" (saves at most {saves:,.0f} cycles)"
    contention = tick.increments["contention"]
    if bound != "contention" and contention >= 0.5:
        text += f"; without contention: {tick.cycles - contention:,.0f} cycles"
    return Advice(saves, text)


def _rows(p: Profile, tick: TickResult) -> tuple[float, str]:
    cores = p.plan.at_work(tick.number)
    if not len(cores):
        return 0.0, "no core is active"
    reads = p.work.input_cycles[cores] / p.images / p.mapping.steps
    most = tick.increments["rows"] - p.plan.timing.start_cycles
    if most - float(reads.mean()) < 0.01 * most:  # nothing to spread
        return most - _scan(p, int(cores[reads.argmax()])), (
            f"all its cores read for about {most:,.0f} cycles; only fewer input spikes shorten it"
        )
    return most - float(reads.mean()), (
        f"the slowest core (most often {cores[reads.argmax()]}) reads for {most:,.0f} cycles, the average core for "
        f"{reads.mean():,.0f}; balance the input spikes across the cores"
    )


def _scan(p: Profile, core: int) -> int:
    """Cycles in which a core looks at its axons even if none of them holds a bit."""
    timing, chip = p.plan.timing, p.mapping.chip
    held = int(p.mapping.core_fold[core]) * chip.axons
    return -(-held // timing.word_bits) if timing.input == "row_parallel" else 0


def _sweep(p: Profile, tick: TickResult) -> tuple[float, str]:
    cores = p.plan.at_work(tick.number)
    neurons = np.diff(p.mapping.neuron_offset)[cores]
    sweep = neurons * p.plan.update_cycles[cores]
    at = int(sweep.argmax())
    each = int(p.plan.update_cycles[cores[at]])
    if each == 1:
        what = f"core {cores[at]} updates {neurons[at]} neurons, one per cycle"
        uneven = float(sweep[at] - sweep.mean())
        if uneven < 0.01 * sweep[at]:  # nothing to spread
            return float(sweep[at]) / 2, f"{what}, and so do the others; use twice as many cores"
        return uneven, f"{what}; distribute the neurons evenly"
    return float(sweep[at] - neurons[at]), (
        f"core {cores[at]} updates {neurons[at]} neurons in {each} cycles each; merge more columns per cycle"
    )


def _injection(p: Profile, tick: TickResult) -> tuple[float, str]:
    entering = float(p.work.port_packets[tick.number]) / p.images
    until = tick.increments["rows"] + tick.increments["sweep"] + tick.increments["injection"]
    if entering >= 0.99 * until:  # a port sends a packet a cycle: the host is what is waited for
        ports = len(p.plan.mesh.ports)
        packets = float(p.work.tick_host[tick.number]) / p.images
        return tick.increments["injection"] / 2, (
            f"{packets:,.0f} packets enter through {ports} port{'s'[: ports != 1]}; use twice as many ports"
        )
    cores = p.plan.at_work(tick.number)
    sent = p.work.sent[cores] / p.images / p.mapping.steps
    most, each = float(p.work.most_packets[:, tick.number].mean()), p.plan.timing.lookup_cycles
    return (most - float(sent.mean())) * each, (
        f"the busiest core (most often {cores[sent.argmax()]}) sends {most:,.0f} packets, the average core "
        f"{sent.mean():,.0f}; distribute them evenly"
    )


def _flight(p: Profile, tick: TickResult) -> tuple[float, str]:
    return tick.increments["flight"], f"place its cores closer to the targets of its {tick.packets:,.0f} packets"


def _contention(p: Profile, tick: TickResult) -> tuple[float, str]:
    link = tick.link
    busy = (
        f"{link.load:,.0f} flits leave router {link.x}, {link.y} to the {link.side}"
        if link
        else "packets contend at their target cores"
    )
    return tick.increments["contention"], f"{busy}; spread the packets over more links, or enlarge the buffers"


def _sync(p: Profile, tick: TickResult) -> tuple[float, str]:
    return tick.increments["sync"], "the barrier takes longest; use a smaller grid"


_REASONS = {
    "rows": _rows,
    "sweep": _sweep,
    "injection": _injection,
    "flight": _flight,
    "contention": _contention,
    "sync": _sync,
}
