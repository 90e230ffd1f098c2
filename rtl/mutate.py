"""Break the SystemVerilog one rule at a time and show that the comparison with chipsim fails.

    python rtl/mutate.py [NAME...]

Each mutation is a change of one line; it runs the random mappings of the chip ``small`` (and a stream of each). Exits 1 if a
mutation goes unnoticed, or if the unchanged sources differ.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import build
import compare

MAPS = 6


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule of docs/timing.md, and how it is broken."""

    rule: str
    file: str
    before: str  # stands in the file once
    after: str


MUTATIONS = {
    "none": Mutation("nothing is broken", "core.sv", "module core", "module core"),
    "turn": Mutation(
        "the arbiters' turns start anew with every tick", "router.sv", "if (reset | restart) turn", "if (reset) turn"
    ),
    "first-turn": Mutation("the first turn is the east side's", "router.sv", "turn <= 5'b10000", "turn <= 5'b00001"),
    "age": Mutation(
        "a flit may be granted router_cycles - 1 after it entered",
        "router.sv",
        "delay #(.CYCLES(ROUTER_CYCLES - 1), .WIDTH(1)) age",
        "delay #(.CYCLES(ROUTER_CYCLES), .WIDTH(1)) age",
    ),
    "credit": Mutation(
        "a credit is back credit_cycles after the grant",
        "mesh.sv",
        "CREDIT_CYCLES - 1), .WIDTH(1)) credit (\n            .clock, .reset,\n            .valid_in (g_router",
        "CREDIT_CYCLES), .WIDTH(1)) credit (\n            .clock, .reset,\n            .valid_in (g_router",
    ),
    "slot": Mutation("a FIFO has buffer_flits slots", "router.sv", "credits <= FULL", "credits <= FULL - 1'b1"),
    "route": Mutation(
        "packets go along x, then along y",
        "router.sv",
        "      if (to_x > here_x) side[EAST] = 1'b1;\n      else if (to_x < here_x) side[WEST] = 1'b1;\n"
        "      else if (to_y < here_y) side[NORTH] = 1'b1;\n      else if (to_y > here_y) side[SOUTH] = 1'b1;\n",
        "      if (to_y < here_y) side[NORTH] = 1'b1;\n      else if (to_y > here_y) side[SOUTH] = 1'b1;\n"
        "      else if (to_x > here_x) side[EAST] = 1'b1;\n      else if (to_x < here_x) side[WEST] = 1'b1;\n",
    ),
    "link": Mutation(
        "a flit crosses a link in link_cycles", "mesh.sv", "delay #(.CYCLES(LINK_CYCLES)", "delay #(.CYCLES(LINK_CYCLES + 1)"
    ),
    "threshold": Mutation("a neuron fires where potential >= threshold", "core.sv", "(potential)) >=", "(potential)) >"),
    "sign": Mutation(
        "the highest bit of a weight counts negative", "core.sv", "else if (weight != 0 &&", "else if (1'b0 &&"
    ),
    "tick": Mutation(
        "a core works in the tick of its layer", "core.sv", "(stream | tick == my_tick)", "(stream | 1'b1)"
    ),
    "delay": Mutation(
        "a spike acts delay ticks later",
        "core.sv",
        "= ($clog2(BANKS) + 1)'(bank) + ($clog2(BANKS) + 1)'(delay_in)",
        "= ($clog2(BANKS) + 1)'(bank) + ($clog2(BANKS) + 1)'(delay_in != '0)",
    ),
    "word": Mutation(
        "a word without a bit takes a cycle", "core.sv", "assign fetches = phase == START && waited == START_CYCLES - 2",
        "assign fetches = phase == START && waited == START_CYCLES - 2 - (ring[ring_at] == '0 ? 1 : 0)",
    ),
    "segment": Mutation(
        "a row adds to the columns of its segment alone", "core.sv", "row_bits & event_slice : '0", "row_bits : '0"
    ),
    "sweep": Mutation(
        "the sweep goes on while packets wait",
        "core.sv",
        "assign updates = phase == SWEEP &&",
        "assign updates = phase == SWEEP && (out_valid | !have) &&",
    ),
    "read-ahead": Mutation(
        "a packet is sent in the cycle after its neuron's update",
        "core.sv",
        "have  <= waits | sends_now;",
        "have  <= waits;",
    ),
    "order": Mutation(
        "neurons that wait are looked up in their order", "core.sv", "assign next_neuron = waits ? waiting : neuron;",
        "assign next_neuron = sends_now ? neuron : waiting;",
    ),
    "barrier": Mutation(
        "the barrier takes sync_cycles_per_hop cycles a hop", "barrier.sv", ".CYCLES(CYCLES - 1)", ".CYCLES(CYCLES)"
    ),
}  # fmt: skip


def mutated(mutation: Mutation, folder: Path) -> Path:
    """Copy the sources with one change."""
    for file in build.ROOT.glob("*.sv"):
        shutil.copy(file, folder)
    text = (folder / mutation.file).read_text()
    assert text.count(mutation.before) == 1, (mutation, text.count(mutation.before))
    (folder / mutation.file).write_text(text.replace(mutation.before, mutation.after))
    return folder


def caught(mutation: Mutation) -> str:
    """What the comparison says; empty if nothing differs."""
    with tempfile.TemporaryDirectory() as folder:
        sources = mutated(mutation, Path(folder))
        try:
            # what lies between the tiles is in chip.sv alone, which takes longer to compile
            tiles = mutation.file in ("core.sv", "router.sv")
            found = compare.random_maps(MAPS, 0, ("small",), tiles=tiles, sources=sources, quiet=True)
        except (RuntimeError, ValueError, IndexError) as error:  # it never ends a tick, or sends what no core has
            return f"{type(error).__name__}: {error}"[:200]
    return "" if found.equal else str(found)


def main() -> int:
    """Entry point."""
    chosen = sys.argv[1:] or list(MUTATIONS)
    wrong = 0
    for name in chosen:
        said = caught(MUTATIONS[name])
        wrong += bool(said) == (name == "none")
        print(f"{name} ({MUTATIONS[name].rule}): {said or 'equal'}", flush=True)  # noqa: T201
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
