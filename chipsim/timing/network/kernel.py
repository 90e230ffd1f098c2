"""The cycles of the network, in machine code: what `simulate` runs.

Nothing here waits for its turn within a cycle: what a grant of cycle t changes carries the cycle from which it counts,
and that is later than t. A flit pushed into a FIFO bears the cycle from which it may be granted; a slot that was freed bears
the cycle from which the upstream router may use it. So routers are worked off in any order, and a flit under way needs no
place of its own: its slot is reserved anyway.

Work is only done where there is any. The head of each FIFO is entered in a wheel of lists of routers, a list a cycle; each
source is entered in another, or sleeps until its FIFO has room. Where no router is entered, time jumps.

FIFO f = 8 * router + side; rings of `buffer` slots. ``when`` of a slot is the cycle from which its flit may be granted or,
of an empty one, from which it may be filled.
"""

from __future__ import annotations

import numpy as np

from chipsim.timing.network.compiled import compiled

NEVER = np.int64(1) << np.int64(62)
#: cycles that the wheels hold; whoever is due later is looked at once a turn
TURN = 32
SOURCE_TURN = 1024
#: what a flit carries: output wanted here (3 bits), output at its last router (3), x and y of that (13 each), packet (31)
LAST, X, Y, PACKET = 3, 6, 19, 32
COORDINATE = 0x1FFF
DONE, DEADLOCK = 0, 1


@compiled
def _output(routes, width, last, x, y, here, here_x, here_y):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Side by which a flit leaves a router: of the table if there is one, else along x first."""
    if here_x == x and here_y == y:
        return last
    if routes.shape[0]:
        return np.int64(routes[here, y * width + x])
    if x > here_x:
        return 0
    if x < here_x:
        return 1
    return 2 if y < here_y else 3


@compiled
def run(  # type: ignore[no-untyped-def]  # pragma: no cover
    offset, ready, target, sent, ejected,
    width, buffer, router_cycles, link_cycles, credit_cycles, routes,
    fifo_of, router_of, downstream, place_x, place_y, winner,
    when, flits, head_when, head_flit, tail_free, first, count, last,
    entered, lists, listed, wheel, following, cursor, turn_of, sleeper, asleep,
    load, blocked, queue_peak, queue_cycles, stalls,
):  # fmt: skip
    """Send all packets and wait for the last; arrays as `Workspace` holds them. Return DONE or DEADLOCK."""
    routers = place_x.shape[0]
    terminals = fifo_of.shape[0]
    when[:] = -1
    head_when[:] = NEVER
    tail_free[:] = -1
    first[:] = 0
    count[:] = 0
    last[:] = 4  # the last side won, so that the first is next
    sleeper[:] = -1
    entered[:] = 0
    listed[:] = 0
    wheel[:] = -1
    load[:] = 0
    blocked[:] = 0
    queue_peak[:] = 0
    queue_cycles[:] = 0
    stalls[:] = 0
    patience = router_cycles + link_cycles + credit_cycles + 2

    remaining = 0
    for s in range(terminals):
        cursor[s] = offset[s]
        turn_of[s] = NEVER
        if offset[s] < offset[s + 1]:
            remaining += offset[s + 1] - offset[s]
            turn_of[s] = ready[offset[s]]
            slot = turn_of[s] & (SOURCE_TURN - 1)
            following[s] = wheel[slot]
            wheel[slot] = s

    t = np.int64(0)
    moved = np.int64(0)  # the last cycle in which anything went anywhere
    pending = 0  # entries in the lists of routers
    while remaining:
        # sources
        s = wheel[t & (SOURCE_TURN - 1)]
        wheel[t & (SOURCE_TURN - 1)] = -1
        while s >= 0:
            after = following[s]
            p = cursor[s]
            due = turn_of[s]
            if due <= t:
                f = fifo_of[s]
                n = count[f]
                if tail_free[f] <= t:
                    here = f >> 3
                    goal = router_of[target[p]]
                    x = place_x[goal]
                    y = place_y[goal]
                    leaves = 4 if target[p] < routers else 1
                    out = _output(routes, width, leaves, x, y, here, place_x[here], place_y[here])
                    flit = (p << PACKET) | (y << Y) | (x << X) | (leaves << LAST) | out
                    due = t + router_cycles
                    at = first[f] + n
                    if at >= buffer:
                        at -= buffer
                    when[f * buffer + at] = due
                    flits[f * buffer + at] = flit
                    count[f] = n + 1
                    at += 1
                    if at == buffer:
                        at = 0
                    tail_free[f] = NEVER if n + 1 == buffer else when[f * buffer + at]
                    if n == 0:
                        head_when[f] = due
                        head_flit[f] = flit
                        slot = min(due, t + TURN - 1) & (TURN - 1)
                        if not (entered[here] >> slot) & 1:
                            entered[here] |= 1 << slot
                            lists[slot, listed[slot]] = here
                            listed[slot] += 1
                            pending += 1
                    sent[p] = t
                    moved = t
                    p += 1
                    cursor[s] = p
                    due = max(ready[p], t + 1) if p < offset[s + 1] else NEVER
                elif tail_free[f] == NEVER:  # full: the router wakes it
                    sleeper[f] = s
                    asleep[s] = t
                    due = NEVER
                else:  # a slot is free, its credit on the way
                    due = tail_free[f]
                    stalls[s] += due - t
            turn_of[s] = due
            if due < NEVER:
                slot = due & (SOURCE_TURN - 1)
                following[s] = wheel[slot]
                wheel[slot] = s
            s = after

        # routers
        now = t & (TURN - 1)
        visits = listed[now]
        listed[now] = 0
        pending -= visits
        for visit in range(visits):
            r = np.int64(lists[now, visit])
            entered[r] &= ~(1 << now)
            base = r << 3
            wanted = 0
            for i in range(5):
                if head_when[base + i] <= t:
                    wanted |= 1 << (5 * (head_flit[base + i] & 7) + i)
            out = -1
            while wanted:
                out += 1
                asking = wanted & 31
                wanted >>= 5
                if asking == 0:
                    continue
                f = base + out
                to = np.int64(downstream[f])
                if to >= 0 and tail_free[to] > t:
                    blocked[f] += 1
                    continue
                i = winner[last[f], asking]
                last[f] = i
                if asking != 1 << i:
                    blocked[f] += 1
                load[f] += 1
                # out of the input
                f = base + i
                flit = head_flit[f]
                n = count[f]
                at = np.int64(first[f])
                queue_cycles[f] += t - head_when[f] + router_cycles
                while queue_peak[f] < n:
                    ahead = at + queue_peak[f]
                    if ahead >= buffer:
                        ahead -= buffer
                    if when[f * buffer + ahead] - router_cycles >= t:  # it enters later
                        break
                    queue_peak[f] += 1
                when[f * buffer + at] = t + credit_cycles
                if n == buffer:
                    tail_free[f] = t + credit_cycles
                    s = sleeper[f]
                    if s >= 0:
                        sleeper[f] = -1
                        turn_of[s] = t + credit_cycles
                        stalls[s] += t + credit_cycles - asleep[s]
                        slot = turn_of[s] & (SOURCE_TURN - 1)
                        following[s] = wheel[slot]
                        wheel[slot] = s
                at += 1
                if at == buffer:
                    at = 0
                first[f] = at
                count[f] = n - 1
                if n > 1:
                    head_when[f] = when[f * buffer + at]
                    head_flit[f] = flits[f * buffer + at]
                else:
                    head_when[f] = NEVER
                moved = t
                if to < 0:
                    ejected[flit >> PACKET] = t + 2
                    remaining -= 1
                    continue
                # into the next FIFO
                there = to >> 3
                leaves = (flit >> LAST) & 7
                x = (flit >> X) & COORDINATE
                y = (flit >> Y) & COORDINATE
                flit = (flit & ~7) | _output(routes, width, leaves, x, y, there, place_x[there], place_y[there])
                due = t + link_cycles + router_cycles
                n = count[to]
                at = np.int64(first[to]) + n
                if at >= buffer:
                    at -= buffer
                when[to * buffer + at] = due
                flits[to * buffer + at] = flit
                count[to] = n + 1
                at += 1
                if at == buffer:
                    at = 0
                tail_free[to] = NEVER if n + 1 == buffer else when[to * buffer + at]
                if n == 0:
                    head_when[to] = due
                    head_flit[to] = flit
                    slot = min(due, t + TURN - 1) & (TURN - 1)
                    if not (entered[there] >> slot) & 1:
                        entered[there] |= 1 << slot
                        lists[slot, listed[slot]] = there
                        listed[slot] += 1
                        pending += 1
            for i in range(5):
                due = head_when[base + i]
                if due < NEVER:
                    slot = min(max(due, t + 1), t + TURN - 1) & (TURN - 1)
                    if not (entered[r] >> slot) & 1:
                        entered[r] |= 1 << slot
                        lists[slot, listed[slot]] = r
                        listed[slot] += 1
                        pending += 1

        t += 1
        if pending:
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
    offset, ready, target, sent, hops, width, routes, fifo_of, router_of, downstream, place_x, place_y, load
):  # fmt: skip
    """Send each packet as soon as its source can, and follow it: its hops, and the load of each output.

    Return -1, or the packet that leaves the mesh or never arrives.
    """
    routers = place_x.shape[0]
    load[:] = 0
    for s in range(fifo_of.shape[0]):
        t = np.int64(-1)
        for p in range(offset[s], offset[s + 1]):
            t = max(t + 1, ready[p])
            sent[p] = t
            goal = router_of[target[p]]
            x = np.int64(place_x[goal])
            y = np.int64(place_y[goal])
            leaves = 4 if target[p] < routers else 1
            here = np.int64(fifo_of[s]) >> 3
            for hop in range(routers + 1):
                out = _output(routes, width, leaves, x, y, here, place_x[here], place_y[here])
                if out > 4:
                    return p
                load[8 * here + out] += 1
                if here == goal:
                    hops[p] = hop
                    break
                to = np.int64(downstream[8 * here + out])
                if to < 0 or hop == routers:
                    return p
                here = to >> 3
    return -1
