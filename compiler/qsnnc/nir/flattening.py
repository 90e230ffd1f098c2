"""Flatten nested graphs and order nodes by their edges; names and the order in the file mean nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace

from qsnnc.errors import ModelError
from qsnnc.nir.network import Network, Node


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """Nodes from input to output, each after those that it reads; no graph within it."""

    nodes: tuple[Node, ...]
    sources: dict[str, tuple[str, ...]]  # names of the nodes that each node reads, summed
    readers: dict[str, tuple[str, ...]]  # names of the nodes that read each node
    network: Network

    @property
    def input(self) -> Node:
        """The one node of type Input."""
        return next(node for node in self.nodes if node.type == "Input")

    @property
    def output(self) -> Node:
        """The one node of type Output."""
        return next(node for node in self.nodes if node.type == "Output")


def flatten(network: Network) -> Flat:
    """Flatten a network.

    Raises
    ------
    ModelError
        An edge names no node; there is a cycle; there is not one input and one output; a node is not between them.
    """
    nodes, edges = _inlined(network, "", depth=0)
    for edge in edges:
        for end in edge:
            if end not in nodes:
                raise ModelError(
                    network.path, f"an edge names the node {end!r}, which does not exist; export the network again",
                    code="nir-graph", found=end,
                )  # fmt: skip
    for kind in ("Input", "Output"):
        count = sum(node.type == kind for node in nodes.values())
        if count != 1:
            raise ModelError(
                network.path, f"has {count} nodes of type {kind}; allowed: 1. Export one input and one output",
                code="nir-graph", found=count, allowed=1,
            )  # fmt: skip
    sources: dict[str, list[str]] = {name: [] for name in nodes}
    readers: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        sources[target].append(source)
        readers[source].append(target)
    order = _ordered(nodes, sources, readers)
    return _checked(Flat(order, _frozen(sources), _frozen(readers), network))


def _frozen(ends: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(each) for name, each in ends.items()}


def _inlined(network: Network, prefix: str, depth: int) -> tuple[dict[str, Node], list[tuple[str, str]]]:
    """Return nodes and edges with the graphs within taken apart; theirs are called OUTER.INNER."""
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []
    ends: dict[str, tuple[list[str], list[str]]] = {}  # of each graph within: its input and its output
    for name, node in network.nodes.items():
        whole = prefix + name
        if whole in nodes:
            raise ModelError(
                whole, "is the name of two nodes once the graphs within are flattened; rename one", code="nir-graph"
            )
        if node.inner is None:
            metadata = {**network.metadata, **node.metadata} if depth else dict(node.metadata)
            nodes[whole] = replace(node, name=whole, metadata=metadata)
            continue
        inner, between = _inlined(node.inner, whole + ".", depth + 1)
        mine = [n for n in inner if "." not in n[len(whole) + 1 :]]
        first = [n for n in mine if inner[n].type == "Input"]
        last = [n for n in mine if inner[n].type == "Output"]
        if len(first) != 1 or len(last) != 1:
            raise ModelError(
                whole,
                f"is a graph of {len(first)} inputs and {len(last)} outputs; allowed: one each",
                code="nir-graph",
                node=whole,
            )
        for end in (*first, *last):  # an end of a graph within passes its value on
            inner[end] = replace(inner[end], type="Identity")
        ends[whole] = (first, last)
        twice = next((n for n in inner if n in nodes), None)
        if twice is not None:
            raise ModelError(
                whole, f"has a node that another node is called as: {twice!r}; rename one", code="nir-graph", node=twice
            )
        nodes |= inner
        edges += between
    for source, target in network.edges:
        a, b = prefix + source, prefix + target
        edges += [(x, y) for x in ends.get(a, ([], [a]))[1] for y in ends.get(b, ([b], []))[0]]
    return nodes, list(dict.fromkeys(edges))


def _ordered(nodes: dict[str, Node], sources: dict[str, list[str]], readers: dict[str, list[str]]) -> tuple[Node, ...]:
    """Sort topologically; among those that are ready the first by name, so that the order in the file changes nothing."""
    waiting = {name: len(each) for name, each in sources.items()}
    ready = [name for name, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        name = heapq.heappop(ready)
        order.append(nodes[name])
        for reader in readers[name]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = _cycle({name for name, count in waiting.items() if count}, sources)
        alone, end = len(stuck) == 1, stuck[0] if len(stuck) <= 6 else "..."
        raise ModelError(
            stuck[0],
            f"{'reads itself' if alone else 'is in a cycle (' + ' -> '.join([*stuck[:6], end]) + ')'}: recurrent networks "
            "cannot be compiled; remove the recurrent connection",
            code="nir-graph", node=stuck[0], found=stuck[:20],
        )  # fmt: skip
    return tuple(order)


def _cycle(left: Iterable[str], sources: dict[str, list[str]]) -> list[str]:
    """Return the nodes of one cycle among those that are left, in the direction of the edges."""
    rest = set(left)
    name = min(rest)
    seen: dict[str, int] = {}
    path: list[str] = []
    while name not in seen:
        seen[name] = len(path)
        path.append(name)
        name = min(source for source in sources[name] if source in rest)
    found = path[seen[name] :][::-1]
    first = found.index(min(found))
    return found[first:] + found[:first]


def _checked(flat: Flat) -> Flat:
    """Refuse nodes that do not lie between input and output."""
    for node in flat.nodes:
        if node.type == "Input" and flat.sources[node.name]:
            raise ModelError(
                node.name, "is an input that reads another node; remove that edge", code="nir-graph", node=node.name
            )
        if node.type != "Input" and not flat.sources[node.name]:
            raise ModelError(
                node.name, f"{node.type} reads nothing; connect it or remove it", code="nir-graph", node=node.name
            )
        if node.type != "Output" and not flat.readers[node.name]:
            raise ModelError(
                node.name, f"{node.type} is read by nothing; connect it or remove it", code="nir-graph", node=node.name
            )
    return flat
