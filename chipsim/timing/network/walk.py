"""Follow packets through the mesh, each as if it were alone, in machine code."""

from __future__ import annotations

import numpy as np

from chipsim.compiled import compiled
from chipsim.timing.network.layout import Y
from chipsim.timing.network.pieces import output


@compiled
def walk(  # type: ignore[no-untyped-def]  # pragma: no cover
    offset, ready, target, sent, hops, width, routes, router_of, place_of, beyond, load
):  # fmt: skip
    """Send each packet as soon as its source can, and follow it: its hops, and the load of each output.

    Return -1, or the packet that leaves the mesh or never arrives.
    """
    routers = load.shape[0] // 5
    last_column, last_row = width - 1, routers // width - 1
    load[:] = 0
    for s in range(router_of.shape[0]):
        t = np.int64(-1)
        for p in range(offset[s], offset[s + 1]):
            t = max(t + 1, ready[p])
            sent[p] = t
            goal = place_of[target[p]]
            leaves = np.int64(4) if target[p] < routers else np.int64(1)
            here = router_of[s]
            for hop in range(routers + 1):
                x, y = here % width, here // width
                place = (y << Y) + x
                out = output(routes, width, leaves, place, goal, here)
                if out > 4:
                    return p
                load[5 * here + out] += 1
                if place == goal:
                    hops[p] = hop
                    break
                edge = (x == last_column, x == 0, y == 0, y == last_row, True)[out]
                if edge or hop == routers:
                    return p
                here += beyond[4 * out + 1]
    return -1
