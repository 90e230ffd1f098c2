"""The rest of the host's packets, once they have the network of one port for themselves.

Along x first, then along y, the ways from one port are a tree: each router is entered by one side alone, so nothing is
arbitrated, and each FIFO is passed in the order of the packets. When a packet is granted its way out of a FIFO then depends
on packets before it only: the one before it in the FIFO, and the one whose slot it takes in the next. So packets are worked
off one after the other, not cycle by cycle, with any buffers.
"""

from __future__ import annotations

import numpy as np

from chipsim.timing.network.compiled import compiled
from chipsim.timing.network.kernel import PACKET


@compiled
def finish(  # type: ignore[no-untyped-def]  # pragma: no cover
    begin, clock, ready, target, sent, ejected,
    width, buffer, router_cycles, link_cycles, credit_cycles,
    fifo_of, router_of, downstream, place_x, place_y,
    when, flits, first, count,
):  # fmt: skip
    """Fill in the times of the packets from ``begin`` on that `run` left in the network or unsent at the start of ``clock``.

    Arrays are those of `run` and are not good for anything else afterwards.
    """
    packets = len(ready)
    fifos = len(first)
    at = np.full(packets - begin, -1, np.int64)  # FIFO where a packet is, and the slot it has there
    slot_of = np.zeros(packets - begin, np.int64)
    tail = np.zeros(fifos, np.int64)  # the slot that is filled next
    granted = np.full(fifos, clock - 1, np.int64)
    for fifo in range(fifos):
        for i in range(count[fifo]):
            held = (first[fifo] + i) % buffer
            packet = flits[fifo * buffer + held] >> PACKET
            at[packet - begin] = fifo
            slot_of[packet - begin] = held
        tail[fifo] = (first[fifo] + count[fifo]) % buffer
    source = np.int64(fifo_of[len(fifo_of) - 1])
    free = clock
    for p in range(begin, packets):
        if ejected[p] >= 0:
            continue
        goal = router_of[target[p]]
        x = place_x[goal]
        y = place_y[goal]
        f = np.int64(at[p - begin])
        slot = slot_of[p - begin]
        if f < 0:  # not yet sent
            f = source
            slot = tail[f]
            t = max(free, ready[p], when[f * buffer + slot])
            sent[p] = t
            free = t + 1
            when[f * buffer + slot] = t + router_cycles
            tail[f] = 0 if slot + 1 == buffer else slot + 1
        while True:
            here = f >> 3
            t = max(when[f * buffer + slot], granted[f] + 1)
            if here == goal:
                granted[f] = t
                when[f * buffer + slot] = t + credit_cycles
                ejected[p] = t + 2
                break
            if x > place_x[here]:
                out = 0
            elif x < place_x[here]:
                out = 1
            else:
                out = 2 if y < place_y[here] else 3
            to = downstream[8 * here + out]
            ahead = tail[to]
            t = max(t, when[to * buffer + ahead])
            granted[f] = t
            when[f * buffer + slot] = t + credit_cycles
            when[to * buffer + ahead] = t + link_cycles + router_cycles
            tail[to] = 0 if ahead + 1 == buffer else ahead + 1
            f = np.int64(to)
            slot = ahead
