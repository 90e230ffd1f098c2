"""A `.paicore` as a person reads it: totals, layers, rows by use, and one core to the last word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from chipsim.paicore import Program
from chipsim.paicore import words as w
from chipsim.paicore.fields import Words
from chipsim.paicore.memory import CoreMemory, Record, frames, load, records
from chipsim.paicore.totals import totals
from qsnnc.explain.selection import check_selection

if TYPE_CHECKING:
    from rich.table import Table

LAYER_KEYS = tuple("name kind levels code width weight_bits fan_in neurons removed synapses cores bound limiting".split())


def inspect_program(program: Program, *, layer: str | None = None, core: int | None = None) -> dict[str, Any]:
    """Describe a program.

    Parameters
    ----------
    layer : str, optional
        Keep only this layer's cores.
    core : int, optional
        Keep only this core, and add every word of it, with its fields by name.

    Raises
    ------
    UsageError
        No such layer or core.
    """
    names = [entry.name for entry in program.layers]
    check_selection(names, len(program.cores), layer, core)
    memories = load(program.words)
    cores = []
    for number, (entry, memory) in enumerate(zip(program.cores, memories, strict=True)):
        if (core is not None and core != number) or (layer is not None and names[entry.layer] != layer):
            continue
        r = memory.registers
        used = {key: getattr(entry, key) for key in ("records", "parameters", "potentials", "weights")}
        cores.append(
            {
                "id": number, "x": entry.x, "y": entry.y, "layer": names[entry.layer], "neurons": entry.neurons,
                "rows": {**used, "limit": program.chip.memory_rows}, "lcn": r["lcn"], "target_lcn": r["target_lcn"],
                "tick_start": r["tick_start"],
            }
        )  # fmt: skip
        if core is not None:
            cores[-1]["words"] = list(_words(program.words, memory))
    return {
        "format": "qsnnc-paicore/1",
        "model_sha256": program.model_sha256,
        "chip": program.chip.name,
        "totals": totals(program),
        "steps": program.steps,
        "in_flight": program.in_flight,
        "deliveries": [{**asdict(entry), "steps": list(entry.steps)} for entry in program.deliveries],
        "layers": [{key: getattr(entry, key) for key in LAYER_KEYS} for entry in program.layers],
        "cores": cores,
    }


def _words(words: Words, core: CoreMemory) -> Iterator[dict[str, Any]]:
    """Every word of a core: its number, its value, what it is, and its fields; rows of memory are two words."""
    kinds = _rows(core, records(core))
    for at, header, payload in frames(words):
        if (header["x"] + header["z"], header["y"] + header["z"]) != (core.x, core.y):
            continue
        yield {"word": at, "hex": _hex(words[at : at + 1]), "kind": "header", "fields": header}
        if header["header"] == w.CONFIG_REGISTERS:
            yield {"word": at + 1, "hex": _hex(payload), "kind": "registers", "fields": w.REGISTERS.one(payload)}
        elif header["header"] == w.CONFIG_TABLE:
            for k, entry in enumerate(payload):
                fields = w.TABLE.one(np.array([entry]))
                yield {"word": at + 1 + k, "hex": _hex(payload[k : k + 1]), "kind": "table", "fields": fields}
        else:
            start = header["start"] * w.START_ROWS
            for k, row in enumerate(payload.reshape(-1, 2)):
                kind, fields = kinds(start + k, row)
                yield {"word": at + 1 + 2 * k, "row": start + k, "hex": _hex(row), "kind": kind, "fields": fields}


def _rows(core: CoreMemory, found: list[Record]) -> Any:
    """A function that says what a row of memory is, and gives its fields."""
    layouts = {}
    compressed: dict[int, bool] = {}
    for entry in found:
        layouts[entry.row] = w.PART1
        after = entry.row + 1
        if entry.part1["full"]:
            layouts[after] = w.PART2
            after += 1
        if entry.fold is not None:
            layouts[after] = w.FOLD
            layouts.update(dict.fromkeys(range(after + 1, entry.row + entry.rows), w.POTENTIALS))
        weights = range(entry.part1["weight_start"], entry.part1["weight_end"] + 1)
        compressed.update(dict.fromkeys(weights, bool(entry.part2["compressed"])))
    bits, signed = w.WIDTHS[core.registers["weight_width"]], bool(core.registers["weight_sign"])

    def kind(row: int, words: Words) -> tuple[str, dict[str, Any]]:
        if row in layouts:
            return layouts[row].name, layouts[row].one(words)
        if row not in compressed:
            return "unused", {}
        if compressed[row]:
            index, weight = w.unpack_csc(words[None], bits, signed)
            return "weights_compressed", {"index": index.tolist(), "weight": weight.tolist()}
        return "weights", {"weight": w.unpack_dense(words[None], bits, signed).tolist()}

    return kind


def _hex(words: Words) -> str:
    """Words in hexadecimal, the highest first."""
    return " ".join(f"{int(word):016x}" for word in words[::-1])


def layer_table(layers: list[dict[str, Any]]) -> Table:
    """One row a layer."""
    from rich.table import Table

    table = Table("layer", "kind", "code", box=None, pad_edge=False)
    for name in ("levels", "bits", "fan-in", "neurons", "removed", "synapses", "cores", "bound"):
        table.add_column(name, justify="right")
    table.add_column("limited by")
    for layer in layers:
        code = f"{layer['code']}, {layer['width']} bits" if layer["code"] == "value" else layer["code"]
        row = [layer["name"], layer["kind"], code, str(layer["levels"] or "read out"), str(layer["weight_bits"])]
        row += [f"{layer[key]:,}" for key in ("fan_in", "neurons", "removed", "synapses", "cores", "bound")]
        table.add_row(*row, layer["limiting"])
    return table


def core_table(cores: list[dict[str, Any]]) -> Table:
    """One row a core: its rows by use."""
    from rich.table import Table

    table = Table("id", "x", "y", "layer", box=None, pad_edge=False)
    names = ("neurons", "records", "parameters", "potentials", "weights", "free", "LCN", "step")
    for name in names:
        table.add_column(name, justify="right")
    for core in cores:
        rows = core["rows"]
        used = [rows[key] for key in ("records", "parameters", "potentials", "weights")]
        numbers = [core["neurons"], *used, rows["limit"] - sum(used), core["lcn"], core["tick_start"]]
        place = [str(core[key]) for key in ("id", "x", "y", "layer")]
        table.add_row(*place, *(f"{number:,}" for number in numbers))
    return table
