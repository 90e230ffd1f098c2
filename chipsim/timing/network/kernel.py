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
output of that side in ``outs``. ``ring`` holds a pair for each of the ``buffer`` slots of each FIFO: the cycle from which its
flit may be granted or, of an empty one, from which it may be filled; and the flit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from chipsim.timing.network.compiled import compiled

NEVER = np.int64(1) << np.int64(62)
#: cycles that the wheels hold; whoever is due later is looked at once a turn
TURN = 32
SOURCE_TURN = 1024
#: what a flit carries: output wanted here (3 bits), output at its last router (3), place of that (13 for x, 13 for y), packet
LAST, PLACE, PACKET = 3, 6, 32
Y, COORDINATE = 13, 0x1FFF
#: the line of a FIFO
FLIT, TAIL, FIRST, COUNT, PEAK, CYCLES, SLEEPER = range(7)
#: the line of an output: FIFO behind it, the side served last, flits, cycles blocked
BEHIND, SERVED, LOAD, BLOCKED = range(4)
DONE, DEADLOCK = 0, 1


@intrinsic  # type: ignore[untyped-decorator]
def _lowest(context: Any, bits: Any) -> Any:  # pragma: no cover
    """Number of the lowest bit that is set, of int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


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
        s = np.int64(wheel[t & (SOURCE_TURN - 1)])
        wheel[t & (SOURCE_TURN - 1)] = -1
        while s >= 0:
            after = np.int64(following[s])
            due = turn_of[s]
            if due <= t:
                p = cursor[s]
                f = fifo_of[s]
                line = 8 * f
                if fifos[line + TAIL] <= t:
                    n = fifos[line + COUNT]
                    here = f >> 3
                    goal = place_of[target[p]]
                    leaves = np.int64(4) if target[p] < routers else np.int64(1)
                    out = _output(routes, width, leaves, places[here], goal, here)
                    flit = (p << PACKET) | (goal << PLACE) | (leaves << LAST) | out
                    due = t + router_cycles
                    at = fifos[line + FIRST] + n
                    at -= buffer if at >= buffer else 0
                    ring[2 * (f * buffer + at)] = due
                    ring[2 * (f * buffer + at) + 1] = flit
                    at = 0 if at + 1 == buffer else at + 1
                    fifos[line + COUNT] = n + 1
                    fifos[line + TAIL] = NEVER if n + 1 == buffer else ring[2 * (f * buffer + at)]
                    if n == 0:
                        heads[f] = due
                        fifos[line + FLIT] = flit
                        slot = min(due, t + TURN - 1) & (TURN - 1)
                        due_routers[slot * words + (here >> 6)] |= one << (here & 63)
                    sent[p] = t
                    inside += 1
                    moved = t
                    p += 1
                    cursor[s] = p
                    due = max(ready[p], t + 1) if p < offset[s + 1] else NEVER
                elif fifos[line + TAIL] == NEVER:  # full: the router wakes it
                    fifos[line + SLEEPER] = s
                    asleep[s] = t
                    due = NEVER
                else:  # a slot is free, its credit on the way
                    due = fifos[line + TAIL]
                    stalls[s] += due - t
            turn_of[s] = due
            if due < NEVER:
                slot = due & (SOURCE_TURN - 1)
                following[s] = wheel[slot]
                wheel[slot] = s
            s = after

        # routers
        now = (t & (TURN - 1)) * words
        next_cycle = ((t + 1) & (TURN - 1)) * words
        for word in range(words if inside else 0):
            visits = due_routers[now + word]
            if visits == 0:
                continue
            due_routers[now + word] = 0
            again = np.int64(0)  # routers of this word with a flit that could have gone
            while visits:
                bit = _lowest(visits)
                visits &= visits - 1
                r = (np.int64(word) << 6) + bit
                base = r << 3
                wanted = np.int64(0)  # five bits an output: the inputs that ask
                for i in range(5):
                    wanted |= np.int64(heads[base + i] <= t) << (5 * (fifos[8 * (base + i) + FLIT] & 7) + i)
                while wanted:
                    out = (_lowest(wanted) * 13) >> 6  # a fifth
                    asking = (wanted >> (5 * out)) & 31
                    wanted ^= asking << (5 * out)
                    line = 4 * (base + out)
                    to = outs[line + BEHIND]
                    if to >= 0 and fifos[8 * to + TAIL] > t:
                        outs[line + BLOCKED] += 1
                        again |= one << bit
                        continue
                    i = np.int64(winner[32 * outs[line + SERVED] + asking])
                    contested = np.int64(asking != one << i)
                    outs[line + SERVED] = i
                    outs[line + LOAD] += 1
                    outs[line + BLOCKED] += contested
                    again |= contested << bit
                    # out of the input
                    f = base + i
                    line = 8 * f
                    flit = fifos[line + FLIT]
                    n = fifos[line + COUNT]
                    at = fifos[line + FIRST]
                    fifos[line + CYCLES] += t - heads[f] + router_cycles
                    while fifos[line + PEAK] < n:
                        ahead = at + fifos[line + PEAK]
                        ahead -= buffer if ahead >= buffer else 0
                        if ring[2 * (f * buffer + ahead)] - router_cycles >= t:  # it enters later
                            break
                        fifos[line + PEAK] += 1
                    free = t + credit_cycles
                    ring[2 * (f * buffer + at)] = free
                    fifos[line + TAIL] = free if n == buffer else fifos[line + TAIL]
                    s = fifos[line + SLEEPER]
                    if s >= 0:
                        fifos[line + SLEEPER] = -1
                        turn_of[s] = free
                        stalls[s] += free - asleep[s]
                        slot = free & (SOURCE_TURN - 1)
                        following[s] = wheel[slot]
                        wheel[slot] = s
                    at = 0 if at + 1 == buffer else at + 1
                    fifos[line + FIRST] = at
                    fifos[line + COUNT] = n - 1
                    due = ring[2 * (f * buffer + at)]
                    heads[f] = due if n > 1 else NEVER
                    fifos[line + FLIT] = ring[2 * (f * buffer + at) + 1]
                    slot = min(max(due, t + 1), t + TURN - 1) & (TURN - 1)
                    due_routers[slot * words + word] |= np.int64(n > 1) << bit
                    moved = t
                    if to < 0:
                        ejected[flit >> PACKET] = t + 2
                        remaining -= 1
                        inside -= 1
                        awaited -= np.int64((flit >> PACKET) < until)
                        continue
                    # into the next FIFO
                    there = to >> 3
                    line = 8 * to
                    goal = (flit >> PLACE) & ((1 << 2 * Y) - 1)
                    flit = (flit & ~7) | _output(routes, width, (flit >> LAST) & 7, places[there], goal, there)
                    due = t + link_cycles + router_cycles
                    n = fifos[line + COUNT]
                    at = fifos[line + FIRST] + n
                    at -= buffer if at >= buffer else 0
                    ring[2 * (to * buffer + at)] = due
                    ring[2 * (to * buffer + at) + 1] = flit
                    at = 0 if at + 1 == buffer else at + 1
                    fifos[line + COUNT] = n + 1
                    free = ring[2 * (to * buffer + at)]
                    fifos[line + TAIL] = NEVER if n + 1 == buffer else free
                    heads[to] = due if n == 0 else heads[to]
                    fifos[line + FLIT] = flit if n == 0 else fifos[line + FLIT]
                    slot = min(due, t + TURN - 1) & (TURN - 1)
                    due_routers[slot * words + (there >> 6)] |= np.int64(n == 0) << (there & 63)
                if far:  # heads that were looked at too early
                    for i in range(5):
                        due = heads[base + i]
                        if t < due < NEVER:
                            slot = min(due, t + TURN - 1) & (TURN - 1)
                            due_routers[slot * words + word] |= one << bit
            due_routers[next_cycle + word] |= again

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
