"""The memory layout of a router's state, for the machine code.

Memory that is far takes most of the time on a large mesh, so all that a router has lies together in one array, ``state``:
its header, then the records of its five FIFOs. A hop takes the header here, the record of the FIFO that the flit leaves, the
header of the next router and the record of the FIFO that it enters: six lines of 64 bytes with four flits a FIFO.

Header, 8 words: for each input the cycle from which its head may be granted; `WANTS`, five bits an output, the inputs
whose heads want it; `SERVED`, three bits an output, the side served last; `PLACE`, y * 2^13 + x.

Record of a FIFO, 8 words and a pair for each of its slots, filled up to whole lines: `TAIL` and so on. A pair is the
cycle from which its flit may be granted or, of an empty slot, from which it may be filled; and the flit.
"""

from __future__ import annotations

import numpy as np

from chipsim.chip.routes import EAST, LOCAL, NORTH, SOUTH, STEPS, WEST
from chipsim.timing.network.mesh import Int, Mesh

NEVER = np.int64(1) << np.int64(62)
#: header of a router, behind the cycles of its five heads
WANTS, SERVED, PLACE, HEADER = 5, 6, 7, 8
#: record of a FIFO: cycle from which its next slot may be filled; its first flit's slot; flits; most of them ever; cycles in
#: which they were in it; source that sleeps until there is room; flits through the link into it or, where no link leads
#: into it, out of the network by its side; cycles in which a flit was held up in front of the output of its side
TAIL, FIRST, COUNT, PEAK, CYCLES, SLEEPER, LOAD, BLOCKED, RECORD = range(9)
#: what a flit carries: output wanted here (3 bits), output at its last router (3), place of that (x 13, y 13), packet
LAST, PLACED, PACKET = 3, 6, 32
Y, COORDINATE = 13, 0x1FFF
#: with trees: the bits of a flit that are its node; the words of a node, behind the outputs by which a branch leaves: nodes
#: behind the four sides, destinations that are the core and the host, router
NODE = 0xFFFFFFFF
TO_SIDE, TO_CORE, TO_HOST, TO_ROUTER, NODE_WORDS = 1, 5, 6, 7, 8
#: cycles that the wheels of routers and of sources hold; whoever is due later is looked at once a turn
TURN, SOURCE_TURN = 32, 1024
#: `SERVED` at the start: as if the last side had been served everywhere, so that the first is next
FRESH = 0o44444


def words(buffer: int) -> int:
    """Return the words of a FIFO's record."""
    return -(-(RECORD + 2 * buffer) // 8) * 8


def router_words(buffer: int) -> int:
    """Return the words of a router's state."""
    return HEADER + 5 * words(buffer)


def ends(mesh: Mesh) -> tuple[Int, Int, Int]:
    """Return the router of each terminal, the side by which it sends, and the router's position."""
    router = mesh.router_of(np.arange(mesh.terminals))
    y, x = np.divmod(router, mesh.width)
    side = np.where(np.arange(mesh.terminals) < mesh.routers, LOCAL, WEST)
    return router, side, (y << Y) + x


def beyond(mesh: Mesh, buffer: int) -> Int:
    """To the FIFO behind each output, as if the mesh did not end: words to its record, routers, places; its side."""
    found = np.zeros((5, 4), np.int64)
    for side, ((x, y), opposite) in enumerate(zip(STEPS, (WEST, EAST, SOUTH, NORTH), strict=True)):
        routers = y * mesh.width + x
        record = routers * router_words(buffer) + HEADER + opposite * words(buffer)
        found[side] = record, routers, (y << Y) + x, opposite
    return found.ravel()


def aligned(count: int) -> Int:
    """Zeros that begin at a line of the cache."""
    found = np.zeros(count + 7, np.int64)
    skip = -found.ctypes.data % 64 // 8
    return found[skip : skip + count]


def _winners() -> Int:
    """Side that is served, by the side served last and the set of those that ask."""
    found = np.zeros((5, 32), np.int64)
    for last in range(5):
        for asking in range(1, 32):
            found[last, asking] = next(side % 5 for side in range(last + 1, last + 6) if asking >> side % 5 & 1)
    return found.ravel()


WINNERS = _winners()
