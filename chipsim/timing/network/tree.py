"""Time the host's packets one by one, where they enter by one port and meet no others.

Along x first, then along y, the ways from one port are a tree: each router is entered by one side alone, so nothing is
arbitrated, and each FIFO is passed in the order of the packets. When a packet is granted its way out of a FIFO then depends
on packets before it only: the one before it in the FIFO, and the one whose slot it takes in the next. So packets are worked
off one after the other, not cycle by cycle, with any buffers.

The port sends as fast as its FIFO is served, so a FIFO that was filled once may stay so. But where buffers are as deep as a
credit's round trip, nobody waits behind that first FIFO any more once those that did are out (`Plan.one_tree`, whose packets
leave it a cycle apart at least): from there on it alone is followed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chipsim.chip.routes import EAST, NORTH, SOUTH, WEST
from chipsim.compiled import compiled
from chipsim.timing.network.layout import COORDINATE, COUNT, FIRST, HEADER, NEVER, PACKET, PLACE, RECORD, TAIL, Y
from chipsim.timing.network.mesh import Flow, Int, Mesh


def held(flow: Flow) -> Flow:
    """Return the ideal flow of one port's packets, sent a cycle apart and never held up, with what its FIFOs hold."""
    cycles, peak = queues(flow.mesh, flow.load, len(flow.sent))
    return replace(flow, queue_cycles=cycles, queue_peak=peak)


def queues(mesh: Mesh, load: Int, packets: int) -> tuple[Int, Int]:
    """Return ``queue_cycles`` and ``queue_peak`` of one port's packets, sent a cycle apart and never held up.

    Each flit is held by each FIFO of its way for the router's cycles. All enter by the port's FIFO, and no other is fuller:
    its peak is the largest; those of the others are not looked for and stay 0.
    """
    sent = load.reshape(mesh.height, mesh.width, 5)
    entered = np.zeros_like(sent)
    entered[:, 1:, WEST] = sent[:, :-1, EAST]
    entered[:, :-1, EAST] = sent[:, 1:, WEST]
    entered[1:, :, NORTH] = sent[:-1, :, SOUTH]
    entered[:-1, :, SOUTH] = sent[1:, :, NORTH]
    ((x, y),) = mesh.ports
    entered[y, x, WEST] = packets
    peak = np.zeros((mesh.routers, 5), np.int64)
    peak[y * mesh.width + x, WEST] = min(mesh.router_cycles, packets)
    return mesh.router_cycles * entered.reshape(-1, 5), peak


@compiled
def finish(  # type: ignore[no-untyped-def]  # pragma: no cover
    begin, clock, ready, target, sent, ejected, buffer, router_cycles, link_cycles, credit_cycles,
    router_of, side_of, place_of, lane, beyond, state,
):  # fmt: skip
    """Fill in the times of the packets from ``begin`` on that `run` left in the network or unsent at the start of ``clock``.

    Arrays are those of `run` and are good for nothing else afterwards but another run.
    """
    packets = len(ready)
    size = HEADER + 5 * lane
    at = np.full(packets - begin, -1, np.int64)  # router where a packet is, its FIFO, and the slot it has there
    fifo_of = np.zeros(packets - begin, np.int64)
    slot_of = np.zeros(packets - begin, np.int64)
    for r in range(len(state) // size):
        for side in range(5):
            fifo = r * size + HEADER + side * lane
            first, count = state[fifo + FIRST], state[fifo + COUNT]
            for i in range(count):
                held = (first + i) % buffer
                packet = (state[fifo + RECORD + 2 * held + 1] >> PACKET) - begin
                at[packet] = r
                fifo_of[packet] = fifo
                slot_of[packet] = held
            state[fifo + FIRST] = (first + count) % buffer  # now the slot that is filled next
            state[fifo + TAIL] = clock - 1  # now the cycle of the last grant
    terminal = len(router_of) - 1
    entry = router_of[terminal] * size + HEADER + side_of[terminal] * lane
    each = router_cycles + link_cycles
    enough = buffer >= each + credit_cycles
    free = np.int64(clock)
    busy = np.int64(clock + credit_cycles)  # until then a packet that waited, or a slot of the cores', may be in the way
    p = begin
    while p < packets:
        if ejected[p] >= 0:
            p += 1
            continue
        waited = at[p - begin] >= 0
        if enough and not waited and state[entry + TAIL] >= busy:
            break
        goal = place_of[target[p]]
        x = goal & COORDINATE
        y = goal >> Y
        r = at[p - begin]
        fifo, held = fifo_of[p - begin], slot_of[p - begin]
        if r < 0:  # not yet sent
            r, fifo = router_of[terminal], entry
            held = state[fifo + FIRST]
            t = max(free, ready[p], state[fifo + RECORD + 2 * held])
            sent[p] = t
            free = t + 1
            state[fifo + RECORD + 2 * held] = t + router_cycles
            state[fifo + FIRST] = 0 if held + 1 == buffer else held + 1
        soonest = NEVER  # grant in this router if it need not wait there; the port's own FIFO does not count
        while True:
            place = state[r * size + PLACE]
            t = max(state[fifo + RECORD + 2 * held], state[fifo + TAIL] + 1)
            if place == goal:
                state[fifo + TAIL] = t
                state[fifo + RECORD + 2 * held] = t + credit_cycles
                ejected[p] = t + 2
                if waited or t > soonest:
                    busy = max(busy, t + credit_cycles)
                p += 1
                break
            here_x = place & COORDINATE
            along_y = 2 + np.int64(y > place >> Y)
            along_x = np.int64(x < here_x)
            out = along_y if x == here_x else along_x
            to = r * size + beyond[4 * out]
            ahead = state[to + FIRST]
            t = max(t, state[to + RECORD + 2 * ahead])
            waited |= t > soonest
            soonest = t + each
            state[fifo + TAIL] = t
            state[fifo + RECORD + 2 * held] = t + credit_cycles
            state[to + RECORD + 2 * ahead] = t + link_cycles + router_cycles
            state[to + FIRST] = 0 if ahead + 1 == buffer else ahead + 1
            r += beyond[4 * out + 1]
            fifo, held = to, ahead
    here = state[router_of[terminal] * size + PLACE]
    for late in range(p, packets):  # it waits in the port's FIFO alone
        goal = place_of[target[late]]
        hops = abs((goal & COORDINATE) - (here & COORDINATE)) + abs((goal >> Y) - (here >> Y))
        held = state[entry + FIRST]
        free = max(free, ready[late], state[entry + RECORD + 2 * held])
        sent[late] = free
        t = max(free + router_cycles, state[entry + TAIL] + 1)
        ejected[late] = t + each * hops + 2
        state[entry + TAIL] = t
        state[entry + RECORD + 2 * held] = t + credit_cycles
        state[entry + FIRST] = 0 if held + 1 == buffer else held + 1
        free += 1
