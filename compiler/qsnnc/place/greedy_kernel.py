"""Place cores one after the other in machine code: the loops of `greedy`, over flat arrays.

Costs are sums of packets times hops, and packets are multiples of 1/256: exact in float64 in any order.
"""

from __future__ import annotations

import math

import numpy as np

from chipsim.machine_code import in_machine_code


@in_machine_code
def distances(at, other, weight, first, last, found):  # type: ignore[no-untyped-def]
    """The sum of weight * |place - at| over the placed neighbours, for each place of an axis, by running sums.

    ``at`` is negative where a neighbour has no place yet. ``found`` takes the result.
    """
    size = len(found)
    for place in range(size):
        found[place] = 0.0
    total, whole = 0.0, 0.0
    for k in range(first, last):
        place = at[other[k]]
        if place >= 0:
            found[place] += weight[k]
            total += weight[k] * place
            whole += weight[k]
    left = 0.0
    for place in range(size):  # from a place to the next: what lies behind goes away, the rest comes near
        mass = found[place]
        found[place] = total
        left += mass
        total += 2 * left - whole


@in_machine_code
def best_free(core, start, other, weight, host, tie, at_x, at_y, away_x, away_y, above, below, along_x, along_y):  # type: ignore[no-untyped-def]
    """The free place of least cost as x * height + y; among equal ones the nearest to a port, then the first."""
    width, height = above.shape
    distances(at_x, other, weight, start[core], start[core + 1], along_x)
    distances(at_y, other, weight, start[core], start[core + 1], along_y)
    best, found = math.inf, -1
    for port in range(len(away_x)):
        pull = host[core] + tie
        lowest, least = 0, math.inf
        for y in range(height):
            cost = along_y[y] + pull * away_y[port, y]
            if cost < least:
                lowest, least = y, cost
        for x in range(width):
            up = above[x, lowest]
            down = below[x, lowest - 1] if lowest > 0 else -1
            cost_up = along_y[up] + pull * away_y[port, up] if up < height else math.inf
            cost_down = along_y[down] + pull * away_y[port, down] if down >= 0 else math.inf
            y = down if cost_down <= cost_up else up
            cost = along_x[x] + pull * away_x[port, x] + min(cost_up, cost_down)
            if cost < best or (cost == best and x * height + y < found):
                best, found = cost, x * height + y
    return found


@in_machine_code
def take(above, below, x, y):  # type: ignore[no-untyped-def]
    """Mark a place as taken."""
    height = above.shape[1]
    after = above[x, y + 1] if y + 1 < height else height
    before = below[x, y - 1] if y > 0 else -1
    place = y
    while place >= 0 and above[x, place] == y:
        above[x, place] = after
        place -= 1
    place = y
    while place < height and below[x, place] == y:
        below[x, place] = before
        place += 1


@in_machine_code
def strengthen(tree, core, strength):  # type: ignore[no-untyped-def]
    """Enter the strength of a core in a tree whose every node holds the larger of its two; the cores are its leaves."""
    node = (len(tree) >> 1) + core
    tree[node] = strength
    node >>= 1
    while node:
        tree[node] = max(tree[2 * node], tree[2 * node + 1])
        node >>= 1


@in_machine_code
def fill(tree, start, other, weight, host, tie, at_x, at_y, away_x, away_y, above, below, along_x, along_y):  # type: ignore[no-untyped-def]
    """Place the core with the strongest connection to those already placed, where it costs least, until all are.

    ``tree`` has the strengths of the cores, as `strengthen` keeps them, and -inf where there is no core.
    """
    leaves, height = len(tree) >> 1, above.shape[1]
    while tree[1] >= 0:
        node = 1
        while node < leaves:  # of equal ones the first
            node = 2 * node if tree[2 * node] == tree[node] else 2 * node + 1
        core = node - leaves
        place = best_free(core, start, other, weight, host, tie, at_x, at_y, away_x, away_y, above, below, along_x, along_y)
        at_x[core], at_y[core] = place // height, place % height
        take(above, below, at_x[core], at_y[core])
        strengthen(tree, core, -np.inf)
        for k in range(start[core], start[core + 1]):
            near = other[k]
            if at_x[near] < 0:
                strengthen(tree, near, tree[leaves + near] + weight[k])
