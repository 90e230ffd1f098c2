"""Places on the chip: runs of cores that one neuron's copies reach, and the tree that signals a step.

A neuron has one destination and copies of it; copies along y are the only ones that the chip's two public models agree on.
So the cores of a group that the chip feeds stand in one vertical run; cores that only the host feeds stand anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from chipsim.chip import PaicoreSpec
from chipsim.paicore.words import DIRECTIONS, PARTICIPANT

XY = tuple[int, int]


def segments(chip: PaicoreSpec) -> list[list[XY]]:
    """Working cores of each column, cut where one is dead; from the host's side outwards."""
    found: list[list[XY]] = []
    for place in chip.places:
        if found and found[-1][-1] == (place[0], place[1] - 1):
            found[-1].append(place)
        else:
            found.append([place])
    return found


def place(runs: Sequence[int], single: int, chip: PaicoreSpec) -> tuple[list[list[XY]], list[XY]] | None:
    """Find a place for every run and every single core, so that all of them touch.

    Parameters
    ----------
    runs : sequence of int
        Cores of each vertical run.
    single : int
        Cores that may stand anywhere.

    Returns
    -------
    tuple or None
        Places of each run, from the lowest, and those of the single cores; None where none were found.
    """
    free = segments(chip)
    taken: list[list[XY]] = [[] for _ in runs]
    for number in sorted(range(len(runs)), key=lambda n: -runs[n]):
        home = next((each for each in free if len(each) >= runs[number]), None)
        if home is None:
            return None
        taken[number] = home[: runs[number]]
        del home[: runs[number]]
    rest = [xy for each in free for xy in each]
    if len(rest) < single:
        return None
    used = {xy for run in taken for xy in run}
    alone: list[XY] = []
    for _ in range(single):  # beside what is there already
        near = next((xy for xy in rest if not used or any(_touch(xy, other) for other in used)), rest[0])
        rest.remove(near)
        used.add(near)
        alone.append(near)
    every = [*(xy for run in taken for xy in run), *alone]
    return (taken, alone) if signals(every) is not None else None


def _touch(a: XY, b: XY) -> bool:
    return (b[0] - a[0], b[1] - a[1]) in DIRECTIONS


def signals(places: Sequence[XY]) -> tuple[list[int], list[int]] | None:
    """``global_send`` and ``global_receive`` of each core: a tree from the first; None where some are not reached."""
    at = {xy: number for number, xy in enumerate(places)}
    send, receive = [1 << PARTICIPANT] * len(places), [0] * len(places)
    waiting, seen = deque([0]), {0}
    while waiting:
        here = waiting.popleft()
        for (dx, dy), bit in DIRECTIONS.items():
            there = at.get((places[here][0] + dx, places[here][1] + dy))
            if there is not None and there not in seen:
                seen.add(there)
                waiting.append(there)
                send[here] |= 1 << bit
                receive[there] |= 1 << (bit ^ 1)
    return (send, receive) if len(seen) == len(places) else None
