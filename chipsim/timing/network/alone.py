"""Simulate the network under known traffic and measure throughput and latency (``chipsim network``).

Latency is counted from the cycle in which a packet is created to that of its ejection, the wait in the source's queue
included; the queue has no end. With uniform traffic the packets created in the measured window count, and the flits that
are ejected in it are accepted; after the window nothing is created and the network runs empty. The other patterns and files
are finite: all their packets count, and the window is the whole run. Where packets fork, each arrival has its latency, and
what is ejected and accepted is arrivals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from time import thread_time
from typing import Any

import numpy as np

from chipsim import ranges
from chipsim.chip import ChipSpec, load_chip
from chipsim.chip.routes import cut_off, routes
from chipsim.errors import InputError, UsageError
from chipsim.timing.network import patterns
from chipsim.timing.network.mesh import Flow, Int, Mesh, Traffic, mesh_of

#: uniform traffic is measured for so many cycles times nodes, in at least so many cycles
NODE_CYCLES, LEAST_CYCLES = 640_000, 1000
RATE = 0.1
#: seconds between two reports of the progress
EVERY = 0.5
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkResult:
    """The result of a simulation of the network."""

    mesh: Mesh
    traffic: str
    offered: float  # flits created a node and cycle
    accepted: float  # flits ejected a node and cycle
    latency: dict[str, float] | None  # mean, p50, p99, max in cycles; None: no packet was measured
    measured: int  # packets in the latency; where they fork arrivals
    cycles: int  # of the window
    seconds: float  # of the one processor that simulated
    flow: Flow

    @property
    def hops_per_second(self) -> float:
        """Hops between routers simulated per second of processor time."""
        return self.flow.traversals / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of ``chipsim network``; rates per node and cycle, latencies in cycles."""
        mesh, flow = self.mesh, self.flow
        return {
            "schema": "chipsim-network/1",
            "mesh": [mesh.width, mesh.height],
            "buffer": mesh.buffer,
            "router_cycles": mesh.router_cycles,
            "link_cycles": mesh.link_cycles,
            "credit_cycles": mesh.credit_cycles,
            "traffic": self.traffic,
            "offered": self.offered,
            "accepted": self.accepted,
            "latency": self.latency or dict.fromkeys(("mean", "p50", "p99", "max")),
            "measured": self.measured,
            "cycles": self.cycles,
            "traversals": flow.traversals,
            "busiest_link": flow.busiest_link,
            "injected": int((flow.sent >= 0).sum()),
            "ejected": int((flow.ejected >= 0).sum()),
            "source_stalls": int(flow.stalls.sum()),
            "queue_peak": int(flow.queue_peak.max(initial=0)),
            "hops_per_second": self.hops_per_second,
        }


def network(
    mesh: str | tuple[int, int] | None = None,
    traffic: str = "uniform",
    *,
    buffer: int | None = None,
    rate: float | None = None,
    cycles: int | None = None,
    warmup: int | None = None,
    seed: int = 0,
    router_cycles: int | None = None,
    link_cycles: int | None = None,
    credit_cycles: int | None = None,
    chip: str | None = None,
    multicast: bool = False,
    progress: Progress | None = None,
) -> NetworkResult:
    """Simulate the network under synthetic traffic, or under packets from a file.

    Parameters
    ----------
    mesh : str or tuple of int, optional
        Columns and rows, ``"8x8"`` or ``(8, 8)``; the chip's grid, or 8x8.
    traffic : str
        ``uniform``, ``all-pairs``, ``transpose``, ``complement`` or a CSV file (`patterns.from_file`).
    buffer, router_cycles, link_cycles, credit_cycles : int, optional
        Constants of the network; the chip's, or 4, 2, 1, 1.
    rate : float, optional
        Packets that a node creates a cycle: with uniform traffic the probability (0.1), with the others their pace (1).
        At 0 the others go one at a time, each when the one before has left, which shows the latency at zero load.
    cycles, warmup : int, optional
        Uniform traffic is measured for so many cycles (640,000 / nodes, at least 1,000) after so many (a fifth of them).
    seed : int
        Of uniform traffic.
    chip : str, optional
        Name or YAML file of a chip.
    multicast : bool
        Packets of a file that a source creates in one cycle are one, which forks where their ways part.
    progress : callable, optional
        Called with (arrivals so far, arrivals in all) about twice a second.

    Raises
    ------
    UsageError
        An option is out of range, or has no meaning with this traffic.
    InputError
        The file of packets, or the chip, cannot be used.
    """
    built = _mesh(mesh, chip, buffer, router_cycles, link_cycles, credit_cycles)
    is_file = traffic not in patterns.PATTERNS
    _check(traffic, is_file, rate, seed, multicast)
    if traffic == "uniform":
        return _uniform(built, RATE if rate is None else rate, cycles, warmup, seed, progress)
    for name, value in (("--cycles", cycles), ("--warmup", warmup)):
        if value is not None:
            raise UsageError(name, f"applies to uniform traffic only, not to {traffic}", code="option-unused")
    return _finite(built, traffic, 1.0 if rate is None else rate, multicast, progress)


def _check(traffic: str, is_file: bool, rate: float | None, seed: int, multicast: bool) -> None:
    """Refuse unknown traffic, and options that are out of range or do not apply to it."""
    if is_file and not traffic.lower().endswith(".csv"):
        allowed = ", ".join(patterns.PATTERNS)
        raise UsageError(
            "--traffic",
            f"unknown traffic {traffic!r}; expected {allowed} or FILE.csv",
            code="option-value",
            found=traffic,
        )
    if rate is not None and not 0 <= rate <= 1:
        raise UsageError("--rate", f"is {rate}; allowed: 0 to 1", code="option-value", found=rate, allowed=[0, 1])
    if seed < 0:
        raise UsageError("--seed", f"is {seed}; allowed: 0 or more", code="option-value", found=seed)
    if multicast and not is_file:
        raise UsageError("--multicast", f"applies to FILE.csv only, not to {traffic}", code="option-unused")
    if is_file and rate:
        raise UsageError(
            "--rate", f"{traffic} gives the cycle of each packet; allowed: 0, one packet at a time", code="option-unused"
        )


def _uniform(
    mesh: Mesh, rate: float, cycles: int | None, warmup: int | None, seed: int, progress: Progress | None
) -> NetworkResult:
    if cycles is None:
        cycles = max(LEAST_CYCLES, NODE_CYCLES // mesh.routers)
    if warmup is None:
        warmup = cycles // 5
    for name, value, least in (("--cycles", cycles, 1), ("--warmup", warmup, 0)):
        if not least <= value <= ranges.CYCLES:
            raise UsageError(name, f"is {value}; allowed: {least:,} to {ranges.CYCLES:,}", code="option-value", found=value)
    packets = patterns.uniform(mesh, rate, warmup + cycles, seed)
    flow, seconds = _timed(mesh, packets, progress)
    window = mesh.routers * cycles
    measured = packets.ready >= warmup
    accepted = np.count_nonzero((flow.ejected >= warmup) & (flow.ejected < warmup + cycles))
    latency = (flow.ejected - packets.ready)[measured]
    offered = np.count_nonzero(measured) / window
    return NetworkResult(
        mesh, "uniform", offered, accepted / window, _summary(latency), len(latency), cycles, seconds, flow
    )  # fmt: skip


def _finite(mesh: Mesh, traffic: str, rate: float, multicast: bool, progress: Progress | None) -> NetworkResult:
    if traffic == "all-pairs":
        packets = patterns.all_pairs(mesh, rate)
    elif traffic in ("transpose", "complement"):
        packets = {"transpose": patterns.transpose, "complement": patterns.complement}[traffic](mesh)
    else:
        packets = patterns.from_file(mesh, traffic)
    if multicast:
        from chipsim.timing.network.trees import forked

        packets = forked(mesh, packets)
    each = np.diff(packets.arrivals()[0])
    if rate == 0:
        from chipsim.timing.network.simulate import ideal

        flow = ideal(mesh, packets)
        taken = flow.ejected - np.repeat(flow.sent, each)
        packets = patterns.one_at_a_time(packets, np.maximum.reduceat(taken, np.cumsum(each) - each) if len(each) else each)
    flow, seconds = _timed(mesh, packets, progress)
    arrived, end = len(flow.ejected), flow.end
    created = int(packets.ready.max(initial=0)) + 1
    return NetworkResult(
        mesh, traffic, len(each) / mesh.routers / created, arrived / mesh.routers / end if end else 0.0,
        _summary(flow.ejected - np.repeat(packets.ready, each)), arrived, end, seconds, flow,
    )  # fmt: skip


def _timed(mesh: Mesh, traffic: Traffic, progress: Progress | None) -> tuple[Flow, float]:
    """Simulate; the seconds are the processor's for the cycles, without compiling and loading."""
    from chipsim.timing.network.checks import check_traffic
    from chipsim.timing.network.simulate import Workspace

    Workspace(Mesh(1, 1)).simulate(Traffic(np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32)))
    check_traffic(mesh, traffic)
    workspace = Workspace(mesh, len(traffic.ready))

    arrived: list[Int] = []  # one array: when each packet arrived, or -1

    def work() -> tuple[Flow, float]:
        start = thread_time()
        flow = workspace.simulate(traffic, watch=arrived.append)
        return flow, thread_time() - start

    pool = ThreadPoolExecutor(1)  # machine code hears no Ctrl-C; whoever waits for it does
    try:
        found = pool.submit(work)
        while not wait([found], timeout=EVERY).done:
            if progress is not None and arrived:
                progress(int(np.count_nonzero(arrived[0] >= 0)), len(arrived[0]))
        return found.result()
    finally:
        pool.shutdown(wait=False)


def _summary(latency: np.ndarray[Any, Any]) -> dict[str, float] | None:
    if not len(latency):
        return None
    p50, p99 = np.percentile(latency, [50, 99])
    return {"mean": float(latency.mean()), "p50": float(p50), "p99": float(p99), "max": int(latency.max())}


def _mesh(
    mesh: str | tuple[int, int] | None, chip: str | None, buffer: int | None,
    router_cycles: int | None, link_cycles: int | None, credit_cycles: int | None,
) -> Mesh:  # fmt: skip
    base = Mesh(8, 8) if chip is None else _of_chip(load_chip(chip), mesh)
    width, height = _sides(mesh) if mesh is not None else (base.width, base.height)
    given = (
        ("--buffer", buffer, base.buffer, 1, ranges.FLITS),
        ("--router-cycles", router_cycles, base.router_cycles, 1, ranges.STEP_CYCLES),
        ("--link-cycles", link_cycles, base.link_cycles, 0, ranges.STEP_CYCLES),
        ("--credit-cycles", credit_cycles, base.credit_cycles, 1, ranges.STEP_CYCLES),
    )
    values = []
    for name, value, default, least, most in given:
        if value is not None and not least <= value <= most:
            raise UsageError(
                name, f"is {value}; allowed: {least} to {most:,}", code="option-value", found=value, allowed=[least, most]
            )
        values.append(default if value is None else value)
    flits, router, link, credit = values
    return Mesh(width, height, (), flits, router, link, credit, base.routes)


def _of_chip(chip: ChipSpec, mesh: str | tuple[int, int] | None) -> Mesh:
    """The chip's mesh, around its dead links; on another mesh they have no place."""
    if not chip.dead_links:
        return mesh_of(chip, host=False)
    if mesh is not None and _sides(mesh) != chip.grid:
        raise UsageError(
            "--mesh", f"chip {chip.name!r} has dead links, which are defined on its own grid; omit --mesh",
            code="option-unused",
        )  # fmt: skip
    lost = cut_off(chip)
    if lost:
        raise InputError(
            f"chip {chip.name!r}",
            f"dead links cut off router ({lost[0][0]}, {lost[0][1]}), and the traffic uses every router; "
            "use a chip whose routers are all connected",
            code="chip-dead",
            found=[list(place) for place in lost],
        )
    return mesh_of(chip, routes(chip), host=False)


def _sides(mesh: str | tuple[int, int]) -> tuple[int, int]:
    if isinstance(mesh, str):
        found = re.fullmatch(r"([0-9]{1,9})[xX×]([0-9]{1,9})", mesh.strip())
        sides = (int(found[1]), int(found[2])) if found else (0, 0)
    else:
        sides = mesh
    if not all(1 <= side <= ranges.SIDE for side in sides):
        raise UsageError(
            "--mesh", f"is {mesh!r}; allowed: COLUMNSxROWS such as 8x8, 1 to {ranges.SIDE} each", code="network-mesh",
            found=mesh,
        )  # fmt: skip
    return sides
