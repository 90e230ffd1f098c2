"""The annealer's inner loop, in machine code; imported only where cores are moved.

Everything is plain loops over flat arrays, so that the first compilation takes little. Link loads are sums of multiples of
1/256, exact in float64 in any order: a move that is taken back leaves no trace.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from chipsim.chip.routes import EAST, NORTH, SOUTH, WEST
from chipsim.compiled import compiled

FREE = -1

in_machine_code = partial(compiled, error_model="numpy")


@in_machine_code
def walk(load, price, free, tick, routes, width, here, there, packets):  # type: ignore[no-untyped-def]
    """Add packets to the links from one cell to another; returns by how much the cost grows.

    The packets are a tick's, and on the chip (not tick 0, the host's) the last row's too, which is the sum. Negative packets
    take a route away.
    """
    cost = 0.0
    cells = load.shape[1] // 4
    all_of = len(price) - 1
    if price[tick] == 0.0 and not len(routes):  # its loads cost nothing and are not kept
        return packets * (abs(here % width - there % width) + abs(here // width - there // width))
    while here != there:
        if len(routes):
            side = int(routes[here * cells + there])
            if side > SOUTH:  # the table knows no way
                return cost
        else:
            x, to = here % width, there % width
            if x < to:
                side = EAST
            elif x > to:
                side = WEST
            elif here > there:
                side = NORTH
            else:
                side = SOUTH
        link = here * 4 + side
        cost += packets
        row = tick
        while price[row] != 0.0:
            before = load[row, link]
            after = before + packets
            load[row, link] = after
            after -= free[row]
            before -= free[row]
            if after > 0.0:
                cost += price[row] * after * after
            if before > 0.0:
                cost -= price[row] * before * before
            if tick == 0 or row == all_of:
                break
            row = all_of
        if side == EAST:
            here += 1
        elif side == WEST:
            here -= 1
        elif side == NORTH:
            here -= width
        else:
            here += width
    return cost


@in_machine_code
def moved(load, price, free, start, pair, ends, tick, packets, routes, width, cell, owner, heat, reach, wait, seed, work):  # type: ignore[no-untyped-def]
    """Move cores, or swap two; a move that costs more is kept with the probability of its temperature.

    Parameters
    ----------
    cell : (cores + ports,)
        Where each core, and behind them each port, is; changed.
    owner : (cells,)
        Core at each cell, `FREE`, or less where there can be none; changed.
    heat, reach : (steps,)
        Temperature and largest step of each share of the moves.
    wait : (1024,)
        Quantiles of the exponential distribution.
    seed : uint64, (1,)
        State of the generator; changed.
    work : int
        Ends when so many links have been looked at, a move and a pair counting as some; the same on every machine.

    Returns
    -------
    float
        By how much the cost has changed.
    """
    total = 0.0
    state = seed[0]
    cores = len(start) - 1
    height = len(owner) // width
    steps = len(heat)
    spent = 0
    while spent < work:
        step = spent * steps // work
        spent += 8
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        core = int(state >> np.uint64(33)) % cores
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        draw = int(state >> np.uint64(1))
        span = 2 * reach[step] + 1
        near = cell[core]
        first, last = start[core], start[core + 1]
        if draw & 1 and last > first:  # beside one that it talks to
            row = pair[first + (draw >> 1) % 4096 % (last - first)]
            near = cell[ends[row, 0] + ends[row, 1] - core]
        x = near % width + (draw >> 13) % 65536 % span - reach[step]
        y = near // width + (draw >> 29) % 65536 % span - reach[step]
        if x < 0 or y < 0 or x >= width or y >= height:
            continue
        here, there = cell[core], y * width + x
        other = owner[there]
        if other == core or other < FREE:
            continue
        change = 0.0
        kept = False
        for phase in range(4):  # take the routes away, lay the new ones; and if that is too dear, back again
            if phase == 2:
                kept = change <= heat[step] * wait[(draw >> 45) % 1024]
                if kept:
                    break
            if phase & 1:
                cell[core] = there if phase == 1 else here
                if other >= 0:
                    cell[other] = here if phase == 1 else there
            sign = 1.0 if phase & 1 else -1.0
            for which in range(2):
                mine = core if which == 0 else other
                if mine < 0:
                    break
                for k in range(start[mine], start[mine + 1]):
                    row = pair[k]
                    sender, receiver = ends[row, 0], ends[row, 1]
                    spent += 1
                    if which == 1 and (sender == core or receiver == core):
                        continue
                    start_cell, end_cell = cell[sender], cell[receiver]
                    if price[tick[row]] != 0.0:
                        spent += abs(start_cell % width - end_cell % width) + abs(start_cell // width - end_cell // width)
                    change += walk(load, price, free, tick[row], routes, width, start_cell, end_cell, sign * packets[row])
        if kept:
            owner[here], owner[there] = other, core
            total += change
    seed[0] = state
    return total
