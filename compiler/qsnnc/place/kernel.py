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
#: columns of what is kept of a line
LOWEST, HIGHEST, SLOT = range(3)
#: of the generator, xorshift64
LEFT, RIGHT, AGAIN, HIGH, SIGN = (np.uint64(bits) for bits in (13, 7, 17, 33, 1))


@in_machine_code
def touch(lines, touched, count, line, first, last):  # type: ignore[no-untyped-def]
    """Note that a line has differences from ``first`` to ``last``; returns how many lines have some."""
    new = lines[line, HIGHEST] < 0
    lines[line, SLOT] = count if new else lines[line, SLOT]
    lines[line, LOWEST] = min(lines[line, LOWEST], first)
    lines[line, HIGHEST] = max(lines[line, HIGHEST], last)
    touched[count] = line
    return count + new


@in_machine_code
def enter(change, lines, touched, count, sides, row, side, across, first, length, packets):  # type: ignore[no-untyped-def]
    """Enter packets on some links of a line, or on none; returns how many lines have differences."""
    line = (4 * row + side) * sides + across if length else len(lines) - 1
    count = touch(lines, touched, count, line, first, first + length)
    first += lines[line, SLOT] * (sides + 1)
    change[first] += packets
    change[first + length] -= packets
    return count


@in_machine_code
def straight(change, lines, touched, count, sides, row, x, y, to_x, to_y, packets):  # type: ignore[no-untyped-def]
    """Enter packets on their way along x first, then along y; without a branch, of which half would be guessed wrong."""
    back = to_x < x
    side, first = (WEST, to_x + 1) if back else (EAST, x)
    count = enter(change, lines, touched, count, sides, row, side, y, first, abs(to_x - x), packets)
    back = to_y < y
    side, first = (NORTH, to_y + 1) if back else (SOUTH, y)
    return enter(change, lines, touched, count, sides, row, side, to_x, first, abs(to_y - y), packets)


@in_machine_code
def follow(change, lines, touched, count, routes, sides, width, row, x, y, to_x, to_y, packets):  # type: ignore[no-untyped-def]
    """Enter packets on their way by a table; returns how many lines have differences, and the links of the way."""
    links, cells = 0, int(np.sqrt(len(routes)) + 0.5)
    while x != to_x or y != to_y:
        side = int(routes[(y * width + x) * cells + to_y * width + to_x])
        if side > SOUTH:  # the table knows no way
            break
        across, first = (y, x) if side in (EAST, WEST) else (x, y)
        count = enter(change, lines, touched, count, sides, row, side, across, first, 1, packets)
        links += 1
        x += 1 if side == EAST else -1 if side == WEST else 0
        y += 1 if side == SOUTH else -1 if side == NORTH else 0
    return count, links


@in_machine_code
def gather(  # type: ignore[no-untyped-def]
    change, lines, touched, price, start, others, sends, rows, packets, routes, sides, width, at_x, at_y, core, other, x, y
):  # fmt: skip
    """Enter what the move of a core to x, y changes; ``other``, -1 for none, takes its place.

    Returns
    -------
    tuple
        How many lines have differences, the increase of the hops, and the number of connections.
    """
    count, longer, seen = 0, 0.0, 0
    old_x, old_y = at_x[core], at_y[core]
    for which in range(2):
        mine = core if which == 0 else other
        if mine < 0:
            break
        seen += start[mine + 1] - start[mine]
        for k in range(start[mine], start[mine + 1]):
            far, row, much = others[k], rows[k], -packets[k]
            if which == 1 and far == core:
                continue
            near_x, near_y, far_x, far_y = at_x[mine], at_y[mine], at_x[far], at_y[far]
            for turn in range(2):
                if turn == 1:
                    much = -much
                    near_x, near_y = (x, y) if which == 0 else (old_x, old_y)
                    far_x, far_y = (x, y) if far == core else (old_x, old_y) if far == other else (far_x, far_y)
                from_x, from_y = (near_x, near_y) if sends[k] else (far_x, far_y)
                to_x, to_y = (far_x, far_y) if sends[k] else (near_x, near_y)
                if len(routes):
                    count, links = follow(
                        change, lines, touched, count, routes, sides, width, row, from_x, from_y, to_x, to_y, much
                    )
                    longer += much * links
                    continue
                longer += much * (abs(to_x - from_x) + abs(to_y - from_y))
                if price[row] != 0.0:  # else its loads cost nothing and are not kept
                    count = straight(change, lines, touched, count, sides, row, from_x, from_y, to_x, to_y, much)
    return count, longer, seen


@in_machine_code
def weigh(load, change, lines, touched, count, price, free, sides, amount):  # type: ignore[no-untyped-def]
    """Compute what differences add to the price of busy links.

    Differences become by how much each link's load changes, in ``amount``, as they stand; lines of the last row, which is
    the sum of all but the host's row 0, follow behind those that they are the sum of.

    Returns
    -------
    tuple
        The increase, and the number of lines that change, and of links that were looked at.
    """
    span, all_of = sides + 1, len(price) - 1
    cost, seen, number = 0.0, 0, 0
    while number < count:
        line, here = touched[number], number * span
        number += 1
        first, last = lines[line, LOWEST], lines[line, HIGHEST]
        row = line // (4 * sides)
        own_price, own_free = price[row], free[row]
        if row != 0 and row != all_of and price[all_of] != 0.0:
            sum_line = line + (all_of - row) * 4 * sides
            count = touch(lines, touched, count, sum_line, first, last)
            there = lines[sum_line, SLOT] * span
            for place in range(first, last + 1):
                change[there + place] += change[here + place]
        more = 0.0
        for place in range(first, last + 1):
            more += change[here + place]
            change[here + place] = 0.0
            amount[here + place] = more
        for place in range(first, last):
            over = load[line * span + place] - own_free
            before, after = max(0.0, over), max(0.0, over + amount[here + place])
            cost += own_price * (after * after - before * before)
        seen += last - first
    return cost, count, seen


@in_machine_code
def settle(load, lines, touched, count, sides, amount, keep):  # type: ignore[no-untyped-def]
    """Enter in the loads what `weigh` found if it is kept, and forget the lines."""
    span = sides + 1
    for number in range(count):
        line, here = touched[number], number * span
        if keep:
            for place in range(lines[line, LOWEST], lines[line, HIGHEST]):
                load[line * span + place] += amount[here + place]
        lines[line, LOWEST], lines[line, HIGHEST] = span, -1


@in_machine_code
def moved(  # type: ignore[no-untyped-def]
    load, price, free, start, others, sends, rows, packets, routes, sides, width, at_x, at_y, owner, heat, reach, wait, seed,
    work, change, lines, touched, amount,
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
    change, lines, touched, amount
        Scratch of one line more than there are: ``change``, 0, and ``amount`` of as many items as ``load`` has a line; of
        each line the `LOWEST` and `HIGHEST` place with differences and the `SLOT` in ``change``, (lines, 3); and a number.
        The last line stands for ways without a link.

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
            change, lines, touched, price, start, others, sends, rows, packets, routes, sides, width, at_x, at_y,
            core, other, x, y,
        )  # fmt: skip
        cost, count, looked = weigh(load, change, lines, touched, count, price, free, sides, amount)
        spent += 4 * seen + looked
        keep = longer + cost <= heat[now] * wait[draw >> 45 & 1023]
        settle(load, lines, touched, count, sides, amount, keep)
        if not keep:
            continue
        total += longer + cost
        owner[old_y * width + old_x], owner[y * width + x] = other, core
        at_x[core], at_y[core] = x, y
        if other >= 0:
            at_x[other], at_y[other] = old_x, old_y
    seed[0] = state
    return total
