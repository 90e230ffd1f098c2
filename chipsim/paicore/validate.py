"""The rules of FORMAT.md that concern one core, each checked on its words; those of what joins cores stand in `wiring`."""

from __future__ import annotations

import math

import numpy as np

from chipsim.mapping.rules import refuse
from chipsim.paicore import words as w
from chipsim.paicore.fields import Int
from chipsim.paicore.memory import CoreMemory, Record, WordError, load, records, weights
from chipsim.paicore.program import THERMOMETER, VALUE, Program, Signal
from chipsim.paicore.wiring import check_wiring

#: registers that have one value in every core; what else they can hold is not used, and not executed
FIXED_REGISTERS = {
    "add_potential": 0,
    "zero_output": 0,
    "input_sign": 0,
    "output_sign": 0,
    "axon_skew": 0,
    "csc_accelerate": 0,
    "thread_number": 0,
    "tick_initial": 0,
}
#: and parameters of every neuron
FIXED_PARAMETERS = {
    "initial": 0,
    "leak_tau": 0,
    "leak_add_mode": 0,
    "leak_multi_mode": 0,
    "leak_multi_input": 0,
    "leak_multi_sequence": 0,
    "lateral_inhibition": 0,
    "floor": 1,
    "ceiling": 0,
    "reset": 0,
    "reset_mode": 0,
}
#: smallest value of the registers that time signals, paicorelib 2.0.0 (core_model_v2)
LEAST_CYCLES = 2


def validate_program(program: Program) -> None:
    """Check every rule.

    Raises
    ------
    MappingError
        Names the core, the row and the rule.
    """
    _manifest(program)
    try:
        memories = load(program.words)
    except WordError as error:
        refuse("words", f"{error}; compile it again", "map-rule")
    placed = [(core.x, core.y) for core in memories]
    if placed != [(core.x, core.y) for core in program.cores]:
        refuse("words", f"configure the cores {placed}; mapping.yaml lists others", "map-rule")
    decoded = []
    for number, memory in enumerate(memories):
        try:
            found = records(memory)
            _registers(program, number, memory)
            _records(program, number, memory, found)
        except WordError as error:
            refuse(f"core {number}", f"{error}; compile it again", "map-rule")
        decoded.append(found)
    _elements(program)
    check_wiring(program, memories, decoded)


def _manifest(program: Program) -> None:
    for entry in (program.encoder, *program.layers):
        _code(entry)
        if math.prod(entry.shape) * entry.per_feature >= 1 << 24:
            refuse(entry.name, f"has the shape {list(entry.shape)}; allowed: less than 2**24 inputs", "map-rule")
    if program.encoder.levels < 1:
        refuse("encoder", "has no levels; allowed: at least 1", "map-rule")
    if math.prod(program.encoder_shape) != math.prod(program.encoder.shape):
        refuse("encoder_shape", f"is {list(program.encoder_shape)}, other than shape holds", "map-rule")
    if program.encoder_onnx is None and math.prod(program.input.shape) != program.encoder_inputs:
        refuse("input", f"needs one value for each of {program.encoder_inputs} spikes", "map-rule")
    places = set(program.chip.places)
    for number, core in enumerate(program.cores):
        if (core.x, core.y) not in places:
            refuse(f"core {number}", f"stands at ({core.x}, {core.y}), no core of the chip that works", "map-rule")
        if core.layer >= len(program.layers):
            refuse(f"core {number}", f"has layer {core.layer}; allowed: 0 to {len(program.layers) - 1}", "map-rule")
    if program.root >= len(program.cores):
        refuse("root", f"is core {program.root}; allowed: 0 to {len(program.cores) - 1}", "map-rule")
    for number, layer in enumerate(program.layers):
        last = number == len(program.layers) - 1
        if (layer.levels == 0) != last:
            refuse(layer.name, "only the last layer is read out, and it has no levels", "map-rule")
        if not 1 <= layer.tick <= program.steps or (last and layer.tick != program.steps):
            refuse(layer.name, f"has tick {layer.tick}; allowed: 1 to {program.steps}", "map-rule")
        mine = [core for core in program.cores if core.layer == number]
        for key, found in (("cores", len(mine)), ("neurons", sum(core.neurons for core in mine))):
            if getattr(layer, key) != found:
                refuse(layer.name, f"says {key} {getattr(layer, key)}; its cores hold {found}", "map-rule")


def _code(entry: Signal) -> None:
    if entry.code == THERMOMETER and entry.width != 1:
        refuse(entry.name, "has a thermometer code of more than one bit an input", "map-rule")
    if entry.code == VALUE and not 1 <= entry.levels < 1 << entry.width:
        refuse(entry.name, f"has {entry.levels} levels in {entry.width} bits", "map-rule")


def _registers(program: Program, number: int, core: CoreMemory) -> None:
    chip, layer, r = program.chip, program.layers[program.cores[number].layer], core.registers
    name = f"core {number}"
    for key, value in FIXED_REGISTERS.items():
        if r[key] != value:
            refuse(name, f"register {key} is {r[key]}; allowed: {value}", "map-rule", found=r[key], allowed=value)
    ranges = {
        "lcn": (0, chip.max_lcn),
        "target_lcn": (0, chip.max_lcn),
        "neuron_number": (1, chip.memory_rows),
        "tick_start": (layer.tick, layer.tick),
        "tick_duration": (1, 1),
        "busy_cycle": (LEAST_CYCLES, 1 << 12),
        "delay_cycle": (LEAST_CYCLES, 1 << 16),
        "width_cycle": (LEAST_CYCLES, 1 << 8),
        "test_core_x": (-core.x, -core.x),
        "test_core_y": (-core.y, -core.y),
        "test_core_z": (0, 0),
    }
    for key, (low, high) in ranges.items():
        if not low <= r[key] <= high:
            refuse(name, f"register {key} is {r[key]}; allowed: {low} to {high}", "map-rule", found=r[key])
    if core.written > chip.memory_rows:
        refuse(name, f"writes {core.written} rows; allowed: {chip.memory_rows}", "map-rule")
    for key, allowed in (
        ("input_width", chip.input_bits),
        ("output_width", chip.input_bits),
        ("weight_width", chip.weight_bits),
    ):
        if w.WIDTHS[r[key]] not in allowed:
            refuse(name, f"register {key} says {w.WIDTHS[r[key]]} bits; allowed: {list(allowed)}", "map-rule")
    if w.WIDTHS[r["output_width"]] != layer.width or w.WIDTHS[r["weight_width"]] != layer.weight_bits:
        refuse(name, f"has other widths than its layer {layer.name}", "map-rule")
    if bool(r["snn_ann"]) != (layer.code == VALUE):
        refuse(name, f"register snn_ann is {r['snn_ann']}, and {layer.name} has the code {layer.code}", "map-rule")
    if r["max_pooling"] and layer.code != VALUE:
        refuse(name, f"takes maxima, and {layer.name} has the code {layer.code}", "map-rule")


def _records(program: Program, number: int, core: CoreMemory, found: list[Record]) -> None:
    said, name = program.cores[number], f"core {number}"
    readout = said.layer == len(program.layers) - 1
    lines: set[int] = set()
    vectors: dict[tuple[int, int, int], tuple[Int, Int]] = {}
    for entry in found:
        where = f"the record of row {entry.row}"
        for key, value in FIXED_PARAMETERS.items():
            if entry.part2[key] != value:
                refuse(name, f"{where} has {key} {entry.part2[key]}; allowed: {value}", "map-rule")
        if entry.part2["threshold"] < entry.part2["negative_threshold"]:
            refuse(name, f"{where} has a threshold below its negative one", "map-rule")
        if abs(entry.part2["leak"]) >= 1 << (program.chip.leak_bits - 1):
            refuse(name, f"{where} has a leak of more than {program.chip.leak_bits} bits", "map-rule")
        if bool(entry.part1["output_potential"]) != readout:
            refuse(name, f"{where} sends {'spikes' if readout else 'potentials'}, unlike its layer", "map-rule")
        start, end = entry.part1["weight_start"], entry.part1["weight_end"]
        if end >= start:
            if start < core.registers["neuron_number"] or end >= core.written:
                refuse(name, f"{where} has weights in rows {start} to {end}, where none are", "map-rule")
            lines.update(range(start, end + 1))
        if entry.fold is not None:
            _fold(program, name, where, entry.fold)
        if entry.part1["skew"] > program.chip.max_skew:
            refuse(name, f"{where} has the skew {entry.part1['skew']}; allowed: {program.chip.max_skew}", "map-rule")
        vector = start, end, entry.part2["compressed"]
        if vector not in vectors:
            vectors[vector] = weights(core, start, end, bool(vector[2]))
        _reach(program, name, where, core, entry, vectors[vector])
    uses = _uses(found, len(lines))
    for key, value in uses.items():
        if getattr(said, key) != value:
            refuse(name, f"says {key} {getattr(said, key)}; its words hold {value}", "map-rule")


def _fold(program: Program, name: str, where: str, fold: dict[str, int]) -> None:
    limit = program.chip.max_fold_step
    for key in ("axon_y", "axon_x", "axon_xy", "skew_y", "skew_x", "skew_xy"):
        if fold[key] > limit:
            refuse(name, f"{where} has {key} {fold[key]}; allowed: {limit}", "map-rule")


def _reach(program: Program, name: str, where: str, core: CoreMemory, entry: Record, vector: tuple[Int, Int]) -> None:
    """Inputs within the map, and no potential beyond what the chip holds."""
    width = w.WIDTHS[core.registers["input_width"]]
    element, value = vector
    if (entry.offset % width).any():
        refuse(name, f"{where} reads inputs that begin within a {width}-bit input", "map-rule")
    inputs = (512 << core.registers["lcn"]) // width
    last = int(entry.offset.max()) // width + int(element.max(initial=0))
    if len(element) and last >= inputs:
        refuse(name, f"{where} reads input {last}; allowed: 0 to {inputs - 1}", "map-rule", found=last, allowed=inputs)
    top = (1 << width) - 1
    leak = entry.part2["leak"]
    high = int(np.maximum(value, 0).sum()) * top + leak
    low = int(np.minimum(value, 0).sum()) * top + leak
    if core.registers["max_pooling"]:
        high, low = top + leak, leak
        if (value != 1).any():
            refuse(name, f"{where} takes a maximum with other weights than 1", "map-rule")
    if high > program.chip.potential_max or low < program.chip.potential_min:
        refuse(name, f"{where} reaches potentials {low} to {high}", "map-rule", found=[low, high])
    if entry.part2["negative_threshold"] > low and not entry.part1["output_potential"]:
        refuse(name, f"{where} has a floor of {entry.part2['negative_threshold']}, which potentials reach", "map-rule")


def _uses(found: list[Record], weight_rows: int) -> dict[str, int]:
    """Rows of a core by use."""
    stored = sum(-(-(entry.neurons - 1) // 4) for entry in found if entry.fold is not None)
    full = sum(entry.part1["full"] for entry in found)
    return {
        "records": sum(entry.rows for entry in found) - stored - full,
        "parameters": full,
        "potentials": stored,
        "weights": weight_rows,
        "neurons": sum(entry.neurons for entry in found),
    }


def rows_by_use(found: list[Record]) -> dict[str, int]:
    """Rows of a core by use, from its records: ``records``, ``parameters``, ``potentials``, ``weights``, ``neurons``."""
    lines: set[int] = set()
    for entry in found:
        lines.update(range(entry.part1["weight_start"], entry.part1["weight_end"] + 1))
    return _uses(found, len(lines))


def _elements(program: Program) -> None:
    """Which element each neuron is: within its layer, and no other neuron's."""
    neurons = sum(core.neurons for core in program.cores)
    if len(program.neuron_element) != neurons:
        refuse("neuron_element", f"has {len(program.neuron_element)} entries; needed: {neurons}", "map-rule")
    if len(program.dense_fanout) != program.encoder_inputs + neurons or (program.dense_fanout < 0).any():
        refuse("dense_fanout", f"needs {program.encoder_inputs + neurons} entries from 0", "map-rule")
    owner = np.repeat([core.layer for core in program.cores], [core.neurons for core in program.cores])
    for number, layer in enumerate(program.layers):
        mine = program.neuron_element[owner == number]
        size = math.prod(layer.shape) * layer.per_feature
        if len(mine) and (mine.min() < 0 or mine.max() >= size):
            refuse(layer.name, f"has an element outside 0 to {size - 1}", "map-rule")
        if len(np.unique(mine)) != len(mine):
            refuse(layer.name, "has two neurons for one element", "map-rule")
