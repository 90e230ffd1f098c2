"""Traces, read back with the libraries of their formats and held against the profile of the same frame."""

from __future__ import annotations

import io
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent
from support.command_line import unlabelled
from support.timed_maps import timed_map
from vcd.reader import TokenKind, tokenize

from chipsim.chip import load_chip
from chipsim.chip.routes import routes
from chipsim.datasets import Dataset
from chipsim.errors import UsageError
from chipsim.mapping import Mapping
from chipsim.report import trace, trace_perfetto
from chipsim.timing.history import History, history
from chipsim.timing.network.mesh import Mesh, Traffic
from chipsim.timing.network.simulate import simulate
from chipsim.timing.profile import profile
from chipsim.timing.queues import queued
from chipsim.timing.result import Profile
from chipsim.timing.tick import INCREMENTS


@dataclass
class Slice:
    track: int
    begin: int
    name: str
    depth: int
    notes: dict[str, int | str]
    end: int = -1


@dataclass
class Read:
    """A Perfetto trace read back; slices by category."""

    names: dict[int, str] = field(default_factory=dict)
    slices: dict[str, list[Slice]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    flows: Counter[tuple[str, int, int]] = field(default_factory=Counter)


def read_perfetto(content: bytes) -> Read:
    found, process, open_slices = Read(), None, defaultdict(list)
    for packet in Trace.FromString(content).packet:
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid not in found.names
            assert not track.parent_uuid or track.parent_uuid in found.names
            found.names[track.uuid] = track.name or track.process.process_name
            process = process or track.process.process_name
            continue
        event, cycle = packet.track_event, packet.timestamp
        assert event.track_uuid in found.names
        stack = open_slices[event.track_uuid]
        notes = {
            note.name: note.string_value if note.HasField("string_value") else note.int_value
            for note in event.debug_annotations
        }
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            assert not stack or stack[-1].begin <= cycle
            stack.append(Slice(event.track_uuid, cycle, event.name, len(stack), notes))
            found.slices[event.categories[0]].append(stack[-1])
        elif event.type == TrackEvent.TYPE_SLICE_END:
            last = stack.pop()
            assert last.begin <= cycle
            last.end = cycle
        elif event.type == TrackEvent.TYPE_COUNTER:
            value = event.counter_value if event.HasField("counter_value") else event.double_counter_value
            found.counters[found.names[event.track_uuid]].append((cycle, value))
        else:
            found.flows += Counter({("to", f, cycle): 1 for f in event.terminating_flow_ids})
            found.flows += Counter({("from", f, cycle): 1 for f in event.flow_ids})
    assert process is not None
    assert process.endswith("1 ns = 1 cycle")
    assert not any(open_slices.values())
    return found


def read_vcd(content: bytes) -> tuple[dict[str, list[tuple[int, int]]], int, dict[TokenKind, str]]:
    """Changes of each signal by its full name, the last cycle, and the header."""
    names, scope, changes, cycle, header = {}, [], defaultdict(list), 0, {}
    for token in tokenize(io.BytesIO(content)):
        if token.kind is TokenKind.SCOPE:
            scope.append(token.scope.ident)
        elif token.kind is TokenKind.UPSCOPE:
            scope.pop()
        elif token.kind is TokenKind.VAR:
            names[token.var.id_code] = ".".join([*scope, token.var.reference])
        elif token.kind is TokenKind.CHANGE_TIME:
            cycle = token.time_change
        elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR):
            change = token.scalar_change if token.kind is TokenKind.CHANGE_SCALAR else token.vector_change
            changes[names[change.id_code]].append((cycle, int(change.value)))
        else:
            header[token.kind] = str(token.data)
    assert len(set(names.values())) == len(names)
    return changes, cycle, header


def cases() -> list[tuple[Mapping, Dataset, str]]:
    """The last four with multicast."""
    return [(*timed_map(np.random.default_rng(seed), seed >= 8), ("cycle", "ideal")[seed % 2]) for seed in range(12)]


def both(mapping: Mapping, data: Dataset, mode: str) -> tuple[History, Profile]:
    image = len(data) - 1
    alone = Dataset("random", "test", data.images[image:], None)
    return history(mapping, data, image=image, mode=mode), profile(mapping, alone, mode=mode, threads=1)


def packets_of(found: Profile) -> int:
    """All that is sent, potentials too."""
    return int(found.work.packets.sum() + found.work.potentials.sum())


@pytest.mark.slow
def test_perfetto_says_what_the_profile_says() -> None:
    stalls = 0
    for mapping, data, mode in cases():
        h, found = both(mapping, data, mode)
        read = read_perfetto(trace.writer("a.pftrace")(h))
        ticks, cores, sends = read.slices["tick"], read.slices["core"], read.slices["sends"]
        assert [tick.end - tick.begin for tick in ticks] == found.tick_cycles[0].tolist()
        assert [tick.begin for tick in ticks] == np.cumsum([0, *found.tick_cycles[0, :-1]]).tolist()
        for number, tick in enumerate(ticks):
            assert [tick.notes[part] for part in INCREMENTS] == found.increments[0, number].tolist()
            inside = [p for p in read.slices["increment"] if tick.begin <= p.begin < p.end <= tick.end]
            assert sum(part.end - part.begin for part in inside) == tick.end - tick.begin
            # what is done last, and then the barrier, is the tick's end
            work = [s.end for s in (*cores, *sends) if tick.begin <= s.begin < tick.end]
            ejected = h.packets.ejected[h.packets.tick == number].tolist()
            assert max([tick.begin, *work, *ejected]) + found.plan.sync_cycles == tick.end
        assert len(cores) == mapping.cores
        assert sorted(core.notes["core"] for core in cores) == list(range(mapping.cores))
        assert sum(send.notes["packets"] for send in sends) == packets_of(found) == len(h.packets.sent)
        waits = read.slices["stall"]
        assert all(wait.depth == 1 and wait.begin < wait.end for wait in waits)
        stalled = sum(int(network.stalls.sum()) for network in found.networks)
        assert sum(w.end - w.begin for w in waits) == sum(s.notes["stall_cycles"] for s in sends) == stalled
        stalls += stalled
        check_cores(h, read)
        check_flows(h, read)
    assert stalls > 0


def check_cores(h: History, read: Read) -> None:
    """Within a core's slice rows follow sweep, and they take what the core takes."""
    inside = defaultdict(list)
    for part in (*read.slices["rows"], *read.slices["sweep"]):
        assert part.depth == 1
        inside[part.track].append(part)
    for core in read.slices["core"]:
        number = core.notes["core"]
        rows, sweep = inside[core.track]
        cycles = h.frame.inputs.cycles[number] + h.plan.timing.start_cycles
        neurons = int(np.diff(h.plan.mapping.neuron_offset)[number])
        assert (rows.begin, rows.end, sweep.begin) == (core.begin, core.begin + cycles, rows.end)
        assert sweep.end - sweep.begin == neurons * h.plan.update_cycles[number]
        assert sweep.end <= core.end


def check_flows(h: History, read: Read) -> None:
    """Every packet of a small trace is an arrow, or several, from when it is sent to when it is ejected."""
    wanted, a = Counter(), h.packets.arrivals
    for number, (packet, ejected) in enumerate(zip(a.packet.tolist(), a.cycle.tolist(), strict=True), 1):
        wanted += Counter({("from", number, int(h.packets.sent[packet])): 1, ("to", number, ejected): 1})
    assert read.flows == wanted
    flight = next(points for name, points in read.counters.items() if name.startswith("packets in the network"))
    steps = Counter(h.packets.sent.tolist())
    steps.subtract(h.packets.ejected.tolist())
    level = np.cumsum([steps[cycle] for cycle in range(h.cycles + 1)])
    assert max(value for _, value in flight) == level.max()
    assert flight[-1][1] == 0


@pytest.mark.slow
def test_few_packets_are_drawn_where_few_are_wanted() -> None:
    mapping, data, _ = cases()[0]
    h = history(mapping, data)
    assert len(h.packets.sent) > 4
    assert not read_perfetto(trace.writer("-", 0)(h)).flows
    drawn = read_perfetto(trace.writer("a.perfetto-trace", 4)(h)).flows
    assert 0 < len(drawn) <= 8


@pytest.mark.slow
def test_the_longest_stalls_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    h = next(h for h in (history(m, d) for m, d, _ in cases()) if np.count_nonzero(h.packets.stalled) > 3)
    monkeypatch.setattr(trace_perfetto, "STALLS", 3)
    read = read_perfetto(trace.writer("-")(h))
    drawn = sorted((wait.end - wait.begin for wait in read.slices["stall"]), reverse=True)
    assert drawn == sorted(h.packets.stalled.tolist(), reverse=True)[:3]
    assert sum(send.notes["stall_cycles"] for send in read.slices["sends"]) == h.packets.stalled.sum()


@pytest.mark.slow
def test_vcd_says_what_the_profile_says() -> None:
    for mapping, data, mode in cases():
        h, found = both(mapping, data, mode)
        changes, last, header = read_vcd(trace.writer("a.VCD")(h))
        assert last == found.cycles[0]
        assert "1 ns is 1 cycle" in header[TokenKind.COMMENT]
        assert "ns" in header[TokenKind.TIMESCALE]
        starts = {value: cycle for cycle, value in changes["chip.tick"]}
        assert [starts[number] for number in range(mapping.ticks + 1)] == np.cumsum([0, *found.tick_cycles[0]]).tolist()
        ends = {name: values[-1] for name, values in changes.items()}
        for word, wanted in (("sent", packets_of(found)), ("received", len(h.packets.arrivals.cycle))):
            assert sum(value for name, (_, value) in ends.items() if name.endswith(f".{word}")) == wanted
        states = [values for name, values in changes.items() if name.endswith(".state")]
        assert len(states) == mapping.cores
        assert all(values[-1][1] == 0 and max(value for _, value in values) >= 1 for values in states)
        check_queues(h, found, changes["chip.queued"])
        waited = 0
        for name, values in changes.items():
            if name.endswith(".waits"):
                waited += sum(cycle * (1 - 2 * value) for cycle, value in values if cycle or value)
        hosted = sum(int(network.stalls[found.plan.mesh.routers :].sum()) for network in found.networks)
        assert waited == sum(int(network.stalls.sum()) for network in found.networks) - hosted
        for number in range(mapping.ticks):  # the last change before the barrier
            events = [c for values in changes.values() for c, _ in values if starts[number] < c < starts[number + 1]]
            sync = found.plan.sync_cycles
            if sync and events:
                assert max(events) == starts[number + 1] - sync


def check_queues(h: History, found: Profile, changes: list[tuple[int, int]]) -> None:
    """Over the frame as many flits times cycles as the routers' counters say, and in no cycle more than are under way."""
    cycles, values = (np.array(column) for column in zip(*changes, strict=True))
    level = np.zeros(h.cycles + 1, np.int64)
    level[cycles] = np.diff(values, prepend=0)
    level = np.cumsum(level)
    mesh, held = h.plan.mesh, 0
    for tick, network in zip(h.frame.ticks, found.networks, strict=True):
        if h.mode == "cycle":
            held += int(network.queue_cycles.sum())
        else:  # nobody waits: so long in each router of its way
            held += mesh.router_cycles * (len(tick.flow.sent) + tick.flow.traversals)
    assert level.sum() == held
    assert level[-1] == 0
    p = h.packets
    if len(p.arrivals.cycle) > len(p.sent):  # a packet that forks is in several queues
        return
    under_way = np.bincount(p.sent + 1, minlength=h.cycles + 1) - np.bincount(p.ejected - 1, minlength=h.cycles + 1)
    under_way = np.cumsum(under_way)
    assert (level <= under_way).all()
    assert mesh.link_cycles or (level == under_way).all()


@pytest.mark.slow
def test_queues_around_dead_links_with_shallow_buffers() -> None:
    mesh = Mesh(3, 3, ((0, 0),), 1, 2, 1, 3, routes(load_chip("mini").model_copy(update={
        "grid": (3, 3), "dead_links": (((0, 0), (1, 0)),)
    })))  # fmt: skip
    rng = np.random.default_rng(3)
    count = rng.integers(0, 9, mesh.terminals)
    number = int(count.sum())
    traffic = Traffic(
        np.concatenate([[0], np.cumsum(count)]), np.zeros(number, np.int64),
        rng.integers(0, mesh.terminals, number).astype(np.int32),
    )  # fmt: skip
    flow = simulate(mesh, traffic)
    enters, leaves = queued(mesh, traffic, flow, alone=False)
    assert (leaves - enters).sum() == flow.queue_cycles.sum()
    assert (leaves - enters).min() == mesh.router_cycles
    none = Traffic(np.zeros(11, np.int64), traffic.ready[:0], traffic.target[:0])
    assert [len(part) for part in queued(mesh, none, simulate(mesh, none), alone=True)] == [0, 0]


def test_an_old_protobuf_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.protobuf import runtime_version

    def refuse(*_: object) -> None:
        raise runtime_version.VersionError("Detected incompatible Protobuf Gencode/Runtime versions")

    for name in [name for name in sys.modules if name.startswith("perfetto.") or name == "chipsim.report.trace_perfetto"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(sys.modules["chipsim.report"], "trace_perfetto", raising=False)
    monkeypatch.setattr(runtime_version, "ValidateProtobufRuntimeVersion", refuse)
    with pytest.raises(UsageError, match=r"perfetto cannot be loaded \(Detected incompatible"):
        trace.writer("a.pftrace")


def test_signals_have_their_own_names() -> None:
    from chipsim.report.trace_vcd import _scopes

    assert _scopes(["a b", "a_b", "", "é/0"]) == ["a_b", "a_b_", "_", "__0"]


@pytest.mark.parametrize("target", ["a.txt", "a", "vcd", "a.vcd.gz"])
def test_other_suffixes_are_refused(target: str) -> None:
    with pytest.raises(UsageError, match=r"does not end in \.perfetto-trace, \.pftrace, \.vcd") as error:
        trace.writer(target)
    assert error.value.code == "option-value"


@pytest.mark.parametrize(("target", "module", "package"), [("a.pftrace", "perfetto", "perfetto"), ("a.vcd", "vcd", "pyvcd")])
def test_without_the_library(monkeypatch: pytest.MonkeyPatch, target: str, module: str, package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    for name in ("trace_perfetto", "trace_vcd"):
        monkeypatch.delitem(sys.modules, f"chipsim.report.{name}", raising=False)
        monkeypatch.delattr(sys.modules["chipsim.report"], name, raising=False)
    with pytest.raises(UsageError, match=rf"^trace: {package} cannot be loaded .*pip install 'qsnnc\[trace\]'"):
        trace.writer(target)


@pytest.mark.slow
def test_the_verb(tmp_path: Path, small, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from chipsim.cli import main
    from chipsim.mapping import write_mapping

    compiled, _, data = small
    write_mapping(compiled.mapping, tmp_path / "m.map")
    np.savez(tmp_path / "x.npz", images=data.images)

    def call(*words: object) -> tuple[int, str]:
        given = ["chipsim", "trace", str(tmp_path / "m.map"), "--dataset", str(tmp_path / "x.npz"), *map(str, words)]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code), capfd.readouterr().err

    for name in ("a.perfetto-trace", "a.vcd"):
        code, said = call("-o", tmp_path / name, "--image", 5)
        assert code == 0, said
        assert "1 ns = 1 cycle" in said
        first = (tmp_path / name).read_bytes()
        assert call("-o", tmp_path / name, "--image", 5, "--quiet") == (0, "")
        assert (tmp_path / name).read_bytes() == first
    for words, code, said in (
        (("-o", "a.gz"), 2, "--output: 'a.gz' does not end in"),
        (("-o", tmp_path / "b.vcd", "--image", 6), 2, "--image: is 6; allowed: 0 to 5"),
        (("-o", tmp_path / "b.vcd", "--image", -1), 2, "--image: is -1; allowed: a whole number from 0"),
        (("-o", tmp_path / "b.vcd", "--mode", "none"), 2, "--mode: unknown timing mode 'none'; expected ideal or cycle"),
        (("-o", tmp_path / "b.pftrace", "--packets", -1), 2, "--packets: is -1; allowed: a whole number from 0"),
        (("-o", tmp_path / "b.vcd", "--packets", 1), 2, "--packets: applies to Perfetto traces"),
        (("-o", tmp_path / "none" / "b.vcd"), 3, str(tmp_path / "none")),
    ):
        found, printed = call(*words)
        assert (found, unlabelled(printed).startswith(said), printed.count("\n")) == (code, True, 1), printed
    assert not (tmp_path / "b.vcd").exists()
