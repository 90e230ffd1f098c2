"""Count the flip-flops, gates and memory bits of a core and a router with yosys, beside what `chipsim area` says.

python rtl/synth.py [CHIP]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import build
import memory

from chipsim.chip import load_chip
from chipsim.timing.area import memory_bits

FILES = "delay.sv router.sv core.sv"
#: parameters of chip.sv that neither a core nor a router has
PLACES = ("WIDTH", "HEIGHT", "PORT_Y", "SYNC_CYCLES", "LINK_CYCLES", "CREDIT_CYCLES")
#: memories stay whole, and are counted in bits; the rest becomes flip-flops and gates of two inputs
SCRIPT = """
read_verilog -sv {files}; chparam {set} {top}; hierarchy -top {top}; proc; flatten; opt
tee -o {memories} stat
memory -nomap; opt; wreduce; alumacc; opt; techmap; opt -fast; abc -fast -g AND,OR,XOR,MUX; opt_clean
tee -o {gates} stat
"""


def size(top: str, parameters: Mapping[str, int], folder: Path) -> dict[str, int]:
    """Return ``memory bits``, ``flip-flops`` (bits) and ``gates`` of a module."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: folder / f"{top}-{name}.txt" for name in ("memories", "gates")}
    script = SCRIPT.format(
        files=FILES, set=" ".join(f"-set {name} {value}" for name, value in parameters.items()), top=top, **places
    )
    subprocess.run(["yosys", "-q", "-p", script.replace("\n", "; ")], cwd=build.ROOT, check=True)
    memories, gates = (places[name].read_text() for name in places)
    cells = [(name, int(count)) for name, count in re.findall(r"^\s+(\$\S+)\s+(\d+)$", gates, re.MULTILINE)]
    return {
        "memory bits": max(int(bits) for bits in re.findall(r"memory bits:\s+(\d+)", memories)),
        "flip-flops": sum(count for name, count in cells if re.match(r"\$_S?DFF", name)),
        "gates": sum(count for name, count in cells if re.match(r"\$_(AND|OR|XOR|MUX|NOT)_", name)),
    }


def main() -> int:
    """Entry point."""
    if shutil.which("yosys") is None:
        print("yosys is not installed, so nothing is counted; Debian: apt-get install yosys")  # noqa: T201
        return 0
    chip = load_chip(sys.argv[1] if len(sys.argv) > 1 else "mini")
    value = chip.model_dump(mode="json")
    flit = memory.Flit.of(value)
    place = {"X_BITS": flit.x, "Y_BITS": flit.y, "FLIT_BITS": flit.bits}
    of_core = {name: number for name, number in memory.parameters(value).items() if name not in PLACES} | place
    cycles = of_core.pop("ROUTER_CYCLES")
    of_router = {**place, "BUFFER_FLITS": of_core["BUFFER_FLITS"], "ROUTER_CYCLES": cycles}
    print(f"{chip.name}:")  # noqa: T201
    for top, parameters in (("core", of_core), ("router", of_router)):
        found = size(top, parameters, build.CACHE / "synth")
        print(f"  {top}: " + ", ".join(f"{number:,} {name}" for name, number in found.items()))  # noqa: T201
    bits = memory_bits(chip)
    in_memory = sum(bits[name] for name in ("crossbar", "table", "pointers", "ring")) + chip.columns * chip.threshold_bits
    in_flops = chip.columns * chip.potential_bits + bits["backlog"]
    print(f"  chipsim area: {in_memory:,} bits in memories of a core, {in_flops:,} in flip-flops; fifos {bits['fifos']:,}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
