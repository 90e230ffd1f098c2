"""Write a frame as a Perfetto trace, for ui.perfetto.dev; 1 ns stands for 1 cycle.

    ticks               a slice a tick, with its increments as annotations; below it the increments one after the other
    counters            packets in the network, packets per cycle at each of the host's ports, cores at work
    host                a track a port: when it sends and waits
    LAYER               a track a core: its tick, in it rows and sweep; below it the time in which it sends, in it the stalls

Of the packets some are drawn, each an arrow from its sender to its receiver; the counters count them all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackDescriptor, TrackEvent
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from chipsim.timing.history import History
from chipsim.timing.network.mesh import Int
from chipsim.timing.tick import INCREMENTS

#: waits for a credit that are drawn, the longest; the slices they are in name their sum
STALLS = 50_000
#: points that a counter has at most
POINTS = 5_000


def write(history: History, packets: int) -> bytes:
    """Return the trace; at most ``packets`` packets are shown individually, spaced evenly in each tick."""
    trace = _Trace(f"{history.plan.chip.name}, image {history.image}: 1 ns = 1 cycle")
    _ticks(trace, history)
    _counters(trace, history)
    senders = _host(trace, history) | _cores(trace, history)
    _arrows(trace, history, senders, packets)
    return trace.content()


class _Trace:
    """Tracks and events, appended in the order of time on each track."""

    def __init__(self, process: str) -> None:
        self._builder = TraceProtoBuilder()
        self._tracks = 0
        self.root = self._describe()
        self.root.process.pid = 1
        self.root.process.process_name = process
        self.root.child_ordering = TrackDescriptor.EXPLICIT

    def content(self) -> bytes:
        """Return the file."""
        return bytes(self._builder.serialize())

    def track(self, name: str, parent: int | None = None, unit: str | None = None) -> int:
        """Add a track below another or the process; with a unit it is a counter."""
        found = self._describe()
        found.name = name
        found.parent_uuid = parent or self.root.uuid
        found.sibling_order_rank = self._tracks
        found.child_ordering = TrackDescriptor.EXPLICIT
        # tracks of the same name are not one track
        found.sibling_merge_behavior = TrackDescriptor.SIBLING_MERGE_BEHAVIOR_NONE
        if unit:
            found.counter.unit_name = unit
        return int(found.uuid)

    def begin(self, track: int, cycle: int, name: str, category: str, **notes: float | str) -> None:
        """Begin a slice."""
        event = self._event(track, cycle, TrackEvent.TYPE_SLICE_BEGIN)
        event.name = name
        event.categories.append(category)
        _annotate(event, notes)

    def end(self, track: int, cycle: int) -> None:
        """End the slice that was begun last."""
        self._event(track, cycle, TrackEvent.TYPE_SLICE_END)

    def slice(self, track: int, begin: int, end: int, name: str, category: str, **notes: float | str) -> None:
        """Add a slice with nothing in it."""
        self.begin(track, begin, name, category, **notes)
        self.end(track, end)

    def packet(self, track: int, cycle: int, name: str, flow: int, arrives: bool, **notes: int) -> None:
        """Add one end of an arrow."""
        event = self._event(track, cycle, TrackEvent.TYPE_INSTANT)
        event.name = name
        event.categories.append("packet")
        (event.terminating_flow_ids if arrives else event.flow_ids).append(flow)
        _annotate(event, notes)

    def count(self, track: int, cycles: Int, values: Any) -> None:
        """Add the points of a counter, leaving out those at which it does not change."""
        changed = np.flatnonzero(np.diff(values, prepend=-1))
        for cycle, value in zip(cycles[changed].tolist(), values[changed].tolist(), strict=True):
            event = self._event(track, cycle, TrackEvent.TYPE_COUNTER)
            if isinstance(value, int):
                event.counter_value = value
            else:
                event.double_counter_value = value

    def _event(self, track: int, cycle: int, kind: int) -> Any:
        packet = self._builder.add_packet()
        packet.timestamp = cycle
        packet.trusted_packet_sequence_id = 1
        packet.track_event.type = kind
        packet.track_event.track_uuid = track
        return packet.track_event

    def _describe(self) -> Any:
        packet = self._builder.add_packet()
        packet.trusted_packet_sequence_id = 1
        self._tracks += 1
        packet.track_descriptor.uuid = self._tracks
        return packet.track_descriptor


def _annotate(event: Any, notes: dict[str, Any]) -> None:
    for name, value in notes.items():
        note = event.debug_annotations.add()
        note.name = name
        setattr(note, "string_value" if isinstance(value, str) else "int_value", value)


def _ticks(trace: _Trace, h: History) -> None:
    track = trace.track("ticks")
    below = trace.track("increments", track)
    for tick, begin, name in zip(h.frame.ticks, h.start.tolist(), h.names, strict=False):
        parts = dict(zip(INCREMENTS, tick.increments.tolist(), strict=True))
        bound = max(INCREMENTS, key=lambda part: parts[part])
        trace.slice(
            track, begin, begin + tick.cycles, f"{tick.number}: {name}", "tick",
            cycles=tick.cycles, **parts, bound=bound, packets=len(tick.flow.sent), hops=tick.flow.traversals,
            busiest_link=tick.flow.busiest_link, cores=len(tick.cores),
        )  # fmt: skip
        for part, cycles in parts.items():
            if cycles:
                trace.slice(below, begin, begin + cycles, part, "increment", cycles=cycles)
            begin += cycles


def _counters(trace: _Trace, h: History) -> None:
    width = -(-h.cycles // POINTS) or 1
    edges = np.arange(0, h.cycles + width, width)
    group = trace.track("counters")
    p, s = h.packets, h.shifts
    for name, begin, end, unit in (
        ("packets in the network", p.sent, p.ejected, "packets"),
        ("cores at work", s.begin, s.done, "cores"),
    ):
        trace.count(trace.track(f"{name} (most in {width} cycles)", group, unit), edges, _most(begin, end, edges))
    for number, terminal in enumerate(range(h.plan.mesh.routers, h.plan.mesh.terminals)):
        for name, cycles in (("in", p.sent[p.source == terminal]), ("out", p.arrivals.cycle[p.arrivals.target == terminal])):
            track = trace.track(f"port {number} {name} (mean of {width} cycles)", group, "packets a cycle")
            trace.count(track, edges, np.bincount(cycles // width, minlength=len(edges)) / width)


def _most(begin: Int, end: Int, edges: Int) -> Int:
    """How many of the intervals [begin, end) hold at once, the most of each stretch that begins at an edge."""
    cycles = np.concatenate([begin, end, edges])
    steps = np.concatenate([np.ones_like(begin), -np.ones_like(end), np.zeros_like(edges)])
    order = np.lexsort((steps, cycles))  # who ends makes room for who begins
    cycles, level = cycles[order], np.cumsum(steps[order])
    last = np.append(np.flatnonzero(np.diff(cycles)), len(cycles) - 1)  # of each cycle
    cycles, level = cycles[last], level[last]
    return np.asarray(np.maximum.reduceat(level, np.searchsorted(cycles, edges)))


def _host(trace: _Trace, h: History) -> dict[int, tuple[int, int]]:
    """Tracks of the host's ports: on which it sends and on which it receives, by terminal."""
    group, p, found = trace.track("host"), h.packets, {}
    stalls = _stalls(h)
    for number, (x, y) in enumerate(h.plan.mesh.ports):
        terminal = h.plan.mesh.routers + number
        sends = trace.track(f"port {number} at {x}, {y} sends", group)
        receives = trace.track(f"port {number} at {x}, {y} receives", group)
        found[terminal] = sends, receives
        _sends(trace, h, sends, terminal, stalls)
        out = p.arrivals.cycle[p.arrivals.target == terminal]
        if len(out):
            trace.slice(receives, int(out.min()) - 1, int(out.max()), "potentials", "receives", packets=len(out))
    return found


def _cores(trace: _Trace, h: History) -> dict[int, tuple[int, int]]:
    """Tracks of the cores: on which each sends and on which it works and receives, by terminal."""
    s, m = h.shifts, h.plan.mapping
    neurons, stalls = np.diff(m.neuron_offset), _stalls(h)
    groups: dict[str, int] = {}
    tracks: dict[int, int] = {}
    found: dict[int, tuple[int, int]] = {}
    rows = zip(s.core, s.tick, s.begin, s.rows, s.sweep, s.done, strict=True)
    for core, tick, begin, read, swept, done in (tuple(map(int, row)) for row in rows):
        layer = m.layers[int(m.core_layer[core])].name
        if layer not in groups:
            groups[layer] = trace.track(f"{layer} (tick {tick})" if m.steps == 1 else f"{layer} (from tick {tick})")
        if core not in tracks:
            x, y = m.core_position[core].tolist()
            tracks[core] = trace.track(f"core {core} at {x}, {y}", groups[layer])
        track = tracks[core]
        events = h.frame.steps.inputs[tick - int(h.plan.tick[core])].events
        trace.begin(track, begin, layer, "core", core=core, neurons=int(neurons[core]), cycles=done - begin)
        trace.slice(track, begin, read, "rows", "rows", axon_events=int(events[core]))
        trace.slice(track, read, swept, "sweep", "sweep")
        trace.end(track, done)
        terminal = int(h.plan.terminal[core])
        if terminal in found:  # a later step
            continue
        sends = track
        if terminal in stalls:
            sends = trace.track(f"core {core} sends", track)
            _sends(trace, h, sends, terminal, stalls)
        found[terminal] = sends, track
    return found


def _sends(trace: _Trace, h: History, track: int, terminal: int, stalls: dict[int, tuple[Int, Int]]) -> None:
    """When a terminal sends, and in it when it waits for a credit."""
    if terminal not in stalls:
        return
    all_mine, all_waits = stalls[terminal]
    p = h.packets
    for tick in np.unique(p.tick[all_mine]).tolist():
        mine, waits = (of[p.tick[of] == tick] for of in (all_mine, all_waits))
        trace.begin(
            track, int(p.due[mine[0]]), "sends", "sends", packets=len(mine), stall_cycles=int(p.stalled[mine].sum())
        )  # fmt: skip
        for due, sent in zip(p.due[waits].tolist(), p.sent[waits].tolist(), strict=True):
            trace.slice(track, due, sent, "stall", "stall")
        trace.end(track, int(p.sent[mine[-1]]) + 1)


def _stalls(h: History) -> dict[int, tuple[Int, Int]]:
    """Packets of each terminal that sends any, and those of them whose wait is drawn."""
    p = h.packets
    order = np.argsort(p.source, kind="stable")
    waits = np.flatnonzero(p.stalled)
    drawn = np.zeros(len(p.sent), bool)
    drawn[waits[np.argsort(-p.stalled[waits], kind="stable")[:STALLS]]] = True
    ends = np.flatnonzero(np.diff(p.source[order], append=-1)) + 1
    parts = np.split(order, ends[:-1]) if len(order) else []
    return {int(p.source[part[0]]): (part, part[drawn[part]]) for part in parts}


def _arrows(trace: _Trace, h: History, tracks: dict[int, tuple[int, int]], most: int) -> None:
    """Draw arrivals of packets, each tick's share of them at even distances."""
    p, a, ticks = h.packets, h.packets.arrivals, len(h.frame.ticks)
    for tick in range(ticks):
        mine = np.flatnonzero(p.tick[a.packet] == tick)
        count = min(len(mine), most // ticks)
        for flow in mine[np.arange(count) * len(mine) // max(1, count)].tolist():
            source, sent = (int(of[a.packet[flow]]) for of in (p.source, p.sent))
            target, ejected = int(a.target[flow]), int(a.cycle[flow])
            trace.packet(tracks[source][0], sent, "packet", flow + 1, arrives=False, cycles=ejected - sent)
            trace.packet(tracks[target][1], ejected, "packet", flow + 1, arrives=True, cycles=ejected - sent)
