"""Answer questions about the graph that several passes ask: which region ends in a tensor, what depends on it.

The answers depend on what is known of the tensors so far, so those about regions are cached until that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.state import Known
from qsnnc.frontend.linear.tensors import Accumulator
from qsnnc.frontend.model.model import Model, Node, downstream
from qsnnc.frontend.model.operators import ELEMENTWISE, JOINS, POOLS, RELABEL, WEIGHTED
from qsnnc.frontend.model.outcomes import ConstantActivation
from qsnnc.frontend.quantizers.levels import Levels, find_levels
from qsnnc.frontend.quantizers.levels_wide import find_wide
from qsnnc.frontend.quantizers.region import Region, varying

#: the input tensors of an elementwise region, and the ids of its nodes
Growth = tuple[frozenset[str], frozenset[int]]


class Analysis:
    """Cached answers about the graph; changes nothing."""

    def __init__(self, model: Model, known: Known) -> None:
        self._model = model
        self._known = known
        self.producer: Mapping[str, Node] = MappingProxyType({name: node for node in model.nodes for name in node.outputs})
        self._weighted = _before_weights(model)
        self._levels: dict[tuple[str, str, tuple[int, ...]], Levels | None] = {}
        self._growths: dict[tuple[str, frozenset[str]], Growth] = {}
        self._version = known.version
        self._unsaturated: dict[str, Callable[[Region], Levels | None]] = {}

    def region(self, end: str, stops: frozenset[str] = frozenset()) -> Region | None:
        """Return the elementwise region that ends in a tensor; None if it has several inputs or none.

        ``stops`` are tensors at which it must begin.
        """
        roots, inside = self.growth(end, stops)
        if len(roots) != 1:
            return None
        (root,) = roots
        if self._model.shapes.get(root) is None:
            return None
        nodes = tuple(node for node in self._model.nodes if id(node) in inside)
        return Region(self._model, root, end, nodes, self._axes(self._model, root, nodes))

    def part(self, region: Region, start: str) -> Region:
        """Return the part of a region after one of its tensors."""
        nodes = tuple(downstream(region.nodes, start))
        return Region(region.model, start, region.output, nodes, self._axes(region.model, start, nodes))

    def growth(self, end: str, stops: frozenset[str] = frozenset()) -> Growth:
        """Return the inputs of the elementwise region before a tensor, and the ids of its nodes."""
        if self._version != self._known.version:
            self._growths.clear()
            self._version = self._known.version
        if (end, stops) not in self._growths:
            self._growths[end, stops] = self._grow(end, stops)
        return self._growths[end, stops]

    def _grow(self, end: str, stops: frozenset[str]) -> Growth:
        roots: set[str] = set()
        inside: set[int] = set()
        pending = [end]
        while pending:
            name = pending.pop()
            node = self.producer.get(name)
            stop = name in self._known or name in stops or name in self._known.junctions
            if stop or node is None or node.op not in ELEMENTWISE:
                roots.add(name)
            elif id(node) not in inside:
                inside.add(id(node))
                pending += [n for n in node.inputs if n and n not in self._model.constants]
        return frozenset(roots), frozenset(inside)

    def _axes(self, model: Model, root: str, nodes: tuple[Node, ...]) -> tuple[int, ...]:
        """Return the axes along which f may differ: that of the channels, or those of the constants."""
        state = self._known.get(root)
        rank = len(model.shapes[root])
        if not rank:
            return ()
        axis = state.axis if isinstance(state, Accumulator) else 1
        varies = varying(model, nodes)
        if set(varies) <= {axis}:
            return (axis,)
        if len(varies) == 1 and not isinstance(state, Accumulator):
            return varies
        return tuple(range(1, rank + 1))

    def levels(self, region: Region) -> Levels | None:
        """Return the levels of a region by `find_levels`, or by `find_wide` if that finds none; once per region."""
        key = (region.input, region.output, region.axes)
        if key not in self._levels:
            self._levels[key] = find_levels(region) or find_wide(region) or self._reachable(region)
        return self._levels[key]

    def permit_unsaturated(self, end: str, find: Callable[[Region], Levels | None]) -> None:
        """Let a region that ends in a tensor have the levels that ``find`` returns, where it has no others."""
        self._unsaturated[end] = find
        for key in [key for key, found in self._levels.items() if found is None and key[1].startswith(end)]:
            del self._levels[key]

    def _reachable(self, region: Region) -> Levels | None:
        # what is moved before another operator ends in a tensor of that name with a mark behind it
        finds = (find for end, find in self._unsaturated.items() if region.output.split("[", 1)[0] == end.split("[", 1)[0])
        return next((levels for find in finds if (levels := find(region)) is not None), None)

    def is_on_chip(self, name: str) -> bool:
        """Return whether a tensor is computed elementwise from levels or from a linear operator on levels."""
        region = self.region(name)
        return region is not None and region.input in self._known

    def feeds_weights(self, name: str) -> bool:
        """Return whether a weighted operator depends on a tensor."""
        return name in self._weighted

    def leads_out(self, name: str) -> bool:
        """Return whether only the host depends on a tensor: no weighted operator reads it, nor is it quantized again."""
        return not self.feeds_weights(name) and not self.is_quantized_later(name)

    def is_quantized_later(self, name: str) -> bool:
        """Return whether a quantizer follows a tensor, with only operators in between that commute with it."""
        reached, stops = {name}, {name}
        ends = [self._model.output]
        for node in self._model.nodes:
            read = reached.intersection(node.inputs)
            if not read:
                continue
            if node.op in JOINS and len(self.growth(node.outputs[0], frozenset(stops))[0]) > 1:
                stops.update(node.outputs)
            if node.op not in ELEMENTWISE:
                ends += read
            if node.op in ELEMENTWISE | POOLS | RELABEL:
                reached.update(node.outputs)
        return any(end in reached and self.quantizes(end, frozenset(stops)) for end in ends)

    def quantizes(self, end: str, stops: frozenset[str] = frozenset()) -> bool:
        """Return whether the elementwise region before a tensor is a quantizer, or constant."""
        region = self.region(end, stops)
        if region is None:
            return False
        try:
            return self.levels(region) is not None
        except ConstantActivation:
            return True
        except ModelError:
            return False


def _before_weights(model: Model) -> frozenset[str]:
    """Return the tensors that a weighted operator depends on."""
    found: set[str] = set()
    for node in reversed(model.nodes):
        if node.op in WEIGHTED or not found.isdisjoint(node.outputs):
            found.update(name for name in node.inputs if name)
    return frozenset(found)
