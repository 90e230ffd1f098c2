"""The cycles of the network, in machine code: what `simulate` runs.

Nothing here waits for its turn within a cycle: what a grant of cycle t changes carries the cycle from which it counts,
and that is later than t. A flit pushed into a FIFO bears the cycle from which it may be granted; a slot that was freed bears
the cycle from which the upstream router may use it. So routers are worked off in any order, and a flit under way needs no
place of its own: its slot is reserved anyway.

Work is only done where there is any. Each head of a FIFO has its router looked at in the cycle from which it may go, and in
the next as long as it may not (a wheel of bit sets of routers, one a cycle); each source is entered in another wheel, or
sleeps until its FIFO has room. While the network is empty, time jumps.

Most of the time goes into branches that nobody can predict and memory that is far: so there are few of both. A FIFO
f = 8 * router + side has one line of 64 bytes in ``fifos`` and, but for the cycle of its head, nothing elsewhere; so has the
output of that side in ``outs``. ``ring`` holds a pair for each of the ``buffer`` slots of each FIFO: the cycle from which
its flit may be granted or, of an empty one, from which it may be filled; and the flit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from chipsim.compiled import compiled

NEVER = np.int64(1) << np.int64(62)
#: cycles that the wheels hold; whoever is due later is looked at once a turn
TURN = 32
SOURCE_TURN = 1024
#: what a flit carries: output wanted here (3 bits), output at its last router (3), place of that (x 13, y 13), packet
LAST, PLACE, PACKET = 3, 6, 32
Y, COORDINATE = 13, 0x1FFF
#: the line of a FIFO
FLIT, TAIL, FIRST, COUNT, PEAK, CYCLES, SLEEPER = range(7)
#: the line of an output: FIFO behind it, the side served last, flits, cycles blocked
BEHIND, SERVED, LOAD, BLOCKED = range(4)
DONE, DEADLOCK = 0, 1
#: indices are unsigned: that spares numba the test for one that counts from the end, and a tenth of the time
u = np.uint64


def _lowest_bit(context: Any, bits: Any) -> Any:  # pragma: no cover
    """Number of the lowest bit that is set, of int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


_lowest: Callable[..., Any] = intrinsic(_lowest_bit)


@compiled
def _output(routes, width, last, place, goal, here):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Side by which a flit leaves a router: of the table if there is one, else along x first."""
    x = goal & COORDINATE
    y = goal >> Y
    if routes.shape[0]:
        return last if place == goal else np.int64(routes[here, y * width + x])
    here_x = place & COORDINATE
    here_y = place >> Y
    along_y = np.int64(2) + np.int64(y > here_y)
    along_x = np.int64(x < here_x)
    out = last if y == here_y else along_y
    return out if x == here_x else along_x


@compiled
def run(  # type: ignore[no-untyped-def]  # pragma: no cover
    offset, ready, target, sent, ejected,
    width, buffer, router_cycles, link_cycles, credit_cycles, routes,
    fifo_of, place_of, places, winner,
    heads, fifos, ring, outs, due_routers, wheel, following, cursor, turn_of, asleep, stalls, until,
):  # fmt: skip
    """Send all packets and wait for the last; arrays as `Workspace` holds them. Return DONE or DEADLOCK.

    With ``until`` it stops after the cycle in which the last of so many packets, the first in their order, was granted its
    way out: `finish` may go on.
    """
    routers = places.shape[0]
    terminals = fifo_of.shape[0]
    words = due_routers.shape[0] // TURN
    far = router_cycles + link_cycles >= TURN or credit_cycles >= TURN
    ring[:] = -1
    heads[:] = NEVER
    fifos[:] = 0
    for f in range(8 * routers):
        fifos[8 * f + TAIL] = -1
        fifos[8 * f + SLEEPER] = -1
        outs[4 * f + SERVED] = 4  # as if the last side had been served: the first is next
        outs[4 * f + LOAD] = 0
        outs[4 * f + BLOCKED] = 0
    due_routers[:] = 0
    wheel[:] = -1
    stalls[:] = 0
    patience = router_cycles + link_cycles + credit_cycles + 2

    remaining = offset[terminals] - offset[0]
    for s in range(terminals):
        cursor[s] = offset[s]
        turn_of[s] = NEVER
        if offset[s] < offset[s + 1]:
            turn_of[s] = ready[offset[s]]
            slot = turn_of[s] & (SOURCE_TURN - 1)
            following[s] = wheel[slot]
            wheel[slot] = s

    t = np.int64(0)
    moved = np.int64(0)  # the last cycle in which anything went anywhere
    inside = np.int64(0)  # flits between source and ejection
    one = np.int64(1)
    awaited = np.int64(until)
    while remaining and (until == 0 or awaited):
        # sources
        s = wheel[u(t & (SOURCE_TURN - 1))]
        wheel[u(t & (SOURCE_TURN - 1))] = -1
        while s >= 0:
            after = following[u(s)]
            due = turn_of[u(s)]
            if due <= t:
                p = cursor[u(s)]
                f = fifo_of[u(s)]
                line = 8 * f
                if fifos[u(line + TAIL)] <= t:
                    n = fifos[u(line + COUNT)]
                    here = f >> 3
                    goal = place_of[u(target[u(p)])]
                    leaves = np.int64(4) if target[u(p)] < routers else np.int64(1)
                    out = _output(routes, width, leaves, places[u(here)], goal, here)
                    flit = (p << PACKET) | (goal << PLACE) | (leaves << LAST) | out
                    due = t + router_cycles
                    at = fifos[u(line + FIRST)] + n
                    at -= buffer if at >= buffer else 0
                    ring[u(2 * (f * buffer + at))] = due
                    ring[u(2 * (f * buffer + at) + 1)] = flit
                    at = 0 if at + 1 == buffer else at + 1
                    fifos[u(line + COUNT)] = n + 1
                    fifos[u(line + TAIL)] = NEVER if n + 1 == buffer else ring[u(2 * (f * buffer + at))]
                    if n == 0:
                        heads[u(f)] = due
                        fifos[u(line + FLIT)] = flit
                        slot = min(due, t + TURN - 1) & (TURN - 1)
                        due_routers[u(slot * words + (here >> 6))] |= one << (here & 63)
                    sent[u(p)] = t
                    inside += 1
                    moved = t
                    p += 1
                    cursor[u(s)] = p
                    due = max(ready[u(p)], t + 1) if p < offset[u(s + 1)] else NEVER
                elif fifos[u(line + TAIL)] == NEVER:  # full: the router wakes it
                    fifos[u(line + SLEEPER)] = s
                    asleep[u(s)] = t
                    due = NEVER
                else:  # a slot is free, its credit on the way
                    due = fifos[u(line + TAIL)]
                    stalls[u(s)] += due - t
            turn_of[u(s)] = due
            if due < NEVER:
                slot = due & (SOURCE_TURN - 1)
                following[u(s)] = wheel[u(slot)]
                wheel[u(slot)] = s
            s = after

        # routers
        now = (t & (TURN - 1)) * words
        next_cycle = ((t + 1) & (TURN - 1)) * words
        for word in range(words if inside else 0):
            visits = due_routers[u(now + word)]
            if visits == 0:
                continue
            due_routers[u(now + word)] = 0
            again = np.int64(0)  # routers of this word with a flit that could have gone
            while visits:
                bit = _lowest(visits)
                visits &= visits - 1
                r = (np.int64(word) << 6) + bit
                base = r << 3
                wanted = np.int64(0)  # five bits an output: the inputs that ask
                for i in range(5):
                    wanted |= np.int64(heads[u(base + i)] <= t) << (5 * (fifos[u(8 * (base + i) + FLIT)] & 7) + i)
                while wanted:
                    out = (_lowest(wanted) * 13) >> 6  # a fifth
                    asking = (wanted >> (5 * out)) & 31
                    wanted ^= asking << (5 * out)
                    line = 4 * (base + out)
                    to = outs[u(line + BEHIND)]
                    if to >= 0 and fifos[u(8 * to + TAIL)] > t:
                        outs[u(line + BLOCKED)] += 1
                        again |= one << bit
                        continue
                    i = winner[u(32 * outs[u(line + SERVED)] + asking)]
                    contested = np.int64(asking != one << i)
                    outs[u(line + SERVED)] = i
                    outs[u(line + LOAD)] += 1
                    outs[u(line + BLOCKED)] += contested
                    again |= contested << bit
                    # out of the input
                    f = base + i
                    line = 8 * f
                    flit = fifos[u(line + FLIT)]
                    n = fifos[u(line + COUNT)]
                    at = fifos[u(line + FIRST)]
                    fifos[u(line + CYCLES)] += t - heads[u(f)] + router_cycles
                    while fifos[u(line + PEAK)] < n:
                        ahead = at + fifos[u(line + PEAK)]
                        ahead -= buffer if ahead >= buffer else 0
                        if ring[u(2 * (f * buffer + ahead))] - router_cycles >= t:  # it enters later
                            break
                        fifos[u(line + PEAK)] += 1
                    free = t + credit_cycles
                    ring[u(2 * (f * buffer + at))] = free
                    fifos[u(line + TAIL)] = free if n == buffer else fifos[u(line + TAIL)]
                    s = fifos[u(line + SLEEPER)]
                    if s >= 0:
                        fifos[u(line + SLEEPER)] = -1
                        turn_of[u(s)] = free
                        stalls[u(s)] += free - asleep[u(s)]
                        slot = free & (SOURCE_TURN - 1)
                        following[u(s)] = wheel[u(slot)]
                        wheel[u(slot)] = s
                    at = 0 if at + 1 == buffer else at + 1
                    fifos[u(line + FIRST)] = at
                    fifos[u(line + COUNT)] = n - 1
                    due = ring[u(2 * (f * buffer + at))]
                    heads[u(f)] = due if n > 1 else NEVER
                    fifos[u(line + FLIT)] = ring[u(2 * (f * buffer + at) + 1)]
                    slot = min(max(due, t + 1), t + TURN - 1) & (TURN - 1)
                    due_routers[u(slot * words + word)] |= np.int64(n > 1) << bit
                    moved = t
                    if to < 0:
                        ejected[u(flit >> PACKET)] = t + 2
                        remaining -= 1
                        inside -= 1
                        awaited -= np.int64((flit >> PACKET) < until)
                        continue
                    # into the next FIFO
                    there = to >> 3
                    line = 8 * to
                    goal = (flit >> PLACE) & ((1 << 2 * Y) - 1)
                    flit = (flit & ~7) | _output(routes, width, (flit >> LAST) & 7, places[u(there)], goal, there)
                    due = t + link_cycles + router_cycles
                    n = fifos[u(line + COUNT)]
                    at = fifos[u(line + FIRST)] + n
                    at -= buffer if at >= buffer else 0
                    ring[u(2 * (to * buffer + at))] = due
                    ring[u(2 * (to * buffer + at) + 1)] = flit
                    at = 0 if at + 1 == buffer else at + 1
                    fifos[u(line + COUNT)] = n + 1
                    free = ring[u(2 * (to * buffer + at))]
                    fifos[u(line + TAIL)] = NEVER if n + 1 == buffer else free
                    heads[u(to)] = due if n == 0 else heads[u(to)]
                    fifos[u(line + FLIT)] = flit if n == 0 else fifos[u(line + FLIT)]
                    slot = min(due, t + TURN - 1) & (TURN - 1)
                    due_routers[u(slot * words + (there >> 6))] |= np.int64(n == 0) << (there & 63)
                if far:  # heads that were looked at too early
                    for i in range(5):
                        due = heads[u(base + i)]
                        if t < due < NEVER:
                            slot = min(due, t + TURN - 1) & (TURN - 1)
                            due_routers[u(slot * words + word)] |= one << bit
            due_routers[u(next_cycle + word)] |= again

        t += 1
        if inside:
            if t - moved > patience:
                return DEADLOCK
        elif remaining:  # nothing is under way: on to the next source
            tried = 0
            while tried < SOURCE_TURN and wheel[t & (SOURCE_TURN - 1)] < 0:
                t += 1
                tried += 1
            if t - moved > SOURCE_TURN:
                t = NEVER
                for s in range(terminals):
                    t = min(t, turn_of[s])
    return DONE


@compiled
def walk(  # type: ignore[no-untyped-def]  # pragma: no cover
    offset, ready, target, sent, hops, width, routes, fifo_of, place_of, places, outs, load
):  # fmt: skip
    """Send each packet as soon as its source can, and follow it: its hops, and the load of each output.

    Return -1, or the packet that leaves the mesh or never arrives.
    """
    routers = places.shape[0]
    load[:] = 0
    for s in range(fifo_of.shape[0]):
        t = np.int64(-1)
        for p in range(offset[s], offset[s + 1]):
            t = max(t + 1, ready[p])
            sent[p] = t
            goal = place_of[target[p]]
            leaves = np.int64(4) if target[p] < routers else np.int64(1)
            here = fifo_of[s] >> 3
            for hop in range(routers + 1):
                out = _output(routes, width, leaves, places[here], goal, here)
                if out > 4:
                    return p
                load[8 * here + out] += 1
                if places[here] == goal:
                    hops[p] = hop
                    break
                to = outs[4 * (8 * here + out) + BEHIND]
                if to < 0 or hop == routers:
                    return p
                here = to >> 3
    return -1
