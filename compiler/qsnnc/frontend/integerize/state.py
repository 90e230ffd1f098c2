"""What is known of every tensor while the graph is walked, and the elementwise regions between."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from qsnnc.errors import ModelError
from qsnnc.frontend.host.pixel_input import Pixels
from qsnnc.frontend.layers.add_enumerated import Pair
from qsnnc.frontend.linear.tensors import Accumulator, Quantized, Terms
from qsnnc.frontend.model.layer_names import Namer
from qsnnc.frontend.model.model import Model, Node, downstream
from qsnnc.frontend.model.operators import ELEMENTWISE, JOINS, POOLS, RELABEL, WEIGHTED
from qsnnc.frontend.quantizers.levels import Levels, find_levels
from qsnnc.frontend.quantizers.levels_wide import find_wide
from qsnnc.frontend.quantizers.region import Region, varying
from qsnnc.ir.layers import Layer, Population


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Max pool of an unquantized accumulator: moved behind the quantizer when that is found."""

    before: str  # the pool's input tensor
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """An unquantized tensor in another order or shape: moved behind the quantizer when that is found."""

    before: str  # the operator's input tensor
    node: Node
    output: str


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """A Concat of unquantized tensors: moved behind the quantizer, arm by arm, when that is found."""

    node: Node


State = Quantized | Accumulator | Pair | Pooled | Moved | Gathered


@dataclass(slots=True)
class Walk:
    """What is known so far; lives for one call of `integerize`."""

    model: Model
    namer: Namer
    producer: dict[str, Node]
    host: set[str]  # tensors that only the host computes
    meets: set[str] = field(default_factory=set)  # those in which several of the host's meet: regions begin there
    state: dict[str, State] = field(default_factory=dict)
    pairs: dict[str, Pair] = field(default_factory=dict)  # sums of two tensors of levels, by their tensor
    settled: dict[str, Quantized | None] = field(default_factory=dict)  # levels of tensors that no quantizer closes
    turning: dict[str, Terms] = field(default_factory=dict)  # levels that rise and fall: steps up and steps down
    encoder: Population | None = None
    encoder_region: Region | None = None
    encoder_turns: bool = False  # whether what the host hands over rises and falls
    layers: list[Layer] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    pixels: Pixels | None = None  # where the image itself is to enter the chip
    _levels: dict[tuple[str, str, tuple[int, ...]], Levels | None] = field(default_factory=dict)

    def region(self, end: str, stops: frozenset[str] = frozenset()) -> Region | None:
        """The elementwise region that ends in a tensor; None where it grows from two roots or from none.

        ``stops`` are tensors that it must not grow beyond, whatever they will turn out to be.
        """
        roots, inside = self.growth(end, stops)
        if len(roots) != 1:
            return None
        root = roots.pop()
        if not self.model.shapes.get(root):
            return None
        nodes = tuple(node for node in self.model.nodes if id(node) in inside)
        return Region(self.model, root, end, nodes, self._axes(root, nodes))

    def part(self, region: Region, start: str) -> Region:
        """The part of a region that one of its tensors leads to."""
        nodes = tuple(downstream(region.nodes, start))
        return Region(self.model, start, region.end, nodes, self._axes(start, nodes))

    def growth(self, end: str, stops: frozenset[str] = frozenset()) -> tuple[set[str], set[int]]:
        """Roots of the elementwise part before a tensor, and the ids of its nodes."""
        roots: set[str] = set()
        inside: set[int] = set()
        pending = [end]
        while pending:
            name = pending.pop()
            node = self.producer.get(name)
            stop = name in self.state or name in stops or name in self.meets
            if stop or node is None or node.op not in ELEMENTWISE:
                roots.add(name)
            elif id(node) not in inside:
                inside.add(id(node))
                pending += [n for n in node.inputs if n and n not in self.model.constants]
        return roots, inside

    def _axes(self, root: str, nodes: tuple[Node, ...]) -> tuple[int, ...]:
        """Along which axes f may differ: the channels', or all where constants say so."""
        known = self.state.get(root)
        rank = len(self.model.shapes[root])
        axis = known.axis if isinstance(known, Accumulator) else 1
        varies = varying(self.model, nodes)
        if set(varies) <= {axis}:
            return (axis,)
        if len(varies) == 1 and not isinstance(known, Accumulator):
            return varies
        return tuple(range(1, rank + 1))

    def levels(self, region: Region) -> Levels | None:
        """`find_levels`, or `find_wide` where those are too many, once a region."""
        key = (region.root, region.end, region.axes)
        if key not in self._levels:
            self._levels[key] = find_levels(region) or find_wide(region)
        return self._levels[key]

    def unused(self, wish: str) -> str:
        """A layer's name: the wish, unless a layer was called so already."""
        name = self.namer.text(wish) if wish in self._names else wish
        self._names.add(name)
        return name

    def add(self, layer: Layer) -> None:
        """Append a layer; a tensor that only a spelling has is none that the reference could be asked for."""
        assert all(layer.name != other.name for other in self.layers), layer.name
        known = not layer.tensor or layer.tensor in self.model.written
        self.layers.append(layer if known else replace(layer, tensor=""))

    def is_ours(self, name: str) -> bool:
        """Whether a tensor comes, elementwise, from levels or from a linear operator on levels."""
        region = self.region(name)
        return region is not None and region.root in self.state

    def feeds_weights(self, name: str) -> bool:
        """Whether a weighted operator reads what follows from a tensor."""
        reached = {name}
        for node in self.model.nodes:
            if reached.intersection(node.inputs):
                if node.op in WEIGHTED:
                    return True
                reached.update(node.outputs)
        return False

    def leads_out(self, name: str) -> bool:
        """Whether what follows from a tensor is the host's: no weighted operator reads it, nor is it quantized again."""
        return not self.feeds_weights(name) and not self.is_quantized_later(name)

    def is_quantized_later(self, name: str) -> bool:
        """Whether a quantizer comes behind a tensor, with only what can be moved over it between."""
        reached, stops = {name}, {name}
        ends = [self.model.output]
        for node in self.model.nodes:
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
        """Whether the elementwise part before a tensor is a quantizer, or a constant."""
        region = self.region(end, stops)
        if region is None:
            return False
        try:
            return self.levels(region) is not None
        except ModelError as error:
            return error.code == "constant-activation"
