"""Run the annealer's inner loop in machine code; imported only where cores are moved.

Everything is plain loops over flat arrays, so that the first compilation takes little. Link loads are sums of multiples of
1/256, exact in float64 in any order: a move that is taken back leaves no trace.
"""

from __future__ import annotations

import numpy as np

from chipsim.chip.routes import EAST, NORTH, SOUTH, WEST
from chipsim.machine_code import in_machine_code

FREE = -1
#: of the generator, xorshift64
LEFT, RIGHT, AGAIN, HIGH, SIGN = (np.uint64(bits) for bits in (13, 7, 17, 33, 1))


@in_machine_code
def walk(load, price, free, tick, routes, width, column, line, here, there, packets, counts):  # type: ignore[no-untyped-def]
    """Add packets to the links from one cell to another; returns the increase of the cost if ``counts`` is set.

    The packets are added to the row of their tick and, unless that is the host's row 0, to the last row, which is the sum.
    Negative packets remove a route.
    """
    cost = 0.0
    cells = load.shape[1] // 4
    all_of = len(price) - 1
    own_price, own_free, all_price, all_free = price[tick], free[tick], price[all_of], free[all_of]
    if own_price == 0.0 and not len(routes):  # its loads cost nothing and are not kept
        return packets * (abs(column[here] - column[there]) + abs(line[here] - line[there]))
    summed = tick != 0 and tick != all_of and all_price != 0.0
    while here != there:
        links = 1
        if len(routes):
            side = int(routes[here * cells + there])
            if side > SOUTH:  # the table knows no way
                return cost
        else:  # straight on to the turn
            links = column[there] - column[here]
            if links > 0:
                side = EAST
            elif links < 0:
                side = WEST
            else:
                links = line[there] - line[here]
                side = SOUTH if links > 0 else NORTH
        step = 1 if side == EAST else -1 if side == WEST else -width if side == NORTH else width
        for _ in range(abs(links)):
            link = here * 4 + side
            here += step
            cost += packets
            if own_price == 0.0:
                continue
            before = load[tick, link]
            after = before + packets
            load[tick, link] = after
            if counts:
                before -= own_free
                after -= own_free
                if after > 0.0:
                    cost += own_price * after * after
                if before > 0.0:
                    cost -= own_price * before * before
            if summed:
                before = load[all_of, link]
                after = before + packets
                load[all_of, link] = after
                if counts:
                    before -= all_free
                    after -= all_free
                    if after > 0.0:
                        cost += all_price * after * after
                    if before > 0.0:
                        cost -= all_price * before * before
    return cost


@in_machine_code
def moved(  # type: ignore[no-untyped-def]
    load, price, free, start, pair, ends, tick, packets, routes, width, column, line, cell, owner, heat, reach, wait, seed,
    work,
):  # fmt: skip
    """Move cores, or swap two; a move that increases the cost is kept with the probability given by the temperature.

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
        core = 0
        for number in range(2):
            state ^= state << LEFT
            state ^= state >> RIGHT
            state ^= state << AGAIN
            if number == 0:
                core = int(state >> HIGH) % cores
        draw = int(state >> SIGN)
        span = 2 * reach[step] + 1
        near = cell[core]
        first, last = start[core], start[core + 1]
        if draw & 1 and last > first:  # beside one that it talks to
            row = pair[first + (draw >> 1 & 4095) % (last - first)]
            near = cell[ends[row, 0] + ends[row, 1] - core]
        x = column[near] + (draw >> 13 & 65535) % span - reach[step]
        y = line[near] + (draw >> 29 & 65535) % span - reach[step]
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
                kept = change <= heat[step] * wait[draw >> 45 & 1023]
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
                        spent += abs(column[start_cell] - column[end_cell]) + abs(line[start_cell] - line[end_cell])
                    change += walk(
                        load,
                        price,
                        free,
                        tick[row],
                        routes,
                        width,
                        column,
                        line,
                        start_cell,
                        end_cell,
                        sign * packets[row],
                        phase < 2,
                    )
        if kept:
            owner[here], owner[there] = other, core
            total += change
    seed[0] = state
    return total
