"""Hold what is known of every tensor while the graph is visited. Only this file changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

from qsnnc.frontend.integerize.channel_order import Order
from qsnnc.frontend.layers.add_enumerated import Pair
from qsnnc.frontend.linear.tensors import Accumulator, Quantized, Terms
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Population


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Max pool of an unquantized accumulator: moved after the quantizer when that is found."""

    before: str  # the pool's input tensor
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """Data movement of an unquantized tensor: moved after the quantizer when that is found."""

    before: str  # the operator's input tensor
    node: Node
    output: str


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """A Concat of unquantized tensors: moved after the quantizer, operand by operand, when that is found."""

    node: Node


State = Quantized | Accumulator | Pair | Pooled | Moved | Gathered


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """The encoder: its levels, which the host sends to the chip."""

    population: Population
    region: Region | None  # the elementwise operators before its levels; None if the image itself is the input
    turns: bool = False  # whether they are nonmonotonic
    order: Order | None = None  # in which the levels are sent; None: as in the region's output


class Known:
    """What is known of each tensor so far; exists for one call of `integerize`.

    A tensor without a state is computed by the host only, is inside an elementwise region, or could not be compiled.
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
        """Number of changes so far that may change where an elementwise region begins."""
        return self._version

    @property
    def host(self) -> Set[str]:
        """Tensors that only the host computes."""
        return self._host

    @property
    def junctions(self) -> Set[str]:
        """Host tensors computed from several host tensors; elementwise regions begin there."""
        return self._junctions

    @property
    def pairs(self) -> Mapping[str, Pair]:
        """Sums of two tensors of levels whose pairs of levels can be enumerated, by tensor name."""
        return MappingProxyType(self._pairs)

    @property
    def steps(self) -> Mapping[str, Terms]:
        """Nonmonotonic activations: steps up and steps down, whose difference is the level."""
        return MappingProxyType(self._steps)

    @property
    def implicit(self) -> Mapping[str, Quantized | None]:
        """Levels of materialised tensors; None for a tensor that cannot be materialised."""
        return MappingProxyType(self._implicit)

    @property
    def encoder(self) -> Encoder | None:
        """The encoder; None until it is found."""
        return self._encoder

    def get(self, name: str) -> State | None:
        """Return the state of a tensor; None if it has none."""
        return self._states.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._states

    def define(self, name: str, state: State) -> None:
        """Record the state of a tensor."""
        self._version += name not in self._states
        self._states[name] = state

    def define_steps(self, name: str, steps: Terms, sums: Accumulator) -> None:
        """Record that a tensor is a nonmonotonic activation."""
        self._steps[name] = steps
        self.define(name, sums)

    def define_pair(self, name: str, pair: Pair) -> None:
        """Record the two tensors whose sum a tensor is, in addition to its state."""
        self._pairs[name] = pair

    def define_implicit(self, name: str, levels: Quantized | None) -> None:
        """Record the levels of a materialised tensor."""
        self._implicit[name] = levels

    def leave_to_host(self, names: Iterable[str], *, junction: bool = False) -> None:
        """Record that only the host computes some tensors."""
        names = list(names)
        self._host.update(names)
        if junction:
            self._version += 1
            self._junctions.update(names)

    def hand_over(self, encoder: Encoder) -> None:
        """Record the encoder."""
        self._encoder = encoder
