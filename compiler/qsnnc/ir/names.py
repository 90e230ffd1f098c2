"""Find names that are not in use."""

from __future__ import annotations


def free_name(wish: str, taken: set[str]) -> str:
    """Find a name that is not in use: the one that is wished for, with a number if need be.

    Parameters
    ----------
    taken : set of str
        Names in use; the one that is returned is added.
    """
    name, count = wish, 2
    while name in taken:
        name, count = f"{wish}_{count}", count + 1
    taken.add(name)
    return name
