"""What the configuration words make of each core, as arrays an engine can work with.

Nothing here knows layers: neurons, weights and routes are those of the records in a core's memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.paicore import words as w
from chipsim.paicore.fields import Int, Words
from chipsim.paicore.memory import CoreMemory, Record, load, records, weights

#: input rows of a core, and bits of one
INPUT_ROWS, ROW_BITS = 256, 512


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Weight vectors that are applied at the same places.

    A charge is one vector at one place: ``weights @ inputs[elements[place]]``, numbered vector by vector.
    """

    elements: Int  # (places, elements): inputs, counted from the first of a step
    weights: Int  # (vectors, elements); 0: no synapse


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Neurons of a core that send to another one, and the input that each writes there."""

    core: int  # number of the other core
    neurons: Int  # (n,)
    inputs: Int  # (n,), counted from the first of a step


@dataclass(frozen=True, slots=True, eq=False)
class Core:
    """A configured core. Its neurons are numbered record by record, within a record in the order of its fold."""

    x: int
    y: int
    registers: dict[str, int]
    banks: tuple[Bank, ...]
    charge: Int  # (n,): which charge of the banks, one bank after the other, each neuron has
    threshold: Int  # (n,)
    floor: Int  # (n,): no potential is below it
    leak: Int  # (n,): added in each step
    initial: Int  # (n,): potential after INIT
    reset: Int  # (n,): potential after a spike
    thresholds: Int  # (256,): of the activation table
    values: Int  # (256,)
    address: Int  # (n,): bit address that a neuron sends to, counted from the first input row of a step
    route: Words  # (n,): the frame that it sends, with slot, axon and data 0
    targets: tuple[Target, ...]
    host: Int  # (h,): neurons that send their potentials to (0, 0)

    @property
    def neurons(self) -> int:
        """Count the neurons."""
        return len(self.charge)

    @property
    def input_width(self) -> int:
        """Bits of an input."""
        return w.WIDTHS[self.registers["input_width"]]

    @property
    def output_width(self) -> int:
        """Bits of a value that is sent."""
        return w.WIDTHS[self.registers["output_width"]]

    @property
    def step_inputs(self) -> int:
        """Inputs that one step reads."""
        return (ROW_BITS << self.registers["lcn"]) // self.input_width

    def fanout(self) -> Int:
        """Return the synapses that read each input of a step, counted for each neuron, int64 (inputs,)."""
        found = np.zeros(self.step_inputs, np.int64)
        first = 0
        for bank in self.banks:
            charges = bank.weights.shape[0] * bank.elements.shape[0]
            own = self.charge[(self.charge >= first) & (self.charge < first + charges)] - first
            used = np.bincount(own, minlength=charges).reshape(len(bank.weights), -1)  # neurons, (vectors, places)
            np.add.at(found, bank.elements, used.T @ (bank.weights != 0))
            first += charges
        return found


def load_cores(words: Words) -> tuple[Core, ...]:
    """Execute configuration words that `validate_program` has passed.

    Raises
    ------
    WordError
        They are no frames, or make no records.
    """
    memories = load(words)
    number = {(memory.x, memory.y): k for k, memory in enumerate(memories)}
    return tuple(_core(memory, records(memory), memories, number) for memory in memories)


def _core(memory: CoreMemory, found: list[Record], memories: list[CoreMemory], number: dict[tuple[int, int], int]) -> Core:
    sizes = [entry.neurons for entry in found]

    def each(name: str) -> Int:
        return np.repeat(np.array([entry.part2[name] for entry in found], np.int64), sizes)

    banks, charge = _banks(memory, found)
    table = w.TABLE.unpack(memory.table[:, None])
    readout = np.repeat([bool(entry.part1["output_potential"]) for entry in found], sizes)
    return Core(
        x=memory.x,
        y=memory.y,
        registers=memory.registers,
        banks=banks,
        charge=charge,
        threshold=each("threshold"),
        floor=each("negative_threshold"),
        leak=each("leak"),
        initial=each("initial"),
        reset=each("reset"),
        thresholds=table["threshold"],
        values=table["value"],
        address=np.concatenate([entry.address for entry in found]),
        route=np.repeat(_frames(found), sizes),
        targets=_targets(memory, found, memories, number),
        host=np.flatnonzero(readout),
    )


def _frames(found: list[Record]) -> Words:
    """Return the frame that the neurons of each record send, without what differs from neuron to neuron."""
    keys = ("x", "y", "z", "copies_x", "copies_y", "copies_z")
    route = {key: np.array([entry.part1[key] for entry in found], np.int64) for key in keys}
    reads = np.array([entry.part1["output_potential"] for entry in found], np.int64)
    kind = np.where(reads == 1, w.WORK_POTENTIAL, w.WORK_DATA) >> 1
    return w.WORK.pack({"kind": kind, **route})[..., 0]


def _banks(memory: CoreMemory, found: list[Record]) -> tuple[tuple[Bank, ...], Int]:
    """Records that read at the same places share a bank, and those with one weight vector share its charges."""
    width = w.WIDTHS[memory.registers["input_width"]]
    vectors: dict[bytes, dict[tuple[int, int, int], int]] = {}
    places: dict[bytes, Int] = {}
    home: list[tuple[bytes, int]] = []
    for entry in found:
        key = entry.offset.tobytes()
        places[key] = entry.offset // width
        mine = vectors.setdefault(key, {})
        vector = entry.part1["weight_start"], entry.part1["weight_end"], entry.part2["compressed"]
        home.append((key, mine.setdefault(vector, len(mine))))
    banks = {key: _bank(memory, places[key], list(mine)) for key, mine in vectors.items()}
    first: dict[bytes, int] = {}
    total = 0
    for key, bank in banks.items():
        first[key] = total
        total += len(bank.weights) * len(bank.elements)
    charge = [first[key] + vector * len(places[key]) + np.arange(len(places[key])) for key, vector in home]
    return tuple(banks.values()), np.concatenate(charge)


def _bank(memory: CoreMemory, places: Int, keys: list[tuple[int, int, int]]) -> Bank:
    """Write vectors out over the elements that any of them reads; an element that stands in one twice counts twice."""
    read = [weights(memory, start, end, bool(compressed)) for start, end, compressed in keys]
    elements = np.unique(np.concatenate([element for element, _ in read]))
    matrix = np.zeros((len(read), len(elements)), np.int64)
    for row, (element, value) in zip(matrix, read, strict=True):
        np.add.at(row, np.searchsorted(elements, element), value)
    return Bank(places[:, None] + elements, matrix)


def _targets(
    memory: CoreMemory, found: list[Record], memories: list[CoreMemory], number: dict[tuple[int, int], int]
) -> tuple[Target, ...]:
    """Follow the route of each record: the offset in x and y, then copies in y."""
    neurons: dict[int, list[Int]] = {}
    addresses: dict[int, list[Int]] = {}
    first = 0
    for entry in found:
        own = first + np.arange(entry.neurons)
        first += entry.neurons
        if entry.part1["output_potential"]:
            continue
        for place in route(memory.x, memory.y, entry.part1):
            neurons.setdefault(number[place], []).append(own)
            addresses.setdefault(number[place], []).append(entry.address)
    return tuple(
        Target(
            core, np.concatenate(own), np.concatenate(addresses[core]) // w.WIDTHS[memories[core].registers["input_width"]]
        )
        for core, own in neurons.items()
    )


def route(x: int, y: int, part: dict[str, int]) -> list[tuple[int, int]]:
    """Return the cores that a frame from (x, y) reaches: one, and copies along y."""
    x, y = x + part["x"], y + part["y"]
    step = 1 if part["copies_y"] >= 0 else -1
    return [(x, y + step * copy) for copy in range(abs(part["copies_y"]) + 1)]
