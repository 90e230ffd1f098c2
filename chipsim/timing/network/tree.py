"""The rest of the host's packets, once they have the network of one port for themselves.

Along x first, then along y, the ways from one port are a tree: each router is entered by one side alone, so nothing is
arbitrated, and each FIFO is passed in the order of the packets. When a packet is granted its way out of a FIFO then depends
on packets before it only: the one before it in the FIFO, and the one whose slot it takes in the next. So packets are worked
off one after the other, not cycle by cycle, with any buffers.
"""

from __future__ import annotations

import numpy as np

from chipsim.compiled import compiled
from chipsim.timing.network.kernel import BEHIND, COORDINATE, COUNT, FIRST, PACKET, Y


@compiled
def finish(  # type: ignore[no-untyped-def]  # pragma: no cover
    begin, clock, ready, target, sent, ejected, buffer, router_cycles, link_cycles, credit_cycles,
    fifo_of, place_of, places, fifos, ring, outs,
):  # fmt: skip
    """Fill in the times of the packets from ``begin`` on that `run` left in the network or unsent at the start of ``clock``.

    Arrays are those of `run` and are good for nothing else afterwards but another run.
    """
    packets = len(ready)
    at = np.full(packets - begin, -1, np.int64)  # FIFO where a packet is, and the slot it has there
    slot_of = np.zeros(packets - begin, np.int64)
    tail = np.zeros(8 * len(places), np.int64)  # the slot that is filled next
    granted = np.full(8 * len(places), clock - 1, np.int64)
    for fifo in range(len(tail)):
        first = fifos[8 * fifo + FIRST]
        count = fifos[8 * fifo + COUNT]
        for i in range(count):
            held = (first + i) % buffer
            packet = (ring[2 * (fifo * buffer + held) + 1] >> PACKET) - begin
            at[packet] = fifo
            slot_of[packet] = held
        tail[fifo] = (first + count) % buffer
    source = fifo_of[len(fifo_of) - 1]
    free = np.int64(clock)
    for p in range(begin, packets):
        if ejected[p] >= 0:
            continue
        goal = place_of[target[p]]
        x = goal & COORDINATE
        y = goal >> Y
        f = at[p - begin]
        slot = slot_of[p - begin]
        if f < 0:  # not yet sent
            f = source
            slot = tail[f]
            t = max(free, ready[p], ring[2 * (f * buffer + slot)])
            sent[p] = t
            free = t + 1
            ring[2 * (f * buffer + slot)] = t + router_cycles
            tail[f] = 0 if slot + 1 == buffer else slot + 1
        while True:
            here = f >> 3
            place = places[here]
            t = max(ring[2 * (f * buffer + slot)], granted[f] + 1)
            if place == goal:
                granted[f] = t
                ring[2 * (f * buffer + slot)] = t + credit_cycles
                ejected[p] = t + 2
                break
            here_x = place & COORDINATE
            along_y = 2 + np.int64(y > place >> Y)
            along_x = np.int64(x < here_x)
            to = outs[4 * (8 * here + (along_y if x == here_x else along_x)) + BEHIND]
            ahead = tail[to]
            t = max(t, ring[2 * (to * buffer + ahead)])
            granted[f] = t
            ring[2 * (f * buffer + slot)] = t + credit_cycles
            ring[2 * (to * buffer + ahead)] = t + link_cycles + router_cycles
            tail[to] = 0 if ahead + 1 == buffer else ahead + 1
            f = to
            slot = ahead
