"""Rows to cores: which neurons share a core, so that few cores hold all records, potentials, parameters and weights.

What one core stores once for several neurons, a weight vector and a Part 2, a second core stores again: this is bin
packing with shared items. `bound` counts every row once; `allocate` fills cores in several orders, cuts a channel only
at a core's end, and stops when the bound is met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from qsnnc.ir.layers import Int
from qsnnc.targets.paicore25.folding import Fold, fewest_rows, fold

#: fewest neurons that are worth a piece of their own at a core's end
WORTH_CUTTING = 4


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a Part 2 holds; neurons with the same share one."""

    threshold: int
    leak: int
    compressed: bool


@dataclass(frozen=True, eq=False)
class Neurons:
    """Neurons of one weight vector and one Part 2, in the order in which they are folded.

    ``table`` is the activation table that their core must have, -1 where they need none; ``group`` is where they send to, -1
    the host.
    """

    vector: int
    parameters: Parameters
    offset: Int  # (n,) where each reads
    address: Int  # (n,) where each sends to
    element: Int  # (n,) which element of the layer it is
    max_step: int
    table: int = -1
    group: int = -1

    @cached_property
    def folds(self) -> list[Fold]:
        """Its records."""
        return fold(self.offset, self.address, self.max_step)

    @cached_property
    def rows(self) -> int:
        """Rows of its records without Part 2."""
        return sum(each.rows for each in self.folds)

    def cut(self, first: int, stop: int) -> Neurons:
        """Some of its neurons."""
        where = slice(first, stop)
        return replace(self, offset=self.offset[where], address=self.address[where], element=self.element[where])

    def prefix(self, rows: int) -> int:
        """Most neurons from its first on that a number of rows holds."""
        low, high = 0, len(self.offset)
        while low < high:
            middle = (low + high + 1) // 2
            if sum(each.rows for each in fold(self.offset[:middle], self.address[:middle], self.max_step)) <= rows:
                low = middle
            else:
                high = middle - 1
        return low


@dataclass(slots=True)
class Contents:
    """A core while it is filled."""

    capacity: int
    sizes: Sequence[int]  # rows of each vector
    sequences: list[Neurons] = field(default_factory=list)
    vectors: set[int] = field(default_factory=set)
    parameters: set[Parameters] = field(default_factory=set)
    used: int = 0

    def cost(self, sequence: Neurons) -> int:
        """Rows that a sequence would add."""
        return sequence.rows + self.shared(sequence)

    def shared(self, sequence: Neurons) -> int:
        """Rows of its vector and Part 2 that are not there yet."""
        new = 0 if sequence.vector in self.vectors else self.sizes[sequence.vector]
        return new + (sequence.parameters not in self.parameters)

    def cost_of_all(self, sequences: Sequence[Neurons]) -> int:
        """Rows that sequences would add together."""
        vectors = {each.vector for each in sequences} - self.vectors
        parameters = {each.parameters for each in sequences} - self.parameters
        return sum(each.rows for each in sequences) + sum(self.sizes[v] for v in vectors) + len(parameters)

    def add(self, sequence: Neurons) -> None:
        """Take a sequence in."""
        self.used += self.cost(sequence)
        self.sequences.append(sequence)
        self.vectors.add(sequence.vector)
        self.parameters.add(sequence.parameters)

    @property
    def free(self) -> int:
        """Rows left."""
        return self.capacity - self.used


def bound(sequences: Sequence[Neurons], sizes: Sequence[int], capacity: int) -> int:
    """Cores that no allocation can go below: every record, vector and Part 2 takes its rows at least once.

    Neurons of one vector and one Part 2 are counted with the fewest rows that any folding gives them.
    """
    together: dict[tuple[int, Parameters], int] = {}
    for each in sequences:
        key = each.vector, each.parameters
        together[key] = together.get(key, 0) + len(each.offset)
    rows = sum(fewest_rows(count) for count in together.values())
    rows += sum(sizes[vector] for vector in {each.vector for each in sequences})
    rows += len({each.parameters for each in sequences})
    return -(-rows // capacity)


def allocate(sequences: Sequence[Neurons], sizes: Sequence[int], capacity: int) -> list[Contents] | None:
    """Fill cores; None where a single neuron with its weights is more than a core.

    Returns
    -------
    list of Contents
        Every neuron once.
    """
    fewest = bound(sequences, sizes, capacity)
    best: list[Contents] | None = None
    for order in _orders(sequences, sizes):
        for whole in (True, False):
            found = _fill(order, sizes, capacity, whole=whole)
            if found is not None and (best is None or len(found) < len(best)):
                best = found
            if best is not None and len(best) <= fewest:
                return best
    return best


def _orders(sequences: Sequence[Neurons], sizes: Sequence[int]) -> Iterator[list[list[Neurons]]]:
    """Channels (all sequences of a vector) in the orders that are tried."""
    by_vector: dict[int, list[Neurons]] = {}
    for each in sequences:
        by_vector.setdefault(each.vector, []).append(each)
    channels = list(by_vector.values())
    threshold: Callable[[list[Neurons]], tuple[int, int]] = lambda c: (c[0].parameters.leak, c[0].parameters.threshold)  # noqa: E731
    yield channels
    yield sorted(channels, key=threshold)
    yield sorted(channels, key=lambda c: -sizes[c[0].vector] - sum(each.rows for each in c))
    yield sorted(channels, key=lambda c: sizes[c[0].vector])


def _fill(channels: list[list[Neurons]], sizes: Sequence[int], capacity: int, *, whole: bool) -> list[Contents] | None:
    """First fit for channels that fit into an open core; what fits into none begins at the last core's end.

    With ``whole``, a channel that an empty core could hold is not cut.
    """
    cores: list[Contents] = []
    for channel in channels:
        home = next((core for core in cores if core.cost_of_all(channel) <= core.free), None)
        if home is None and whole:
            fresh = Contents(capacity, sizes)
            if fresh.cost_of_all(channel) <= capacity:
                cores.append(fresh)
                home = fresh
        if home is not None:
            for each in channel:
                home.add(each)
            continue
        for each in channel:
            if not _spread(each, cores, sizes, capacity):
                return None
    return cores


def _spread(sequence: Neurons, cores: list[Contents], sizes: Sequence[int], capacity: int) -> bool:
    """Put neurons into the last core as far as they go, the rest into new ones; False where a single one does not go."""
    rest = sequence
    while len(rest.offset):
        if cores and cores[-1].cost(rest) <= cores[-1].free:
            cores[-1].add(rest)
            return True
        fits = 0 if not cores else rest.prefix(cores[-1].free - cores[-1].shared(rest))
        if fits >= WORTH_CUTTING or (fits and not cores[-1].sequences):
            cores[-1].add(rest.cut(0, fits))
            rest = rest.cut(fits, len(rest.offset))
        elif cores and not cores[-1].sequences:
            return False
        else:
            cores.append(Contents(capacity, sizes))
    return True


def elements(cores: Sequence[Contents]) -> Int:
    """Elements that the cores hold, in no particular order."""
    parts = [each.element for core in cores for each in core.sequences]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
