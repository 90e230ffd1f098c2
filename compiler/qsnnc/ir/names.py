"""Unique names of populations."""

from __future__ import annotations


def free_name(wish: str, taken: set[str]) -> str:
    """Take a name that nothing has yet: the one wished for, or it and a number.

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
