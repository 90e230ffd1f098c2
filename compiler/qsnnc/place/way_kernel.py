"""Go along all ways once, in machine code: NumPy would make, and touch, many arrays of that length."""

from __future__ import annotations

from chipsim.chip.routes import EAST, NORTH, SOUTH, WEST
from chipsim.machine_code import in_machine_code


@in_machine_code
def straight_ways(at, to, row, packets, width, sides, change):  # type: ignore[no-untyped-def]
    """Add packets where their ways begin and take them off where these end, along x first, then along y.

    Parameters
    ----------
    at, to : (pairs,)
        The cells of both ends.
    row, packets : (pairs,)
        What they add to, and how much.
    width, sides : int
        Of the grid, and its longer side.
    change : (4 * rows * sides * (sides + 1),)
        By side, row, line of the grid, and place along it; a way begins at a place, and ends behind one. Added to.
    """
    of_side = len(change) // 4
    for k in range(len(at)):
        y, to_y = at[k] // width, to[k] // width
        x, to_x = at[k] - y * width, to[k] - to_y * width
        first = row[k] * sides
        line = (first + y) * (sides + 1)
        if to_x > x:
            change[EAST * of_side + line + x] += packets[k]
            change[EAST * of_side + line + to_x] -= packets[k]
        elif to_x < x:
            change[WEST * of_side + line + to_x + 1] += packets[k]
            change[WEST * of_side + line + x + 1] -= packets[k]
        line = (first + to_x) * (sides + 1)
        if to_y > y:
            change[SOUTH * of_side + line + y] += packets[k]
            change[SOUTH * of_side + line + to_y] -= packets[k]
        elif to_y < y:
            change[NORTH * of_side + line + to_y + 1] += packets[k]
            change[NORTH * of_side + line + y + 1] -= packets[k]
