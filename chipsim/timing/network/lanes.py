"""Simulate the traffic of several images at once, each in a lane of the processor's vectors (`lanes_router`).

Times and counters are those of `simulate`. What a tick needs is when its last packet arrives, so no packet has a number
here: sixteen bits say where it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.timing.network import layout
from chipsim.timing.network.lanes_router import (
    BLOCKED,
    CYCLES,
    FLIT,
    INPUT,
    LANES,
    OF_HOST,
    OUT,
    OUTPUT,
    PEAK,
    SLOTS,
    TO_HOST,
    VECTORS,
    X,
)  # fmt: skip
from chipsim.timing.network.mesh import Int, Mesh, Traffic

#: cycles that a network may run: CYCLES, at most SLOTS a cycle, stays below 2^16
LATEST = 16_000
SIDE = 64  # of a mesh, whose x and y have six bits each


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """What `simulate` says of several networks: the counters of `Flow` but for the load, summed (the peak: the largest)."""

    end: Int  # (networks,): cycle of the last ejection; 0 without packets
    stalls: Int  # (terminals,)
    blocked: Int  # (R, 5)
    queue_peak: Int  # (R, 5)
    queue_cycles: Int  # (R, 5)


def fits(mesh: Mesh) -> bool:
    """Whether `Lanes` can simulate a mesh: x first, then y, four slots a FIFO, and delays of a few cycles."""
    delays = mesh.router_cycles + mesh.link_cycles, mesh.credit_cycles
    return mesh.routes is None and mesh.buffer == SLOTS and max(delays) < 15 and max(mesh.width, mesh.height) <= SIDE


class Lanes:
    """The kernel's memory for `LANES` networks of one mesh, for any number of runs that each start from empty networks."""

    def __init__(self, mesh: Mesh) -> None:
        assert fits(mesh)
        self.mesh = mesh
        routers, terminals = mesh.routers, mesh.terminals
        self._router, self._side, _ = layout.ends(mesh)
        y, x = np.divmod(self._router, mesh.width)
        leaves = np.where(np.arange(terminals) < routers, 0, TO_HOST)
        self._flit = (FLIT | leaves | x << X | y).astype(np.int16)  # to each terminal
        self._state = _aligned((routers + 1) * VECTORS * LANES, np.int16)  # one more, which stands for the mesh's border
        self._cursor, self._sources, self._soonest = (np.zeros(n * terminals, np.int64) for n in (LANES, 1, 1))
        self._due, self._stalls = (_aligned(LANES * terminals, np.int16) for _ in range(2))
        self._last, self._shift = (np.zeros(LANES, np.int64) for _ in range(2))
        self._idle, self._live = np.zeros(routers, np.int64), np.zeros(3 * routers, np.int64)
        self._active = np.zeros(2 * -(-routers // 64), np.int64)

    def run(self, traffics: Sequence[Traffic]) -> Met | None:
        """Simulate at most `LANES` networks; None: they would run for too long, use `simulate`."""
        if not self._run(traffics, -1):
            return None
        fifos = self._state.reshape(-1, VECTORS, LANES)[:-1].view(np.uint16)
        peak, cycles = (fifos[:, first : 5 * INPUT : INPUT] for first in (PEAK, CYCLES))
        blocked = fifos[:, BLOCKED:OUT:OUTPUT]
        stalls = self._stalls.reshape(-1, LANES).sum(axis=1, dtype=np.int64)
        return Met(
            self._last[: len(traffics)].copy(), stalls, blocked.sum(axis=2, dtype=np.int64),
            peak.max(axis=2).astype(np.int64), cycles.sum(axis=2, dtype=np.int64),
        )  # fmt: skip

    def shifts(self, traffics: Sequence[Traffic]) -> Int | None:
        """How much later than its number each later packet of the one port is granted its way out of the port's FIFO.

        The port sends without end, a packet a cycle; the cores' packets are not without end. Once they are out, and nothing
        waits any more but in the port's FIFO, nothing ever will (`Plan.one_tree`), and the port sends a packet a cycle. -1:
        it did not come to that while the packets that were given lasted. None as in `run`.
        """
        (port,) = self.mesh.router_of(np.arange(self.mesh.routers, self.mesh.terminals))
        return self._shift[: len(traffics)].copy() if self._run(traffics, int(port)) else None

    def _run(self, traffics: Sequence[Traffic], port: int) -> bool:
        from chipsim.timing.network.lanes_kernel import clear, run

        mesh, first = self.mesh, self.mesh.routers
        offset = np.zeros((LANES, mesh.terminals + 1), np.int64)
        cores, ready, flits, count = np.zeros(LANES, np.int64), [], [], 0
        for lane, traffic in enumerate(traffics):
            assert traffic.trees is None
            offset[lane] = traffic.offset + count
            count += len(traffic.ready)
            cores[lane] = traffic.offset[first]
            flit = self._flit[traffic.target]
            if port >= 0:
                flit[traffic.offset[first] :] |= OF_HOST
            ready.append(traffic.ready)
            flits.append(flit)
            if port < 0 and traffic.ready.max(initial=0) >= LATEST:
                return False
        offset[len(traffics) :] = count
        clear(self._state)
        done = run(
            self._state, mesh.width, mesh.height, mesh.link_cycles, mesh.router_cycles, mesh.credit_cycles, LATEST,
            self._router, self._side, port, offset, np.concatenate(ready).astype(np.int64), np.concatenate(flits),
            self._cursor, self._due, self._stalls, self._soonest, self._sources, cores, self._last, self._shift,
            self._idle, self._live, self._active,
        )  # fmt: skip
        return bool(done)


def _aligned(count: int, dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    """Zeros that begin at a line of the cache."""
    found = np.zeros(count + 64, dtype)
    skip = -found.ctypes.data % 64 // found.itemsize
    return found[skip : skip + count]
