"""Route packets through the mesh and around dead links.

Where every link works: first along x, then along y. Where one is dead: up*/down* from the corner. Each router has a level,
its distance from the root over the links that work; a mesh without some of its links is still bipartite, so the levels of
neighbours differ by one, and each link leads *up* (to the lower level) or *down*. A packet goes down if its
destination can be reached by going down alone, and up otherwise: once it goes down it never goes up again. Of the
dependencies between channels none leads from down to up, up ones lead to lower levels and down ones to higher: there is no
cycle, so nothing can deadlock.
With the root in the corner, a mesh without dead links would be routed negative-first: to the west and north first, then to
the east and south, on a shortest way; so ways grow longer only near dead links.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

from chipsim.chip.spec import ChipSpec
from chipsim.errors import InputError

Int = npt.NDArray[np.int64]

#: sides of a router, in the order of the arbiter: inputs and outputs alike
SIDES = ("east", "west", "north", "south", "local")
EAST, WEST, NORTH, SOUTH, LOCAL = range(5)
#: in a table of routes: there is no way
NOWHERE: Final = 255
#: steps in x and y through each side but the local one; y grows to the south
STEPS = ((1, 0), (-1, 0), (0, -1), (0, 1))
#: routers that a table of routes is made for: it has an entry for each pair of them
MOST_ROUTERS = 1 << 13
_FAR = np.iinfo(np.int16).max // 2


def router(chip: ChipSpec, place: tuple[int, int]) -> int:
    """Number of the router at x, y: y * columns + x."""
    return place[1] * chip.grid[0] + place[0]


def neighbours(chip: ChipSpec) -> Int:
    """Router beyond each side of each router, int64 (routers, 4); -1: no link, or a dead one."""
    width, height = chip.grid
    y, x = np.divmod(np.arange(width * height), width)
    found = np.empty((width * height, 4), np.int64)
    for side, (dx, dy) in enumerate(STEPS):
        inside = (x + dx >= 0) & (x + dx < width) & (y + dy >= 0) & (y + dy < height)
        found[:, side] = np.where(inside, (y + dy) * width + x + dx, -1)
    for one, other in chip.dead_links:
        a, b = router(chip, one), router(chip, other)
        found[a, found[a] == b] = -1
        found[b, found[b] == a] = -1
    return found


def _levels(beyond: list[list[int]], root: int) -> dict[int, int]:
    """Distance from the root of each router that hangs together with it."""
    level = {root: 0}
    queue = deque([root])
    while queue:
        here = queue.popleft()
        for there in beyond[here]:
            if there >= 0 and there not in level:
                level[there] = level[here] + 1
                queue.append(there)
    return level


def reached(chip: ChipSpec) -> npt.NDArray[np.bool_]:
    """Return which routers are in the largest connected part of the mesh, bool (routers,).

    Raises
    ------
    InputError
        A port is not in it.
    """
    routers = chip.grid[0] * chip.grid[1]
    if not chip.dead_links:
        return np.ones(routers, bool)
    beyond = neighbours(chip).tolist()
    part = np.full(routers, -1, np.int64)
    for start in range(routers):
        if part[start] < 0:
            part[list(_levels(beyond, start))] = start
    sizes = np.bincount(part, minlength=routers)
    with_ports = [int(part[router(chip, port)]) for port in chip.ports]
    largest = max(range(routers), key=lambda root: (sizes[root], root in with_ports, -root))
    for port, own in zip(chip.ports, with_ports, strict=True):
        if own != largest:
            raise InputError(
                f"chip {chip.name!r}",
                f"port ({port[0]}, {port[1]}) is cut off by dead links: it reaches {sizes[own]} of {routers} routers; "
                "move the port, or use another chip",
                code="chip-dead",
                found=list(port),
                allowed=f"a router among the {sizes[largest]} that are connected",
            )
    return np.asarray(part == largest)


def cut_off(chip: ChipSpec) -> tuple[tuple[int, int], ...]:
    """Return the positions of cores that no packet can reach, row by row."""
    return tuple((int(r) % chip.grid[0], int(r) // chip.grid[0]) for r in np.flatnonzero(~reached(chip)))


def routes(chip: ChipSpec) -> npt.NDArray[np.uint8] | None:
    """Return the output side for each router and destination router, uint8 (routers, routers).

    None where no link is dead: first along x, then along y. `NOWHERE` where one of the two is cut off.

    Raises
    ------
    InputError
        A port is cut off, or the grid is too large for a table.
    """
    if not chip.dead_links:
        return None
    beyond = neighbours(chip)
    routers = len(beyond)
    if routers > MOST_ROUTERS:
        raise InputError(
            f"chip {chip.name!r}",
            f"has dead links on a grid of {routers} routers; routing around dead links is limited by the size of its table; "
            f"allowed: {MOST_ROUTERS} routers",
            code="network-size",
            found=routers,
            allowed=MOST_ROUTERS,
        )
    together = np.flatnonzero(reached(chip))
    y, x = np.divmod(together, chip.grid[0])
    root = int(together[np.lexsort((together, x + y))[0]])
    level = np.full(routers, -1, np.int64)
    found = _levels(beyond.tolist(), root)
    level[list(found)] = list(found.values())
    return _table(beyond, level)


def _table(beyond: Int, level: Int) -> npt.NDArray[np.uint8]:
    routers = len(beyond)
    down = np.full((routers, routers), _FAR, np.int16)  # steps to each destination, by going down alone
    np.fill_diagonal(down, 0)
    side = np.full((routers, routers), NOWHERE, np.uint8)
    np.fill_diagonal(side, LOCAL)
    inside = np.flatnonzero(level >= 0)
    upwards = inside[np.argsort(-level[inside], kind="stable")].tolist()
    for here in upwards:
        for out, there in enumerate(beyond[here].tolist()):
            if there >= 0 and level[there] > level[here]:
                _shorter(down, side, here, there, out)
    steps = down.copy()
    for here in reversed(upwards):
        free = down[here] >= _FAR  # not by going down alone
        best = np.full(routers, _FAR, np.int16)
        for out, there in enumerate(beyond[here].tolist()):
            if there >= 0 and level[there] < level[here]:
                shorter = free & (steps[there] + 1 < best)
                best[shorter] = steps[there][shorter] + 1
                side[here, shorter] = out
        steps[here, free] = best[free]
    return side


def _shorter(steps: npt.NDArray[np.int16], side: npt.NDArray[np.uint8], here: int, there: int, out: int) -> None:
    """Take the way through a neighbour to the destinations that are nearer so."""
    shorter = steps[there] + 1 < steps[here]
    steps[here, shorter] = steps[there, shorter] + 1
    side[here, shorter] = out


def next_side(chip: ChipSpec, table: npt.NDArray[np.uint8] | None, here: Int, destination: Int) -> npt.NDArray[np.uint8]:
    """Return the output side that packets take at routers, uint8, in the shape of ``here``."""
    if table is not None:
        return np.asarray(table[here, destination])
    (y, x), (to_y, to_x) = (np.divmod(routers, chip.grid[0]) for routers in (here, destination))
    along_y = np.where(to_y > y, SOUTH, np.where(to_y < y, NORTH, LOCAL))
    return np.where(to_x > x, EAST, np.where(to_x < x, WEST, along_y)).astype(np.uint8)


def stopped(chip: ChipSpec, links: frozenset[tuple[int, int]], start: Int, destination: Int) -> Int:
    """Return the router before the first of the given links on the route of each packet.

    Parameters
    ----------
    links : set of (router, router), both directions of each
    start, destination : ndarray, int64, (packets,)
        Routers.

    Returns
    -------
    ndarray, int64, (packets,)
        -1 where a packet crosses none of them.
    """
    table, beyond = routes(chip), neighbours(chip)
    width = chip.grid[0]
    step = np.array([1, -1, -width, width], np.int64)
    broken = np.zeros((len(beyond), 5), bool)
    for a, b in links:
        broken[a, :4] |= beyond[a] == b
    hit = np.zeros(len(start), bool)
    here, moving = start.astype(np.int64), np.arange(len(start))
    while len(moving):
        side = next_side(chip, table, here[moving], destination[moving])
        hit[moving] |= (side == NOWHERE) | broken[here[moving], np.minimum(side, LOCAL)]
        going = (side < LOCAL) & ~hit[moving]
        moving, side = moving[going], side[going]
        here[moving] += step[side]
    return np.where(hit, here, -1)
