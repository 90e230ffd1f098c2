"""Simulate the cycles of the network, in machine code.

Nothing here waits for its turn within a cycle: what a grant of cycle t changes carries the cycle from which it counts,
and that is later than t. A flit pushed into a FIFO bears the cycle from which it may be granted; a slot that was freed bears
the cycle from which the upstream router may use it. So routers are worked off in any order, and a flit under way needs no
place of its own: its slot is reserved anyway.

Work is only done where there is any. Each head of a FIFO has its router looked at in the cycle from which it may go, and in
the next as long as it may not (a wheel of bit sets of routers, one a cycle); each source is entered in another wheel, or
sleeps until its FIFO has room. While the network is empty, time jumps.

Where the mesh is larger than the cache, the lines that the routers of a word will take are fetched before they are worked
off, all at once.
"""

from __future__ import annotations

import numpy as np

from chipsim.compiled import compiled
from chipsim.timing.network.layout import (
    BLOCKED,
    COORDINATE,
    COUNT,
    CYCLES,
    FIRST,
    HEADER,
    LAST,
    LOAD,
    NEVER,
    NODE,
    PACKET,
    PEAK,
    PLACE,
    PLACED,
    RECORD,
    SERVED,
    SLEEPER,
    SOURCE_TURN,
    TAIL,
    TO_CORE,
    TO_HOST,
    TO_SIDE,
    TURN,
    WANTS,
    Y,
)  # fmt: skip
from chipsim.timing.network.pieces import clear, enter, lowest, output, prefetch, u

#: words of state from which on lines are fetched ahead
FAR = 1 << 17
#: in `WANTS`, the bits of input 0
COLUMN = 0b00001_00001_00001_00001_00001
DONE, DEADLOCK = 0, 1


@compiled
def run(  # type: ignore[no-untyped-def]  # pragma: no cover
    offset, ready, target, sent, ejected, trees, arrival,
    width, buffer, router_cycles, link_cycles, credit_cycles, routes,
    router_of, side_of, place_of, lane, winner, beyond,
    state, due_routers, wheel, following, cursor, turn_of, asleep, stalls, until, log,
):  # fmt: skip
    """Send all packets and wait for the last; arrays as `Workspace` holds them. Return DONE or DEADLOCK.

    With ``until`` it stops after the cycle in which the last of so many packets, the first in their order, was granted its
    way out: `finish` may go on.

    In ``log``, (2, flits), stand the cycles in which a flit enters a FIFO, and those after its grants, in any order.

    Without ``trees``, which is None then, each packet has one target. With the nodes of `Trees` the target is a root, and
    ``arrival`` says where in ``ejected`` a packet's arrivals begin; numba makes a code of its own for each, and one
    without ``log``.
    """
    terminals = router_of.shape[0]
    size = HEADER + 5 * lane
    routers = state.shape[0] // size
    words = due_routers.shape[0] // TURN
    late = router_cycles + link_cycles >= TURN or credit_cycles >= TURN
    large = state.shape[0] > FAR
    one = np.int64(1)
    patience = router_cycles + link_cycles + credit_cycles + 2
    remaining = offset[terminals] - offset[0] if trees is None else ejected.shape[0]
    clear(state, due_routers, width, size, lane)
    enter(offset, ready, wheel, following, cursor, turn_of, stalls)

    t = np.int64(0)
    moved = np.int64(0)  # the last cycle in which anything went anywhere
    inside = np.int64(0)  # flits between source and ejection
    awaited = np.int64(until)
    pushed, popped = np.int64(0), np.int64(0)  # in ``log``
    while remaining and (until == 0 or awaited):
        # sources
        s = wheel[u(t & (SOURCE_TURN - 1))]
        wheel[u(t & (SOURCE_TURN - 1))] = -1
        while s >= 0:
            after = following[u(s)]
            due = turn_of[u(s)]
            if due <= t:
                p = cursor[u(s)]
                here = router_of[u(s)]
                base = here * size
                i = side_of[u(s)]
                f = base + HEADER + i * lane
                if state[u(f + TAIL)] <= t:
                    if trees is None:
                        goal = place_of[u(target[u(p)])]
                        leaves = np.int64(4) if target[u(p)] < routers else np.int64(1)
                        out = output(routes, width, leaves, state[u(base + PLACE)], goal, here)
                        flit = (p << PACKET) | (goal << PLACED) | (leaves << LAST) | out
                        branches = one << (5 * out)
                    else:
                        flit = (p << PACKET) | np.int64(target[u(p)])
                        branches = np.int64(trees[u(8 * target[u(p)])])
                    due = t + router_cycles
                    n = state[u(f + COUNT)]
                    at = state[u(f + FIRST)] + n
                    at -= buffer if at >= buffer else 0
                    state[u(f + RECORD + 2 * at)] = due
                    state[u(f + RECORD + 2 * at + 1)] = flit
                    at = 0 if at + 1 == buffer else at + 1
                    state[u(f + COUNT)] = n + 1
                    state[u(f + TAIL)] = NEVER if n + 1 == buffer else state[u(f + RECORD + 2 * at)]
                    if n == 0:
                        state[u(base + i)] = due
                        state[u(base + WANTS)] |= branches << i
                        slot = min(due, t + TURN - 1) & (TURN - 1)
                        due_routers[u(slot * words + (here >> 6))] |= one << (here & 63)
                    sent[u(p)] = t
                    inside += 1
                    if log is not None:
                        log[0, pushed] = t + 1
                        pushed += 1
                    moved = t
                    p += 1
                    cursor[u(s)] = p
                    due = max(ready[u(p)], t + 1) if p < offset[u(s + 1)] else NEVER
                elif state[u(f + TAIL)] == NEVER:  # full: the router wakes it
                    state[u(f + SLEEPER)] = s
                    asleep[u(s)] = t
                    due = NEVER
                else:  # a slot is free, its credit on the way
                    due = state[u(f + TAIL)]
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
            due_routers[u(now + word)] = 0
            soon = visits if large else 0
            while soon:
                base = ((np.int64(word) << 6) + lowest(soon)) * size
                soon &= soon - 1
                may = np.int64(0)
                for i in range(5):
                    may |= -np.int64(state[u(base + i)] <= t) & (COLUMN << i)
                bit = lowest(state[u(base + WANTS)] & may | 1 << 25)
                out = (bit * 13) >> 6  # a fifth
                f = base + HEADER + (bit - 5 * out) * lane
                prefetch(state, f)
                prefetch(state, f + 8)
                prefetch(state, base + beyond[u(4 * out)])
                prefetch(state, base + beyond[u(4 * out)] + 8)
                prefetch(state, base + beyond[u(4 * out + 1)] * size)
            while visits:
                r = (np.int64(word) << 6) + lowest(visits)
                visits &= visits - 1
                base = r * size
                may = np.int64(0)
                for i in range(5):
                    may |= -np.int64(state[u(base + i)] <= t) & (COLUMN << i)
                wanted = state[u(base + WANTS)] & may
                if late:  # heads that were looked at too early
                    for i in range(5):
                        due = state[u(base + i)]
                        if t < due < NEVER:
                            slot = min(due, t + TURN - 1) & (TURN - 1)
                            due_routers[u(slot * words + word)] |= one << (r & 63)
                word_of = r >> 6
                bit = r & 63
                place = state[u(base + PLACE)]
                served = state[u(base + SERVED)]
                wants = state[u(base + WANTS)]
                again = np.int64(0)
                while wanted:
                    out = (lowest(wanted) * 13) >> 6  # a fifth
                    asking = (wanted >> (5 * out)) & 31
                    wanted ^= asking << (5 * out)
                    side = base + HEADER + out * lane
                    to = base + beyond[u(4 * out)]
                    leaving = (out == 4) | ((out == 1) & (place & COORDINATE == 0))
                    if not leaving and state[u(to + TAIL)] > t:
                        state[u(side + BLOCKED)] += 1
                        again = one
                        continue
                    i = winner[u(32 * ((served >> (3 * out)) & 7) + asking)]
                    served = served & ~(7 << (3 * out)) | i << (3 * out)
                    contested = np.int64(asking != one << i)
                    state[u(side + BLOCKED)] += contested
                    again |= contested
                    # out of the input, once its last branch goes
                    f = base + HEADER + i * lane
                    at = state[u(f + FIRST)]
                    flit = state[u(f + RECORD + 2 * at + 1)]
                    whole = True
                    if trees is not None:
                        wants ^= one << (5 * out + i)
                        whole = wants & (COLUMN << i) == 0
                    if whole:
                        if log is not None:
                            log[1, popped] = t + 1
                            popped += 1
                        n = state[u(f + COUNT)]
                        state[u(f + CYCLES)] += t - state[u(base + i)] + router_cycles
                        while state[u(f + PEAK)] < n:
                            ahead = at + state[u(f + PEAK)]
                            ahead -= buffer if ahead >= buffer else 0
                            if state[u(f + RECORD + 2 * ahead)] - router_cycles >= t:  # it enters later
                                break
                            state[u(f + PEAK)] += 1
                        free = t + credit_cycles
                        state[u(f + RECORD + 2 * at)] = free
                        state[u(f + TAIL)] = free if n == buffer else state[u(f + TAIL)]
                        s = state[u(f + SLEEPER)]
                        if s >= 0:
                            state[u(f + SLEEPER)] = -1
                            turn_of[u(s)] = free
                            stalls[u(s)] += free - asleep[u(s)]
                            slot = free & (SOURCE_TURN - 1)
                            following[u(s)] = wheel[u(slot)]
                            wheel[u(slot)] = s
                        at = 0 if at + 1 == buffer else at + 1
                        state[u(f + FIRST)] = at
                        state[u(f + COUNT)] = n - 1
                        due = state[u(f + RECORD + 2 * at)]
                        more = np.int64(n > 1)
                        state[u(base + i)] = due if n > 1 else NEVER
                        behind = state[u(f + RECORD + 2 * at + 1)]
                        if trees is None:
                            wants = wants & ~(COLUMN << i) | more << (5 * (behind & 7) + i)
                        else:
                            wants |= more * trees[u(8 * (behind & NODE))] << i
                            inside -= 1
                        slot = min(max(due, t + 1), t + TURN - 1) & (TURN - 1)
                        due_routers[u(slot * words + word_of)] |= more << bit
                    moved = t
                    if leaving:
                        state[u(side + LOAD)] += 1
                        remaining -= 1
                        if trees is None:
                            ejected[u(flit >> PACKET)] = t + 2
                            inside -= 1
                            awaited -= np.int64((flit >> PACKET) < until)
                        else:
                            which = trees[u(8 * (flit & NODE) + (TO_CORE if out == 4 else TO_HOST))]
                            ejected[u(arrival[u(flit >> PACKET)] + which)] = t + 2
                        continue
                    # into the next FIFO
                    there = r + beyond[u(4 * out + 1)]
                    i = beyond[u(4 * out + 3)]
                    if trees is None:
                        goal = (flit >> PLACED) & ((1 << 2 * Y) - 1)
                        out = output(routes, width, (flit >> LAST) & 7, place + beyond[u(4 * out + 2)], goal, there)
                        flit = (flit & ~7) | out
                        branches = one << (5 * out)
                    else:
                        node = np.int64(trees[u(8 * (flit & NODE) + TO_SIDE + out)])
                        flit = (flit & ~NODE) | node
                        branches = np.int64(trees[u(8 * node)])
                        inside += 1
                    if log is not None:
                        log[0, pushed] = t + 1 + link_cycles
                        pushed += 1
                    base_there = there * size
                    due = t + link_cycles + router_cycles
                    n = state[u(to + COUNT)]
                    at = state[u(to + FIRST)] + n
                    at -= buffer if at >= buffer else 0
                    state[u(to + RECORD + 2 * at)] = due
                    state[u(to + RECORD + 2 * at + 1)] = flit
                    at = 0 if at + 1 == buffer else at + 1
                    state[u(to + COUNT)] = n + 1
                    free = state[u(to + RECORD + 2 * at)]
                    state[u(to + TAIL)] = NEVER if n + 1 == buffer else free
                    state[u(to + LOAD)] += 1
                    empty = np.int64(n == 0)
                    state[u(base_there + i)] = due if n == 0 else state[u(base_there + i)]
                    state[u(base_there + WANTS)] |= empty * branches << i
                    slot = min(due, t + TURN - 1) & (TURN - 1)
                    due_routers[u(slot * words + (there >> 6))] |= empty << (there & 63)
                state[u(base + SERVED)] = served
                state[u(base + WANTS)] = wants
                due_routers[u(next_cycle + word_of)] |= again << bit

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
