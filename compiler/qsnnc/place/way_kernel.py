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
    change : (rows * 4 * sides * (sides + 1),)
        By row, side, line of the grid, and place along it; a way begins at a place, and ends behind one. Added to.
    """
    of_side = sides * (sides + 1)
    for k in range(len(at)):
        y, to_y = at[k] // width, to[k] // width
        x, to_x = at[k] - y * width, to[k] - to_y * width
        line = row[k] * 4 * of_side + y * (sides + 1)
        along(change, line + EAST * of_side, line + WEST * of_side, x, to_x, packets[k])
        line = row[k] * 4 * of_side + to_x * (sides + 1)
        along(change, line + SOUTH * of_side, line + NORTH * of_side, y, to_y, packets[k])


@in_machine_code
def along(change, ahead, back, first, last, packets):  # type: ignore[no-untyped-def]
    """Add packets that go from a place of a line to another: where links ahead lie, and those back."""
    if last > first:
        change[ahead + first] += packets
        change[ahead + last] -= packets
    elif last < first:
        change[back + last + 1] += packets
        change[back + first + 1] -= packets
