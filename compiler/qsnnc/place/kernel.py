"""Run the annealer's inner loop in machine code; imported only where cores are moved.

What a move changes is gathered before anything is added up. The links of one row of loads that leave routers on one side and
follow each other are a *line*; each packet's way covers a range of one line along x and one along y. A range is written as
two differences, at its begin and its end, so that the many packets of a core cost little more than one of them: the running
sum along a line says how much each link gains or loses. Only a move that is kept is entered in the loads.

Loads are sums of multiples of 1/256, exact in float64 in any order.
"""

from __future__ import annotations

import numpy as np

from chipsim.chip.routes import EAST, NORTH, SOUTH, WEST
from chipsim.machine_code import in_machine_code

FREE = -1
#: of the generator, xorshift64
LEFT, RIGHT, AGAIN, HIGH, SIGN = (np.uint64(bits) for bits in (13, 7, 17, 33, 1))


@in_machine_code
def touch(low, high, touched, count, line, first, last):  # type: ignore[no-untyped-def]
    """Note that a line has differences from ``first`` to ``last``; returns how many lines have some."""
    if high[line] < 0:
        low[line], high[line] = first, last
        touched[count] = line
        return count + 1
    low[line] = min(low[line], first)
    high[line] = max(high[line], last)
    return count


@in_machine_code
def cover(change, low, high, touched, count, routes, sides, width, row, x, y, to_x, to_y, packets):  # type: ignore[no-untyped-def]
    """Enter packets on their way in the differences; returns how many lines have some, and the links of the way.

    Parameters
    ----------
    sides : int
        Lines of a side: the larger side of the grid.
    """
    links, cells, span = 0, 0, sides + 1
    if len(routes):
        cells = int(np.sqrt(len(routes)) + 0.5)
    while x != to_x or y != to_y:
        length = 1
        if len(routes):
            side = int(routes[(y * width + x) * cells + to_y * width + to_x])
            if side > SOUTH:  # the table knows no way
                break
        elif x != to_x:  # straight on to the turn
            side, length = (EAST, to_x - x) if to_x > x else (WEST, x - to_x)
        else:
            side, length = (SOUTH, to_y - y) if to_y > y else (NORTH, y - to_y)
        across = side in (EAST, WEST)
        line, first = (y, x) if across else (x, y)
        back = side in (WEST, NORTH)
        if back:
            first -= length - 1
        line += (4 * row + side) * sides
        change[line * span + first] += packets
        change[line * span + first + length] -= packets
        count = touch(low, high, touched, count, line, first, first + length)
        links += length
        x += (-length if back else length) if across else 0
        y += 0 if across else (-length if back else length)
    return count, links


@in_machine_code
def gather(  # type: ignore[no-untyped-def]
    change, low, high, touched, price, start, others, sends, rows, packets, routes, sides, width, at_x, at_y,
    core, other, x, y,
):  # fmt: skip
    """Enter what the move of a core to x, y changes; ``other``, -1 for none, takes its place.

    Returns
    -------
    tuple
        How many lines have differences, the increase of the hops, and the number of connections.
    """
    count, longer, seen = 0, 0.0, 0
    for which in range(2):
        mine = core if which == 0 else other
        if mine < 0:
            break
        for k in range(start[mine], start[mine + 1]):
            far, row = others[k], rows[k]
            seen += 1
            if which == 1 and far == core:
                continue
            for turn in range(2):
                near_x, near_y, far_x, far_y = at_x[mine], at_y[mine], at_x[far], at_y[far]
                if turn == 1:
                    near_x, near_y = (x, y) if which == 0 else (at_x[core], at_y[core])
                    if far == core:
                        far_x, far_y = x, y
                    elif far == other:
                        far_x, far_y = at_x[core], at_y[core]
                much = packets[k] if turn == 1 else -packets[k]
                if price[row] == 0.0 and not len(routes):  # its loads cost nothing and are not kept
                    longer += much * (abs(near_x - far_x) + abs(near_y - far_y))
                    continue
                if not sends[k]:
                    near_x, near_y, far_x, far_y = far_x, far_y, near_x, near_y
                count, links = cover(
                    change, low, high, touched, count, routes, sides, width, row, near_x, near_y, far_x, far_y, much
                )
                longer += much * links
    return count, longer, seen


@in_machine_code
def weigh(load, change, low, high, touched, count, price, free, sides, changed, amount):  # type: ignore[no-untyped-def]
    """Compute what differences add to the price of busy links, and clear them.

    ``changed`` and ``amount`` take the links and by how much their loads change; lines of the last row, which is the sum of
    all but the host's row 0, follow behind those that they are the sum of.

    Returns
    -------
    tuple
        The increase, the number of links that change, and of links that were looked at.
    """
    span, all_of = sides + 1, len(price) - 1
    cost, found, seen, number = 0.0, 0, 0, 0
    while number < count:
        line = touched[number]
        number += 1
        first, last = low[line], high[line]
        high[line] = -1
        row = line // (4 * sides)
        own_price, own_free = price[row], free[row]
        summed = row != 0 and row != all_of and price[all_of] != 0.0
        sum_line = line + (all_of - row) * 4 * sides
        if summed:
            count = touch(low, high, touched, count, sum_line, first, last)
        more = 0.0
        for place in range(first, last + 1):
            link = line * span + place
            if change[link] != 0.0:
                more += change[link]
                if summed:
                    change[sum_line * span + place] += change[link]
                change[link] = 0.0
            if more != 0.0:
                before = max(0.0, load[link] - own_free)
                after = max(0.0, load[link] - own_free + more)
                cost += own_price * (after * after - before * before)
                changed[found], amount[found] = link, more
                found += 1
        seen += last - first
    return cost, found, seen


@in_machine_code
def moved(  # type: ignore[no-untyped-def]
    load, price, free, start, others, sends, rows, packets, routes, sides, width, at_x, at_y, owner, heat, reach, wait, seed,
    work, change, low, high, touched, changed, amount,
):  # fmt: skip
    """Move cores, or swap two; a move that increases the cost is kept with the probability given by the temperature.

    Parameters
    ----------
    load : (rows * 4 * sides * (sides + 1),)
        By row, side of the router, line, and place along the line; changed.
    start, others, sends, rows, packets : (cores + 1,), and four of (entries,)
        The connections of each core: with which core or port, whether it is the sender, the row of the loads, and packets.
    sides : int
        The larger side of the grid.
    at_x, at_y : (cores + ports,)
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
        Ends when so many links have been looked at, a move and a connection counting as some; the same on every machine.
    change, low, high, touched, changed, amount
        Scratch, as large as ``load`` but for three of a line each; ``change`` 0, ``high`` -1.

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
        now = spent * steps // work
        spent += 8
        core = 0
        for number in range(2):
            state ^= state << LEFT
            state ^= state >> RIGHT
            state ^= state << AGAIN
            if number == 0:
                core = int(state >> HIGH) % cores
        draw = int(state >> SIGN)
        reached = 2 * reach[now] + 1
        near = core
        first, last = start[core], start[core + 1]
        if draw & 1 and last > first:  # beside one that it talks to
            near = others[first + (draw >> 1 & 4095) % (last - first)]
        x = at_x[near] + (draw >> 13 & 65535) % reached - reach[now]
        y = at_y[near] + (draw >> 29 & 65535) % reached - reach[now]
        if x < 0 or y < 0 or x >= width or y >= height:
            continue
        old_x, old_y = int(at_x[core]), int(at_y[core])
        other = owner[y * width + x]
        if other == core or other < FREE:
            continue
        count, longer, seen = gather(
            change, low, high, touched, price, start, others, sends, rows, packets, routes, sides, width, at_x, at_y,
            core, other, x, y,
        )  # fmt: skip
        cost, found, looked = weigh(load, change, low, high, touched, count, price, free, sides, changed, amount)
        spent += 4 * seen + looked
        if longer + cost > heat[now] * wait[draw >> 45 & 1023]:
            continue
        total += longer + cost
        for number in range(found):
            load[changed[number]] += amount[number]
        owner[old_y * width + old_x], owner[y * width + x] = other, core
        at_x[core], at_y[core] = x, y
        if other >= 0:
            at_x[other], at_y[other] = old_x, old_y
    seed[0] = state
    return total
