"""What the chip in SystemVerilog is loaded with, and which chips it covers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.hand_mappings import random_map, two_cores

from chipsim.chip import load_chip
from chipsim.mapping import write_mapping
from chipsim.timing.area import entry_bits, flit_bits

RTL = Path(__file__).resolve().parents[3] / "rtl"
sys.path.append(str(RTL))

import memory  # noqa: E402


def program(tmp_path: Path, hand) -> memory.Program:
    write_mapping(hand.build(), tmp_path / "m.map")
    return memory.read(tmp_path / "m.map")


@pytest.mark.slow
def test_it_knows_the_format_and_neither_package(tmp_path: Path) -> None:
    write_mapping(two_cores().build(), tmp_path / "m.map")
    code = (
        f"import sys; sys.path.insert(0, {str(RTL)!r}); import memory; sys.argv = ['memory', 'm.map', '-o', 'words']; "
        "assert memory.main() == 0; print(sorted({'chipsim', 'qsnnc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    kinds = {line.split()[0] for line in (tmp_path / "words").read_text().splitlines()}
    assert kinds == {"load", "host"}


@pytest.mark.parametrize("seed", range(8))
def test_a_crossbar_lies_on_the_silicon_as_the_format_says(tmp_path: Path, seed: int) -> None:
    hand = random_map(np.random.default_rng(seed))
    mapping, found = hand.build(), program(tmp_path, hand)
    for core in range(mapping.cores):
        weights = mapping.crossbar(int(mapping.core_crossbar[core]))
        fold, w = int(mapping.core_fold[core]), int(mapping.core_weight_bits[core])
        bits = np.unpackbits(memory.crossbar_rows(found, core).view(np.uint8), axis=1, bitorder="little")
        assert bits.sum() == sum(int(value & ((1 << w) - 1)).bit_count() for value in weights.astype(int).ravel())
        for (axon, neuron), value in np.ndenumerate(weights):
            row, segment = axon % mapping.chip.axons, axon // mapping.chip.axons
            first = (neuron * fold + segment) * w
            assert int(bits[row, first : first + w] @ (1 << np.arange(w))) == int(value) & ((1 << w) - 1)


def test_tables_lead_where_the_mapping_says(tmp_path: Path) -> None:
    found = program(tmp_path, two_cores())
    flit = memory.Flit.of(found.chip)
    host = [(source, *map(int, flit.unpack_packet(np.array(value)))) for source, value in memory.host_table(found)]
    assert host == [(0, 0, 0, 0, 1), (1, 0, 0, 1, 1), (2, 0, 0, 2, 1), (2, 1, 0, 2, 2), (3, 0, 0, 3, 1)]
    words = {(router, kind, address): data for router, kind, address, _, data in memory.loads(found)}
    # core 0: two neurons with an entry each, both the last of their neuron
    assert [words[0, memory.POINTER, neuron] for neuron in range(2)] == [1 << 7 | 0, 1 << 7 | 1]
    assert [words[0, memory.TABLE, entry] for entry in range(2)] == [
        1 << 14 | flit.entry(1, 0, axon, 1) for axon in range(2)
    ]
    assert [words[0, memory.THRESHOLD, neuron] for neuron in range(2)] == [1, 2]


def test_fields_of_flits() -> None:
    chip = load_chip("xbar1152").model_dump(mode="json")
    flit = memory.Flit.of(chip)
    x, y, axon, delay = (np.array([v]) for v in (31, 2, 73_727, 15))
    packed = np.array([flit.packet(31, 2, 73_727, 15)])
    assert [part.tolist() for part in flit.unpack_packet(packed)] == [part.tolist() for part in (x, y, axon, delay)]
    for potential in (-(1 << 29), -1, 0, (1 << 29) - 1):
        word = ((7 << flit.x | 30) << flit.neuron | 511) << flit.potential | potential & ((1 << 30) - 1)
        carried = np.array([1 << (flit.bits - 1) | word])
        assert flit.to_host(carried).tolist() == [True]
        assert [int(part[0]) for part in flit.unpack_potential(carried)] == [30, 7, 511, potential]


@pytest.mark.parametrize(
    "change", [{}, {"grid": (21, 20)}, {"grid": (1, 3)}, {"columns": 96, "max_fold": 8, "max_delay": 5}]
)
@pytest.mark.parametrize("name", ["mini", "xbar1152"])
def test_widths_are_those_of_the_area(name: str, change: dict[str, object]) -> None:
    chip = load_chip(name).model_copy(update=change)
    flit = memory.Flit.of(chip.model_dump(mode="json"))
    assert flit.bits == flit_bits(chip)
    assert flit.y + flit.x + flit.axon + flit.delay + 1 == entry_bits(chip)


@pytest.mark.parametrize(
    ("change", "timing", "named"),
    [
        ({}, {"multicast": True}, "timing.multicast"),
        ({}, {"input": "synapse_serial"}, "timing.input is synapse_serial; the SystemVerilog covers row_parallel"),
        ({}, {"lookup_cycles": 2}, "timing.lookup_cycles is 2"),
        ({}, {"start_cycles": 1}, "timing.start_cycles is 1"),
        ({}, {"word_bits": 65}, "timing.word_bits"),
        ({}, {"credit_cycles": 15}, "timing.credit_cycles is 15; the SystemVerilog covers at most 14"),
        ({}, {"sync_cycles_per_hop": 0}, "sync cycles is 0"),
        ({"ports": ((0, 0), (0, 2))}, {}, "ports"),
        ({"ports": ((1, 0),)}, {}, "ports"),
        ({"dead_links": (((0, 0), (1, 0)),)}, {}, "dead_links"),
        ({"timing": None}, {}, "timing"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(change, timing, named: str) -> None:
    chip = load_chip("mini")
    chip = chip.model_copy(update={"timing": chip.timing.model_copy(update=timing), **change})
    memory.check(load_chip("mini").model_dump(mode="json"))
    with pytest.raises(memory.NotCovered, match=named):
        memory.check(chip.model_dump(mode="json"))
