"""PAICORE 2.5 at work, an image a column: what its data sheet would say of a step.

    for core in cores that are due:
        read()        the 2 ** lcn input rows that belong to this step of the core
        integrate()   charge = the sum of weight * input, or the largest input
        fire()        a spike where potential >= threshold, or the value that the activation table gives
    for core in cores that were:
        send()        each value other than 0 to the rows of the next core's step; read-out potentials to the host

A core is due in step t of the chip where t >= tick_start, and then tick_duration times (0: without end). It counts its own
steps from 0 and reads, in each, the next rows: input row (step * 2 ** lcn) % 256 is the first. Rows are empty once they were
read. Whether overflow wraps and at which point a potential is sampled is not published; no potential of a ``.paicore``
overflows, and it is sampled before its reset, as the chip team's simulator does provisionally.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.paicore.cores import INPUT_ROWS, ROW_BITS, Bank, Core
from chipsim.paicore.fields import Int

Values = npt.NDArray[np.uint8]
#: inputs that are held as floats at a time
GATHERED = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Fired:
    """What a core did in a step."""

    core: int
    step: int  # of the core, from 0
    potentials: Int  # (neurons, columns), before any reset
    values: Values  # (neurons, columns): 0 where nothing is sent


class Machine:
    """A chip with its cores configured, as so many columns that never meet."""

    def __init__(self, cores: tuple[Core, ...], columns: int) -> None:
        self.cores, self.columns = cores, columns
        self.inputs = [np.zeros((INPUT_ROWS * ROW_BITS // core.input_width, columns), np.uint8) for core in cores]
        self.potential: list[Int] = []
        self.init()

    def init(self) -> None:
        """INIT: potentials to their initial value, input memory cleared, step 0."""
        self.potential = [np.tile(core.initial[:, None], self.columns) for core in self.cores]
        for rows in self.inputs:
            rows.fill(0)
        self.steps = [0] * len(self.cores)
        self.tick = 0

    def write(self, core: int, inputs: Int, values: Values, slot: int = 0) -> None:
        """Take data frames from the host.

        Parameters
        ----------
        inputs : ndarray, int64, (n,)
            Inputs of the core, counted from the first of a step.
        values : ndarray, uint8, (n, columns)
            0: no frame.
        slot : int
            Input row at which the step begins for which they are.
        """
        place = (inputs + slot * (ROW_BITS // self.cores[core].input_width)) % len(self.inputs[core])
        self.inputs[core][place] = np.where(values > 0, values, self.inputs[core][place])

    def sync(self, steps: int) -> Iterator[list[Fired]]:
        """SYNC: run so many steps; what the cores did in each."""
        for _ in range(steps):
            self.tick += 1
            fired = [self._run(number) for number in range(len(self.cores)) if self._due(number)]
            for entry in fired:
                self._send(entry)
            yield fired

    def _due(self, number: int) -> bool:
        r = self.cores[number].registers
        return self.tick >= r["tick_start"] > 0 and not 0 < r["tick_duration"] <= self.steps[number]

    def _run(self, number: int) -> Fired:
        core, step = self.cores[number], self.steps[number]
        every = core.registers["tick_initial"]
        if every and step and step % every == 0:
            self.potential[number] = np.tile(core.initial[:, None], self.columns)
        charge = integrate(core, self._read(number))[core.charge]
        held = charge if core.registers["max_pooling"] else self.potential[number] + charge
        potential = np.maximum(held + core.leak[:, None], core.floor[:, None])
        values = fire(core, potential)
        self.potential[number] = np.where(values > 0, core.reset[:, None], potential)
        self.steps[number] += 1
        return Fired(number, step, potential, values)

    def _read(self, number: int) -> Values:
        """Return the inputs of this step, uint8 (inputs, columns), and leave empty rows."""
        core = self.cores[number]
        size = core.step_inputs
        first = self.steps[number] * size % len(self.inputs[number])  # 2 ** lcn divides 256: a step's rows are in one piece
        found = self.inputs[number][first : first + size].copy()
        self.inputs[number][first : first + size] = 0
        return found

    def _send(self, fired: Fired) -> None:
        core = self.cores[fired.core]
        slot = fired.step << core.registers["target_lcn"]
        for target in core.targets:
            self.write(target.core, target.inputs, fired.values[target.neurons], slot)


def integrate(core: Core, inputs: Values) -> Int:
    """Return the charges of a core's banks, int64 (charges, columns)."""
    join = _largest if core.registers["max_pooling"] else _sum
    found = [join(bank, inputs) for bank in core.banks]
    return np.concatenate(found).astype(np.int64)


def _sum(bank: Bank, inputs: Values) -> npt.NDArray[np.floating]:
    """Sum of weight * input for each vector and place, (vectors * places, columns)."""
    columns = inputs.shape[1]
    exact = np.float32 if int(np.abs(bank.weights).sum(axis=1).max(initial=0)) * 255 < 1 << 24 else np.float64
    weights = bank.weights.astype(exact)
    found = np.zeros((len(weights), len(bank.elements), columns), exact)
    share = max(1, GATHERED // max(1, bank.elements.shape[1] * columns))
    for first in range(0, len(bank.elements), share):
        part = slice(first, first + share)
        read = inputs[bank.elements[part]].astype(exact)  # (places, elements, columns)
        found[:, part] = np.matmul(weights, read).swapaxes(0, 1)
    return found.reshape(-1, columns)


def _largest(bank: Bank, inputs: Values) -> Values:
    """Largest input that a weight is not 0 for, (vectors * places, columns); 0 without any."""
    found = [
        inputs[bank.elements[:, row != 0]].max(axis=1, initial=0) for row in bank.weights
    ]  # inputs are unsigned: an empty maximum is 0
    return np.concatenate(found)


def fire(core: Core, potential: Int) -> Values:
    """Return what each neuron sends: a spike or, in ANN mode, the value that the table gives, uint8 (neurons, columns)."""
    if not core.registers["snn_ann"]:
        return (potential >= core.threshold[:, None]).astype(np.uint8)
    return look_up(core, potential)


def look_up(core: Core, potential: Int) -> Values:
    """Find potentials in the activation table: bisect over the bits of the output, the highest first."""
    bits = core.output_width
    block = len(core.values) >> bits
    at = np.zeros(potential.shape, np.int64)
    for bit in reversed(range(bits)):
        candidate = at | 1 << bit
        at = np.where(potential >= core.thresholds[candidate * block], candidate, at)
    return (core.values[at * block] & ((1 << bits) - 1)).astype(np.uint8)
