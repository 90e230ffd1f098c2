"""Which populations travel as words: the assignment that takes few cores.

What a layer takes depends on how its sources travel, which sets the length of its weight vectors, and on how its own levels
do, which sets the number of its neurons. Both are found for each layer from four assignments of the whole network; the best
one is then put together from these figures, component by component.
"""

from __future__ import annotations

from collections.abc import Callable

from qsnnc.ir.layers import LayerGraph
from qsnnc.targets.paicore25.plan import MANY, Network, costs

Cost = tuple[int, int]
Key = tuple[str, bool, bool]  # layer, whether its sources are words, whether its own levels are


def choose(
    graph: LayerGraph, able: list[tuple[str, ...]], prepare: Callable[[frozenset[str]], Network | None]
) -> frozenset[str]:
    """Choose populations to travel as words.

    Parameters
    ----------
    able : list of tuple of str
        Components that can.
    prepare : callable
        The network with some populations as words; None where that is impossible.

    Returns
    -------
    frozenset of str
        Whole components.
    """
    known: dict[Key, Cost] = {}
    for assignment in _samples(able):
        network = prepare(assignment)
        if network is not None:
            for layer, cost in costs(network).items():
                key = _key(graph, layer, assignment)
                known[key] = min(known.get(key, cost), cost)
    chosen: frozenset[str] = frozenset()
    best = _total(graph, chosen, known)
    start = frozenset(name for component in able for name in component)
    if _total(graph, start, known) < best:
        chosen, best = start, _total(graph, start, known)
    improved = True
    while improved:
        improved = False
        for component in able:
            other = chosen ^ frozenset(component)
            found = _total(graph, other, known)
            if found < best:
                chosen, best, improved = other, found, True
    return chosen


def _samples(able: list[tuple[str, ...]]) -> list[frozenset[str]]:
    """None, all, and every second component, so that a layer is seen with both codes before it and both of its own."""
    picks = ((), able, able[::2], able[1::2])
    return list(dict.fromkeys(frozenset(name for component in pick for name in component) for pick in picks))


def _key(graph: LayerGraph, layer: str, words: frozenset[str]) -> Key:
    entry = next(each for each in graph.layers if each.name == layer)
    return layer, entry.connections[0].source in words, layer in words


def _total(graph: LayerGraph, words: frozenset[str], known: dict[Key, Cost]) -> Cost:
    found = [known.get(_key(graph, layer.name, words), (MANY, MANY)) for layer in graph.layers]
    return sum(cores for cores, _ in found), sum(rows for _, rows in found)
