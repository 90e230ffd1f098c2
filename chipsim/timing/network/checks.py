"""Check a mesh and its traffic before they are simulated, and limit the memory of the FIFOs."""

from __future__ import annotations

import numpy as np

from chipsim.codes import Code
from chipsim.errors import InputError
from chipsim.timing.network import layout
from chipsim.timing.network.mesh import Mesh, Traffic

#: bytes that the FIFOs of a mesh may take
MOST_BYTES = 2 << 30
_FLIT_BYTES = 16 * 5  # of a slot in each FIFO of a router


def wrong(code: Code, message: str) -> InputError:
    """Return the error for an invalid network."""
    return InputError("network", message, code=code)


def check_mesh(mesh: Mesh) -> None:
    """Refuse a mesh that cannot be built."""
    limits = (
        ("width", mesh.width, 1, 1 << 13),
        ("height", mesh.height, 1, 1 << 13),
        ("buffer", mesh.buffer, 1, 1 << 30),
        ("router_cycles", mesh.router_cycles, 1, 1 << 20),
        ("link_cycles", mesh.link_cycles, 0, 1 << 20),
        # 0 would have a decision depend on another of the same cycle
        ("credit_cycles", mesh.credit_cycles, 1, 1 << 20),
    )
    for name, value, least, most in limits:
        if not least <= value <= most:
            raise InputError(
                "network", f"{name} is {value}; allowed: {least} to {most}", code="network-mesh", limit=name, found=value,
                allowed=[least, most],
            )  # fmt: skip
    for x, y in mesh.ports:
        if x or not 0 <= y < mesh.height:
            raise wrong("network-mesh", f"port ({x}, {y}) is not in column 0 of the {mesh.width} x {mesh.height} mesh")
    if len(set(mesh.ports)) < len(mesh.ports):
        raise wrong("network-mesh", "two ports are at the same router; it has one west side")
    routes = mesh.routes
    if routes is not None and (routes.shape != (mesh.routers, mesh.routers) or routes.dtype != np.uint8):
        raise wrong(
            "network-routes", f"routes are {routes.dtype} {routes.shape}; needed: uint8 {(mesh.routers, mesh.routers)}"
        )


def slots(mesh: Mesh, packets: int | None = None) -> int:
    """Return the slots per FIFO that a simulation needs: at most the number of packets.

    Raises
    ------
    InputError
        All FIFOs together take too much memory.
    """
    found = mesh.buffer if packets is None else max(1, min(mesh.buffer, packets))
    most = MOST_BYTES // (_FLIT_BYTES * mesh.routers)
    if found > most:
        raise InputError(
            "network",
            f"{mesh.routers:,} routers with buffers of {found:,} flits take too much memory; allowed: {most:,} flits. "
            "Use smaller buffers or a smaller mesh",
            code="network-size",
            limit="buffer",
            found=found,
            allowed=most,
        )
    return found


def workspaces(mesh: Mesh, packets: int) -> int:
    """Return how many workspaces for this number of packets fit in memory together."""
    return MOST_BYTES // (_FLIT_BYTES * mesh.routers * slots(mesh, packets))


def check_traffic(mesh: Mesh, traffic: Traffic) -> None:
    """Refuse packets with an invalid source, destination or cycle."""
    offset, packets = traffic.offset, len(traffic.ready)
    if len(offset) != mesh.terminals + 1 or offset[0] or offset[-1] != packets or (np.diff(offset) < 0).any():
        raise wrong(
            "option-value", f"the packets of {mesh.terminals} terminals need as many offsets and one, up to {packets}"
        )
    if len(traffic.target) != packets:
        raise wrong("option-value", f"{packets} packets have {len(traffic.target)} targets")
    trees = traffic.trees
    targets = mesh.terminals if trees is None else len(trees.root) - 1
    if packets and not 0 <= traffic.target.min() <= traffic.target.max() < targets:
        raise wrong("option-value", f"a target is not one of the {targets} {'terminals' if trees is None else 'trees'}")
    if trees is not None:
        at = np.repeat(mesh.router_of(np.arange(mesh.terminals)), np.diff(offset))
        if (trees.nodes[trees.root[traffic.target], layout.TO_ROUTER] != at).any():
            raise wrong("option-value", "a packet's tree begins at another router than its source's")
    if packets and not 0 <= traffic.ready.min() <= traffic.ready.max() < 1 << 56:
        raise wrong("option-value", "packets are ready from cycle 0 to 2^56")
    if packets >= 1 << 31:
        raise wrong("option-value", f"{packets:,} packets are more than 2^31")
