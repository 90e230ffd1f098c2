"""Simulate the cycles of `LANES` networks at once, in machine code."""

from __future__ import annotations

import numpy as np

from chipsim.chip.routes import WEST
from chipsim.compiled import compiled
from chipsim.timing.network.lanes_router import (
    CREDITS,
    HELD,
    HIST,
    INJECTED,
    INPUT,
    LANES,
    LIVE,
    MAY,
    OUTPUT,
    POPPED,
    RETURNING,
    SLOTS,
    SPENT,
    TO_CORE,
    TURN,
    VECTORS,
    WAIT,
    ready_lanes,
    step,
    step_only,
)
from chipsim.timing.network.pieces import lowest, u

SIZE = VECTORS * LANES
ALL = (1 << LANES) - 1
#: cycles for which the port's FIFO is followed alone, and the last of them in each of which it must have granted and taken
ALONE, STEADY = 96, 32


@compiled
def clear(state):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Empty the networks; the last router is none and stays empty."""
    state[:] = 0
    for r in range(state.shape[0] // SIZE):
        for o in range(5):
            for lane in range(LANES):
                state[r * SIZE + (CREDITS + o * OUTPUT) * LANES + lane] = SLOTS
                state[r * SIZE + (TURN + o * OUTPUT) * LANES + lane] = -32


@compiled
def alone(state, port, t, unsent, first, end, each, router, credit):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Follow the port's FIFO of a lane, ``port``, from the cycle after t on, when it alone holds packets up.

    Return how much later than its number, the port's ``first`` being 0, a packet is granted its way out once the port sends
    one a cycle; -1 if it does not come to that before the ``end``.
    """
    due = np.zeros(ALONE + 64, np.int64)  # flits that may go from each cycle on
    back = np.zeros(ALONE + 64, np.int64)  # credits that return
    hist = state[port + (HIST + WEST * INPUT) * LANES]
    for bit in range(each - 1):
        due[each - 1 - bit] += hist >> bit & 1
    sent = np.int64(state[port + INJECTED * LANES] != 0)
    due[router] += sent
    returning = state[port + (RETURNING + WEST * OUTPUT) * LANES]
    for bit in range(credit - 1):
        back[credit - 1 - bit] += returning >> bit & 1
    back[credit] += state[port + (POPPED + (t & 1)) * LANES] >> WEST & 1
    may = np.int64(state[port + (MAY + WEST * INPUT) * LANES])
    credits = np.int64(state[port + (CREDITS + WEST * OUTPUT) * LANES])
    granted = unsent - sent - state[port + (HELD + WEST * INPUT) * LANES]
    none = np.int64(0)
    steady = none
    for c in range(1, ALONE):
        may += due[c]
        credits += back[c]
        steady += 1
        if may:
            may -= 1
            granted += 1
            back[c + credit] += 1
        else:
            steady = none
        if credits:
            credits -= 1
            unsent += 1
            due[c + router] += 1
        else:
            steady = none
    return t + ALONE - granted + first if steady >= STEADY and unsent <= end else np.int64(-1)


@compiled
def run(  # type: ignore[no-untyped-def]  # pragma: no cover
    state, width, height, link, router, credit, latest, router_of, side_of, port,
    offset, ready, flit, cursor, due, stalls, soonest, sources, cores, last, shift, idle, live, active,
):  # fmt: skip
    """Run until every lane is empty or, with a ``port``, no packet waits any more but in front of it.

    ``offset`` is (LANES, terminals + 1) into ``ready`` and ``flit``. ``cores`` is how many packets of cores each lane has.
    ``last`` takes the cycle of the last ejection of each lane (with a port: of its cores), ``shift`` what `alone` returns.
    Return whether it came to that before the cycle ``latest``.
    """
    words = active.shape[0] // 2
    routers = width * height
    nowhere = routers * SIZE
    zero, one = np.int64(0), np.int64(1)
    never = np.int64(latest + 1)
    active[:] = 0
    idle[:] = 0
    live[:] = 0
    alive = np.int64(0)
    count = np.int64(0)  # sources with packets left
    for s in range(router_of.shape[0]):
        least = never
        for lane in range(LANES):
            cursor[s * LANES + lane] = offset[lane, s]
            first = never
            if offset[lane, s] < offset[lane, s + 1]:
                first = min(first, ready[offset[lane, s]])
                alive |= one << lane
            due[s * LANES + lane] = first
            stalls[s * LANES + lane] = 0
            least = min(least, first)
        soonest[s] = least
        if least < never:
            sources[count] = s
            count += 1
    for lane in range(LANES):
        last[lane] = 0
        shift[lane] = -1
    t = np.int64(0)
    inside = False
    while True:
        if t >= latest:
            return False
        now = (t & 1) * words
        later = ((t + 1) & 1) * words
        waits = np.int64(0)
        inside = False
        for word in range(words):
            visits = active[u(now + word)]
            active[u(now + word)] = 0
            while visits:
                r = (np.int64(word) << 6) + lowest(visits)
                visits &= visits - 1
                x = r % width
                y = r // width
                own = r * SIZE
                mine = live[u(r)] | live[u((1 + (t & 1)) * routers + r)]
                live[u((1 + (t & 1)) * routers + r)] = 0
                east = own + SIZE if x + 1 < width else nowhere
                west = own - SIZE if x else nowhere
                north = own - width * SIZE if y else nowhere
                south = own + width * SIZE if y + 1 < height else nowhere
                if port < 0:
                    found, others = step(state, own, east, west, north, south, mine, x, y, t & 1, link, router, credit, zero)
                else:
                    found, others = step_only(
                        state, own, east, west, north, south, mine, x, y, t & 1, link, router, credit, -np.int64(r == port)
                    )
                inside = True
                live[u(r)] = (found >> LIVE) & 0x3FF
                if mine | live[u(r)]:
                    idle[u(r)] = 0
                    active[u(later + (r >> 6))] |= one << (r & 63)
                else:
                    idle[u(r)] += 1
                    if idle[u(r)] < 3:  # what it granted last has been read, and both sets are empty
                        active[u(later + (r >> 6))] |= one << (r & 63)
                if found & 1:
                    live[u((1 + ((t + 1) & 1)) * routers + r + 1)] |= 2
                    active[u(later + ((r + 1) >> 6))] |= one << ((r + 1) & 63)
                if found & 2:
                    live[u((1 + ((t + 1) & 1)) * routers + r - 1)] |= 1
                    active[u(later + ((r - 1) >> 6))] |= one << ((r - 1) & 63)
                if found & 4:
                    live[u((1 + ((t + 1) & 1)) * routers + r - width)] |= 8
                    active[u(later + ((r - width) >> 6))] |= one << ((r - width) & 63)
                if found & 8:
                    live[u((1 + ((t + 1) & 1)) * routers + r + width)] |= 4
                    active[u(later + ((r + width) >> 6))] |= one << ((r + width) & 63)
                for leaves in (found >> TO_CORE, others & ALL):
                    while leaves:
                        last[u(lowest(leaves))] = t + 2
                        cores[u(lowest(leaves))] -= 1
                        leaves &= leaves - 1
                waits |= others >> WAIT
        # sources
        k = np.int64(0)
        while k < count:
            s = sources[u(k)]
            if soonest[u(s)] > t:
                k += 1
                continue
            r = router_of[u(s)]
            side = side_of[u(s)]
            at = s * LANES
            may = ready_lanes(state, r * SIZE, side, due, stalls, at, t)
            if may:
                active[u(later + (r >> 6))] |= one << (r & 63)
                idle[u(r)] = 0
                live[u(r)] |= (one << side) | (one << (SPENT - LIVE + side))
                while may:
                    lane = lowest(may)
                    may &= may - 1
                    p = cursor[u(at + lane)]
                    state[u(r * SIZE + (CREDITS + side * OUTPUT) * LANES + lane)] -= 1
                    state[u(r * SIZE + (INJECTED + (side >> 2)) * LANES + lane)] = flit[u(p)]
                    p += 1
                    cursor[u(at + lane)] = p
                    due[u(at + lane)] = min(max(ready[u(p)], t + 1), never) if p < offset[u(lane), u(s + 1)] else never
                least = never
                for lane in range(LANES):
                    least = min(least, np.int64(due[u(at + lane)]))
                soonest[u(s)] = least
                if least > latest:  # done
                    count -= 1
                    sources[u(k)] = sources[u(count)]
                    continue
            k += 1
        if port >= 0:
            rest = alive & ~waits & ALL
            while rest:
                lane = lowest(rest)
                rest &= rest - 1
                if cores[u(lane)] == 0:
                    shift[u(lane)] = alone(
                        state, port * SIZE + lane, t, cursor[u((router_of.shape[0] - 1) * LANES + lane)],
                        offset[u(lane), u(router_of.shape[0] - 1)], offset[u(lane), u(router_of.shape[0])],
                        link + router, router, credit,
                    )  # fmt: skip
                    alive &= ~(one << lane)
            if alive == 0:
                return True
        elif not inside and count == 0:
            busy = False
            for word in range(words):
                busy |= active[u(later + word)] != 0
            if not busy:
                return True
        t += 1
        if not inside and count:  # on to the next source
            nothing = True
            for word in range(words):
                nothing &= active[u(later + word)] == 0
            if nothing:
                first = np.int64(latest)
                for source in sources[:count]:
                    first = min(first, soonest[u(source)])
                t = max(t, first)
