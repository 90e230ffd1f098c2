"""The rules of FORMAT.md that join cores: who sends to whom, at which addresses, and how a step is signalled."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from chipsim.mapping.rules import refuse
from chipsim.paicore import words as w
from chipsim.paicore.memory import CoreMemory, Record, weights
from chipsim.paicore.program import Program


def check_wiring(program: Program, cores: list[CoreMemory], decoded: list[list[Record]]) -> None:
    """Check what joins the cores.

    Raises
    ------
    MappingError
        Names the core and the rule.
    """
    _signals(program, cores)
    fed = [np.zeros(512 << core.registers["lcn"], bool) for core in cores]
    at = {(core.x, core.y): number for number, core in enumerate(cores)}
    if program.in_flight > min(256 >> core.registers["lcn"] for core in cores):
        refuse("in_flight", f"is {program.in_flight}, more images than the input rows of a core hold", "map-rule")
    _deliveries(program, cores, at, fed)
    read = [_read(core, found) for core, found in zip(cores, decoded, strict=True)]
    potentials: list[npt.NDArray[np.int64]] = []
    for number, (core, found) in enumerate(zip(cores, decoded, strict=True)):
        for entry in found:
            if entry.part1["output_potential"]:
                _to_host(number, core, entry)
                potentials.append(entry.address)
            else:
                _to_cores(number, cores, entry, at, fed, read)
    _output(program, potentials)
    _synapses(program, cores, decoded, fed)


def _read(core: CoreMemory, found: list[Record]) -> npt.NDArray[np.bool_]:
    """Bit addresses of a core's input map that some neuron has a weight for, the lowest bit of each input."""
    width = w.WIDTHS[core.registers["input_width"]]
    mask = np.zeros(512 << core.registers["lcn"], bool)
    done: set[tuple[int, int, int, bytes]] = set()
    for entry in found:
        vector = entry.part1["weight_start"], entry.part1["weight_end"], entry.part2["compressed"]
        key = (*vector, entry.offset.tobytes())
        if key not in done:
            done.add(key)
            element, _ = weights(core, vector[0], vector[1], bool(vector[2]))
            for offset in np.unique(entry.offset).tolist():
                mask[element * width + offset] = True
    return mask


def _signals(program: Program, cores: list[CoreMemory]) -> None:
    """Every core takes part and hears of a step from the root, and what one sends the other receives."""
    at = {(core.x, core.y): core for core in cores}
    root = cores[program.root]
    waiting, heard = [(root.x, root.y)], set()
    while waiting:
        place = waiting.pop()
        if place in heard:
            continue
        heard.add(place)
        send = at[place].registers["global_send"]
        for (dx, dy), bit in w.DIRECTIONS.items():
            if send >> bit & 1:
                other = place[0] + dx, place[1] + dy
                if other not in at or not at[other].registers["global_receive"] >> (bit ^ 1) & 1:
                    refuse(f"core at {place}", f"signals to {other}, which does not receive from there", "map-rule")
                waiting.append(other)
    for number, core in enumerate(cores):
        if (core.x, core.y) not in heard or not core.registers["global_send"] >> w.PARTICIPANT & 1:
            refuse(f"core {number}", "takes no part in the signals of a step, so that it never runs", "map-rule")


def _feed(fed: npt.NDArray[np.bool_], addresses: npt.NDArray[np.int64], what: str, number: int) -> None:
    """Mark addresses as written; two senders to one address are refused."""
    if len(np.unique(addresses)) != len(addresses) or fed[addresses].any():
        refuse(what, f"writes an input of core {number} that another writes too", "map-rule")
    fed[addresses] = True


def _deliveries(
    program: Program, cores: list[CoreMemory], at: dict[tuple[int, int], int], fed: list[npt.NDArray[np.bool_]]
) -> None:
    for number, entry in enumerate(program.deliveries):
        what = f"delivery {number}"
        found = entry.addresses(program.encoder_shape, program.encoder.per_feature)
        rows = program.encoder_shape[1]
        if not entry.first_row <= entry.last_row < rows:
            refuse(what, f"sends rows {entry.first_row} to {entry.last_row}; allowed: 0 to {rows - 1}", "map-rule")
        sent = found[:, entry.first_row : entry.last_row + 1].reshape(-1)
        for copy in range(entry.copies + 1):
            place = entry.x, entry.y + copy
            if place not in at:
                refuse(what, f"goes to {place}, where no core is configured", "map-rule")
            _check_addresses(what, cores[at[place]], sent, program.encoder.width)
            _feed(fed[at[place]], sent, what, at[place])


def _check_addresses(what: str, target: CoreMemory, addresses: npt.NDArray[np.int64], width: int) -> None:
    if w.WIDTHS[target.registers["input_width"]] != width:
        refuse(what, f"sends {width} bits to a core that reads inputs of others", "map-rule")
    size = 512 << target.registers["lcn"]
    if addresses.min() < 0 or addresses.max() >= size or (addresses % width).any():
        refuse(what, f"goes beyond the {size} input bits of its core, or between two inputs", "map-rule")


def _to_cores(
    number: int,
    cores: list[CoreMemory],
    entry: Record,
    at: dict[tuple[int, int], int],
    fed: list[npt.NDArray[np.bool_]],
    read: list[npt.NDArray[np.bool_]],
) -> None:
    core, part = cores[number], entry.part1
    what = f"core {number}, row {entry.row}"
    if part["z"] or part["copies_z"] or part["copies_x"]:
        refuse(what, "sends along z or copies along x; allowed: an offset in x and y, and copies in y", "map-rule")
    step = 1 if part["copies_y"] >= 0 else -1
    for copy in range(abs(part["copies_y"]) + 1):
        place = core.x + part["x"], core.y + part["y"] + step * copy
        if place not in at:
            refuse(what, f"sends to {place}, where no core is configured", "map-rule")
        target = cores[at[place]]
        if target.registers["lcn"] != core.registers["target_lcn"]:
            refuse(what, f"sends to {place}, which has another LCN than target_lcn", "map-rule")
        _check_addresses(what, target, entry.address, w.WIDTHS[core.registers["output_width"]])
        late = target.registers["tick_start"] <= core.registers["tick_start"]
        if late and read[at[place]][entry.address].any():
            refuse(what, f"sends to {place}, which reads it and has already run", "map-rule")
        _feed(fed[at[place]], entry.address, what, at[place])


def _to_host(number: int, core: CoreMemory, entry: Record) -> None:
    part = entry.part1
    copies = part["copies_x"] or part["copies_y"] or part["copies_z"] or part["z"]
    if copies or (core.x + part["x"], core.y + part["y"]) != (0, 0):
        refuse(f"core {number}, row {entry.row}", "sends potentials elsewhere than to (0, 0)", "map-rule")
    if (entry.address // 512 >= 1 << core.registers["target_lcn"]).any():
        refuse(f"core {number}, row {entry.row}", "sends potentials in another image's slot", "map-rule")


def _output(program: Program, potentials: list[npt.NDArray[np.int64]]) -> None:
    """Every potential arrives at its element's address."""
    last = program.layers[-1]
    owner = np.repeat([core.layer for core in program.cores], [core.neurons for core in program.cores])
    element = program.neuron_element[owner == len(program.layers) - 1].astype(np.int64)
    arrives = np.concatenate(potentials) if potentials else np.zeros(0, np.int64)
    if len(element) != math.prod(last.shape):
        refuse(last.name, f"reads out {len(element)} of {math.prod(last.shape)} elements", "map-rule")
    if len(arrives) != len(element) or (arrives != program.output.base + 32 * element).any():
        refuse(last.name, "has potentials that arrive elsewhere than output says", "map-rule")


def _synapses(
    program: Program, cores: list[CoreMemory], decoded: list[list[Record]], fed: list[npt.NDArray[np.bool_]]
) -> None:
    """``synapses`` of a layer: weights that are not zero, of each neuron, whose input somebody writes."""
    sums = [0] * len(program.layers)
    for number, (core, found) in enumerate(zip(cores, decoded, strict=True)):
        width = w.WIDTHS[core.registers["input_width"]]
        written = fed[number][::width]
        counts: dict[tuple[int, int, int, bytes], int] = {}  # the levels of a channel read the same
        for entry in found:
            vector = entry.part1["weight_start"], entry.part1["weight_end"], entry.part2["compressed"]
            key = (*vector, entry.offset.tobytes())
            if key not in counts:
                element, _ = weights(core, vector[0], vector[1], bool(vector[2]))
                counts[key] = int(np.count_nonzero(written[element[None] + (entry.offset // width)[:, None]]))
            sums[program.cores[number].layer] += counts[key]
    for layer, count in zip(program.layers, sums, strict=True):
        if layer.synapses != count:
            refuse(layer.name, f"says synapses {layer.synapses}; its words hold {count}", "map-rule")
