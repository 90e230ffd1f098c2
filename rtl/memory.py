"""What the host of the chip in SystemVerilog loads, from a ``.map``: written from FORMAT.md, imports neither package.

python rtl/memory.py FILE.map -o MEMORY      lines "load ROUTER MEMORY ADDRESS DATA" and "host SOURCE FLIT"
python rtl/memory.py FILE.map --parameters   parameters of chip.sv, a line each
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

Array = npt.NDArray[Any]
#: memories of a core, as core.sv numbers them
SETUP, CROSSBAR, THRESHOLD, POINTER, TABLE, RING = range(6)


class NotCovered(Exception):
    """The chip or the mapping has something that the SystemVerilog does not."""


@dataclass(frozen=True)
class Program:
    """A mapping as its file has it; arrays by their names in FORMAT.md."""

    info: dict[str, Any]
    arrays: dict[str, Array]

    def __getattr__(self, name: str) -> Array:
        return self.arrays[name]

    @property
    def chip(self) -> dict[str, Any]:
        """The chip's limits."""
        found = self.info["chip"]
        assert isinstance(found, dict)
        return found


def read(path: str | Path) -> Program:
    """Read what a chip needs of a ``.map``; it is not validated, `chipsim` does that."""
    with zipfile.ZipFile(path) as archive:
        info = yaml.safe_load(archive.read("mapping.yaml"))
        arrays = {name: np.load(io.BytesIO(archive.read(f"arrays/{name}.npy"))) for name in info["arrays"]}
    return Program(info, arrays)


def check(chip: dict[str, Any]) -> None:
    """Refuse a chip that has what chip.sv does not.

    Raises
    ------
    NotCovered
        It names the key, what was found and what is covered.
    """
    t = chip["timing"]
    if t is None:
        raise NotCovered("timing: the chip says nothing of its cycles; covered: a chip with a section timing")
    sync = t["sync_cycles_per_hop"] * (sum(chip["grid"]) - 2)
    # credits of a tick's last grants come home while the next tick starts
    credit = sync + 2
    rules = (
        ("timing.multicast", t.get("multicast", False), not t.get("multicast"), "false"),
        ("timing.input", t["input"], t["input"] == "row_parallel", "row_parallel"),
        ("timing.lookup_cycles", t["lookup_cycles"], t["lookup_cycles"] == 1, "1"),
        (
            "timing.start_cycles",
            t["start_cycles"],
            t["start_cycles"] >= 2,
            "2 or more: two stages before the first row is added",
        ),
        ("timing.word_bits", t["word_bits"], t["word_bits"] <= min(64, chip["axons"]), "at most 64 and at most `axons`"),
        ("timing.credit_cycles", t["credit_cycles"], t["credit_cycles"] <= credit, f"at most {credit}, sync cycles + 2"),
        ("sync cycles", sync, sync >= 1, "1 or more: a barrier has a register"),
        ("ports", chip["ports"], len(chip["ports"]) == 1 and chip["ports"][0][0] == 0, "one, in column 0"),
        ("dead_links", chip.get("dead_links"), not chip.get("dead_links"), "none: packets go along x, then along y"),
        ("max_fold * axons", chip["max_fold"] * chip["axons"], chip["max_fold"] * chip["axons"] > 1, "2 or more"),
        ("axons, columns, targets", 1, min(chip["axons"], chip["columns"], chip["targets"]) > 1, "2 or more each"),
        ("flit", Flit.of(chip).bits, Flit.of(chip).bits <= 64, "at most 64 bits"),
    )
    for key, found, good, covered in rules:
        if not good:
            raise NotCovered(f"{key} is {found}; the SystemVerilog covers {covered}")


def bits_for(values: int) -> int:
    """Bits of a number below ``values``."""
    return max(0, (values - 1).bit_length())


@dataclass(frozen=True)
class Flit:
    """Widths of a flit's fields: {to the host, y, x, payload}; the payload is {axon, delay} or {y, x, neuron, potential}."""

    x: int
    y: int
    axon: int
    delay: int
    neuron: int
    potential: int

    @classmethod
    def of(cls, chip: dict[str, Any]) -> Flit:
        """Return those of a chip."""
        width, height = chip["grid"]
        return cls(
            x=max(1, bits_for(width)),
            y=max(1, bits_for(height)),
            axon=bits_for(chip["max_fold"] * chip["axons"]),
            delay=bits_for(chip["max_delay"] + 1),
            neuron=bits_for(chip["columns"]),
            potential=chip["potential_bits"],
        )

    @property
    def payload(self) -> int:
        """Bits behind the place."""
        return max(self.axon + self.delay, self.y + self.x + self.neuron + self.potential)

    @property
    def bits(self) -> int:
        """Of a flit."""
        return 1 + self.y + self.x + self.payload

    def entry(self, x: int, y: int, axon: int, delay: int) -> int:
        """Return an entry of a core's target table, without the bit that marks a neuron's last."""
        return ((y << self.x | x) << self.axon | axon) << self.delay | delay

    def packet(self, x: int, y: int, axon: int, delay: int) -> int:
        """Return the flit of a spike."""
        return (y << self.x | x) << self.payload | axon << self.delay | delay

    def unpack_packet(self, flit: Array) -> tuple[Array, Array, Array, Array]:
        """Return x, y, axon and delay of flits of spikes."""
        place = flit >> self.payload
        axon = (flit >> self.delay) & ((1 << self.axon) - 1)
        return place & ((1 << self.x) - 1), (place >> self.x) & ((1 << self.y) - 1), axon, flit & ((1 << self.delay) - 1)

    def unpack_potential(self, flit: Array) -> tuple[Array, Array, Array, Array]:
        """Return x and y of the core, neuron and potential of flits to the host."""
        value = flit & ((1 << self.potential) - 1)
        value = np.where(value >> (self.potential - 1), value - (1 << self.potential), value)
        rest = flit >> self.potential
        neuron, rest = rest & ((1 << self.neuron) - 1), rest >> self.neuron
        return rest & ((1 << self.x) - 1), (rest >> self.x) & ((1 << self.y) - 1), neuron, value

    def to_host(self, flit: Array) -> Array:
        """Whether flits go to the host."""
        return (flit >> (self.bits - 1)) & 1 == 1


def parameters(chip: dict[str, Any]) -> dict[str, int]:
    """Return the parameters of chip.sv."""
    t = chip["timing"]
    width, height = chip["grid"]
    return {
        "WIDTH": width,
        "HEIGHT": height,
        "PORT_Y": chip["ports"][0][1],
        **{name.upper(): chip[name] for name in ("axons", "columns", "max_fold", "potential_bits", "threshold_bits")},
        **{name.upper(): chip[name] for name in ("targets", "max_delay")},
        **{name.upper(): t[name] for name in ("word_bits", "start_cycles", "columns_per_cycle", "router_cycles")},
        **{name.upper(): t[name] for name in ("link_cycles", "credit_cycles", "buffer_flits")},
        "SYNC_CYCLES": t["sync_cycles_per_hop"] * (width + height - 2),
    }


def loads(p: Program) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield what the cores in use are loaded with: (router, memory, address, count, data), equal words in one row."""
    for core in range(len(p.core_layer)):
        x, y = p.core_position[core].tolist()
        router = y * p.chip["grid"][0] + x
        for memory, words in _core_memories(p, core).items():
            begin = 0
            for word, equal in groupby(words):
                count = len(list(equal))
                yield router, memory, begin, count, word
                begin += count


def _core_memories(p: Program, core: int) -> dict[int, list[int]]:
    """Words of each memory of a core, from address 0 on."""
    chip, layer = p.chip, p.info["layers"][p.core_layer[core]]
    fold, weight_bits = int(p.core_fold[core]), int(p.core_weight_bits[core])
    first, last = (int(v) for v in p.neuron_offset[core : core + 2])
    words = -(-fold * chip["axons"] // chip["timing"]["word_bits"])
    setup = (1, layer["levels"] == 0, bits_for(fold), bits_for(weight_bits), last - first, words, layer["tick"])
    source = int(np.prod(p.info["encoder"]["shape"])) * p.info["encoder"]["levels"] + first
    offset = (p.target_offset[source : source + last - first + 1] - p.target_offset[source]).tolist()
    flit, entries = Flit.of(chip), np.arange(p.target_offset[source], p.target_offset[source + last - first])
    ends, sends = {end - 1 for end in offset}, 1 << bits_for(chip["targets"])
    bits = flit.y + flit.x + flit.axon + flit.delay
    bank = -(-chip["max_fold"] * chip["axons"] // chip["timing"]["word_bits"])
    return {
        SETUP: [int(value) for value in setup],
        CROSSBAR: crossbar_rows(p, core).reshape(-1).tolist(),
        THRESHOLD: (p.neuron_threshold[first:last] & ((1 << chip["threshold_bits"]) - 1)).tolist(),
        POINTER: [sends | begin if end > begin else 0 for begin, end in pairwise(offset)],
        TABLE: [(at in ends) << bits | flit.entry(*target) for at, target in enumerate(targets(p, entries))],
        RING: [0] * ((chip["max_delay"] + 1) * bank),
    }


def targets(p: Program, entries: Array) -> list[tuple[int, int, int, int]]:
    """Return x, y, axon in its core and delay of entries of the target tables."""
    axon = p.target_axon[entries]
    core = np.searchsorted(p.axon_offset, axon, side="right") - 1
    columns = (*p.core_position[core].T, axon - p.axon_offset[core], p.target_delay[entries])
    return [tuple(row) for row in np.stack(columns, axis=1).astype(np.int64).tolist()]


def host_table(p: Program) -> Iterator[tuple[int, int]]:
    """Yield (source, flit) of the host's target table."""
    flit, encoder = Flit.of(p.chip), p.info["encoder"]
    count = int(np.prod(encoder["shape"])) * encoder["levels"]
    source = np.repeat(np.arange(count), np.diff(p.target_offset[: count + 1]))
    for number, entry in zip(source.tolist(), targets(p, np.arange(len(source))), strict=True):
        yield number, flit.packet(*entry)


def crossbar_rows(p: Program, core: int) -> Array:
    """Return the silicon's bits of a core, uint64 (rows, parts of 64 columns): FORMAT.md, "Arrays"."""
    rows, columns, fold = p.chip["axons"], p.chip["columns"], int(p.core_fold[core])
    kind = int(p.core_crossbar[core])
    axons, neurons, w = (int(v) for v in p.crossbar_shape[kind])
    packed = p.crossbar_bits[p.crossbar_offset[kind] : p.crossbar_offset[kind + 1]]
    bits = np.unpackbits(packed, bitorder="little")[: axons * neurons * w].reshape(axons, neurons, w)
    grid = np.zeros((rows, -(-columns // 64) * 64), np.uint8)
    segment, row = np.divmod(np.arange(axons), rows)
    neuron, bit = np.divmod(np.arange(neurons * w), w)
    column = (neuron * fold + segment[:, None]) * w + bit
    grid[row[:, None], column] = bits.reshape(axons, -1)
    return np.packbits(grid, axis=1, bitorder="little").view("<u8")


def write(p: Program, out: io.TextIOBase) -> None:
    """Write the words and the host's table, a line each."""
    for router, memory, address, count, data in loads(p):
        out.write(f"load {router} {memory} {address} {count} {data:x}\n")
    for source, flit in host_table(p):
        out.write(f"host {source} {flit}\n")


def main() -> int:
    """Entry point; exit code 3 where the SystemVerilog does not cover the chip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("map", help="a mapping")
    parser.add_argument("-o", "--output", help="file of the words; standard output without it")
    parser.add_argument("--parameters", action="store_true", help="print the parameters of chip.sv instead")
    words = parser.parse_args()
    program = read(words.map)
    try:
        check(program.chip)
    except NotCovered as error:
        print(f"{words.map}: {error}", file=sys.stderr)  # noqa: T201
        return 3
    if words.parameters:
        print("\n".join(f"{name}={value}" for name, value in parameters(program.chip).items()))  # noqa: T201
    elif words.output:
        with open(words.output, "w") as out:
            write(program, out)
    else:
        write(program, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
