"""Write a frame as a value change dump, for a waveform viewer; 1 ns stands for 1 cycle.

chip.tick                   number of the tick; one more when the last is over
chip.in_flight              packets in the network
chip.queued                 flits in the FIFOs of all routers
chip.cores_at_work
chip.port_P.sent, received  packets so far
chip.LAYER.core_C.state     0 idle, 1 reads rows, 2 sweeps over its neurons, 3 has only packets left to send
chip.LAYER.core_C.sent      packets so far
chip.LAYER.core_C.received  packets so far
chip.LAYER.core_C.waits     a packet waits for a credit
"""

from __future__ import annotations

import io
import re

import numpy as np
from vcd import VCDWriter

from chipsim.timing.history import History
from chipsim.timing.network.mesh import Int
from chipsim.timing.queues import queued

COMMENT = (
    "1 ns is 1 cycle of the chip. state: 0 idle, 1 reads rows, 2 sweeps over its neurons, 3 has only packets left to send. "
    "queued: flits in the FIFOs of all routers. sent, received: packets so far. waits: a packet waits for a credit."
)
#: a signal: its scope, name, bits, the cycles of its changes and the values from then on
Signal = tuple[str, str, int, Int, Int]


def write(history: History) -> bytes:
    """Return the dump."""
    signals = [*_chip(history), *_cores(history)]
    text = io.StringIO()
    title = f"chipsim, {history.plan.chip.name}, image {history.image}, {history.mode}"
    with VCDWriter(text, timescale="1 ns", date="", comment=COMMENT, version=title, check_values=False) as dump:
        variables = [dump.register_var(scope, name, "wire", bits, init=0) for scope, name, bits, _, _ in signals]
        owner = np.repeat(np.arange(len(signals)), [len(signal[3]) for signal in signals])
        cycles = np.concatenate([signal[3] for signal in signals])
        values = np.concatenate([signal[4] for signal in signals])
        order = np.argsort(cycles, kind="stable")
        for cycle, number, value in zip(*(of[order].tolist() for of in (cycles, owner, values)), strict=True):
            dump.change(variables[number], cycle, value)
        dump.close(history.cycles)
        return text.getvalue().encode()


def _chip(h: History) -> list[Signal]:
    p, s, mesh = h.packets, h.shifts, h.plan.mesh
    found = [
        _signal("chip", "tick", 16, h.start, np.arange(len(h.start))),
        _level("chip", "in_flight", p.sent, p.ejected),
        _level("chip", "queued", *_queued(h)),
        _level("chip", "cores_at_work", s.begin, s.done),
    ]
    for port, terminal in enumerate(range(mesh.routers, mesh.terminals)):
        found.append(_count(f"chip.port_{port}", "sent", p.sent[p.source == terminal]))
        found.append(_count(f"chip.port_{port}", "received", p.arrivals.cycle[p.arrivals.target == terminal]))
    return found


def _queued(h: History) -> tuple[Int, Int]:
    """When flits enter FIFOs of the frame and when they are out of them."""
    each = [queued(h.plan.mesh, tick.traffic, tick.flow, alone=tick.unmet) for tick in h.frame.ticks]
    begin = h.start[:-1].tolist()
    enters, leaves = ([at + part for at, part in zip(begin, parts, strict=True)] for parts in zip(*each, strict=True))
    return np.concatenate(enters), np.concatenate(leaves)


def _cores(h: History) -> list[Signal]:
    s, p, m = h.shifts, h.packets, h.plan.mapping
    names = _scopes([layer.name for layer in m.layers])
    a, terminals = p.arrivals, h.plan.mesh.terminals
    sent, received = _split(p.source, terminals), _split(a.target, terminals)
    found: list[Signal] = []
    changes = np.stack([s.begin, s.rows, s.sweep, s.done], axis=1)
    for core in dict.fromkeys(s.core.tolist()):
        cycles = changes[s.core == core].reshape(-1)  # of each step, in order
        scope, terminal = f"chip.{names[int(m.core_layer[core])]}.core_{core}", int(h.plan.terminal[core])
        mine = sent[terminal]
        waits = mine[p.stalled[mine] > 0]
        found += [
            _signal(scope, "state", 2, cycles, np.tile([1, 2, 3, 0], len(cycles) // 4)),
            _count(scope, "sent", p.sent[mine]),
            _count(scope, "received", a.cycle[received[terminal]]),
            _level(scope, "waits", p.due[waits], p.sent[waits], bits=1),
        ]
    return found


def _signal(scope: str, name: str, bits: int, cycles: Int, values: Int) -> Signal:
    """Of several changes in one cycle, which are in order, only the last, and none that changes nothing."""
    last = np.append(np.diff(cycles) > 0, np.ones(min(1, len(cycles)), bool))
    cycles, values = cycles[last], values[last]
    changed = np.diff(values, prepend=0) != 0
    return scope, name, bits, cycles[changed], values[changed]


def _count(scope: str, name: str, cycles: Int) -> Signal:
    return _signal(scope, name, 32, np.sort(cycles), np.arange(1, len(cycles) + 1))


def _level(scope: str, name: str, begin: Int, end: Int, bits: int = 32) -> Signal:
    """How many of the intervals [begin, end) hold."""
    cycles = np.concatenate([begin, end])
    order = np.argsort(cycles, kind="stable")
    steps = np.concatenate([np.ones_like(begin), -np.ones_like(end)])[order]
    return _signal(scope, name, bits, cycles[order], np.cumsum(steps))


def _split(owner: Int, count: int) -> list[Int]:
    """Rows of each owner, in order."""
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.searchsorted(owner[order], np.arange(1, count)))


def _scopes(names: list[str]) -> list[str]:
    """Names as viewers take them, each its own."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
        while plain in found:
            plain += "_"
        found.append(plain)
    return found
