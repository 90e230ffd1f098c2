"""What is known of every tensor while the graph is walked. Only this file changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

from qsnnc.frontend.layers.add_enumerated import Pair
from qsnnc.frontend.linear.tensors import Accumulator, Quantized, Terms
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Population


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
    """A Concat of unquantized tensors: moved behind the quantizer, operand by operand, when that is found."""

    node: Node


State = Quantized | Accumulator | Pair | Pooled | Moved | Gathered


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """What the host hands over to the chip."""

    population: Population
    region: Region | None  # the elementwise operators that end in it; None where the image itself enters the chip
    turns: bool = False  # whether those rise and fall


class Known:
    """What is known of each tensor so far; lives for one call of `integerize`.

    A tensor that is not known is one that only the host computes, one inside an elementwise region, or one that nothing
    could be found out about.
    """

    def __init__(self, host: Iterable[str] = ()) -> None:
        self._states: dict[str, State] = {}
        self._host = set(host)
        self._junctions: set[str] = set()
        self._pairs: dict[str, Pair] = {}
        self._steps: dict[str, Terms] = {}
        self._implicit: dict[str, Quantized | None] = {}
        self._encoder: Encoder | None = None
        self._version = 0

    @property
    def version(self) -> int:
        """Counts the changes after which an elementwise region may begin elsewhere."""
        return self._version

    @property
    def host(self) -> Set[str]:
        """Tensors that only the host computes."""
        return self._host

    @property
    def junctions(self) -> Set[str]:
        """Those of the host's in which several of its tensors meet: elementwise regions begin there."""
        return self._junctions

    @property
    def pairs(self) -> Mapping[str, Pair]:
        """Sums of two tensors of levels, by their tensor, where each pair of levels can be enumerated."""
        return MappingProxyType(self._pairs)

    @property
    def steps(self) -> Mapping[str, Terms]:
        """Activations that rise and fall: steps up and steps down, whose difference is the level."""
        return MappingProxyType(self._steps)

    @property
    def implicit(self) -> Mapping[str, Quantized | None]:
        """Levels of tensors behind which no quantizer stands; None where there are none."""
        return MappingProxyType(self._implicit)

    @property
    def encoder(self) -> Encoder | None:
        """What the host hands over; None until that is found."""
        return self._encoder

    def get(self, name: str) -> State | None:
        """What a tensor is known to be."""
        return self._states.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._states

    def define(self, name: str, state: State) -> None:
        """Say what a tensor is."""
        self._version += name not in self._states
        self._states[name] = state

    def define_steps(self, name: str, steps: Terms, sums: Accumulator) -> None:
        """Say that a tensor is an activation that rises and falls."""
        self._steps[name] = steps
        self.define(name, sums)

    def define_pair(self, name: str, pair: Pair) -> None:
        """Keep, beside the sums that a tensor is, the two tensors that were added."""
        self._pairs[name] = pair

    def define_implicit(self, name: str, levels: Quantized | None) -> None:
        """Keep the levels of a tensor behind which no quantizer stands."""
        self._implicit[name] = levels

    def leave_to_host(self, names: Iterable[str], *, junction: bool = False) -> None:
        """Say that only the host computes some tensors."""
        names = list(names)
        self._host.update(names)
        if junction:
            self._version += 1
            self._junctions.update(names)

    def hand_over(self, encoder: Encoder) -> None:
        """Say what the host hands over to the chip."""
        self._encoder = encoder
