"""Format a simulation of the network as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chipsim.timing.network.alone import NetworkResult

if TYPE_CHECKING:
    from rich.table import Table


def summary(result: NetworkResult) -> Table:
    """Return throughput, latency and links for a terminal."""
    from rich.table import Table

    mesh, flow, latency = result.mesh, result.flow, result.latency
    times = (
        "no packet was measured"
        if latency is None
        else f"mean {latency['mean']:,.2f}, p50 {latency['p50']:,g}, p99 {latency['p99']:,g}, max {latency['max']:,} cycles"
    )
    sent, arrived = len(flow.sent), len(flow.ejected)
    note = f"of which {result.measured:,} measured" if sent == arrived else f"with {arrived:,} arrivals"
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in (
        ("network", f"{mesh.width}x{mesh.height}, {mesh.buffer} flits per FIFO, {result.traffic}, {result.cycles:,} cycles"),
        ("offered", f"{result.offered:.4f} flits per node and cycle"),
        ("accepted", f"{result.accepted:.4f}"),
        ("latency", times),
        ("packets", f"{sent:,}, {note}"),
        ("links", f"{flow.traversals:,} traversals, busiest {flow.busiest_link:,}"),
        ("simulated", f"{result.hops_per_second / 1e6:.1f} million hops per second"),
    ):
        table.add_row(name, value)
    return table
