"""Memory of a core and what of it a mapping uses, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import call
from support.hand_mappings import two_cores

import chipsim
from chipsim.chip import load_chip
from chipsim.mapping import write_mapping
from chipsim.timing.area import area, entry_bits, flit_bits, memory_bits, pointer_bits


def test_memory_of_a_core() -> None:
    mini = load_chip("mini")
    assert entry_bits(mini) == 4 + 8 + 2 + 1  # 4 x 4 cores, 4 * 64 axons, delays 1 to 3; last of its neuron
    assert flit_bits(mini) == 1 + 4 + (4 + 6 + 12)  # to the host, where to; core, neuron and potential
    assert pointer_bits(mini) == 7 + 1  # one of 128 entries; whether there is one
    assert memory_bits(mini) == {
        "crossbar": 64 * 64,
        "table": 128 * 15,
        "pointers": 64 * 8,
        "state": 64 * (12 + 11),
        "backlog": 64,
        "ring": 4 * 4 * 64,
        "fifos": 5 * 4 * 27,
    }
    assert memory_bits(mini.model_copy(update={"timing": None}))["fifos"] == 0


@pytest.mark.parametrize(
    ("grid", "max_fold", "potential_bits", "flit"),
    [
        ((32, 32), 64, 30, 1 + 10 + (10 + 9 + 30)),  # xbar1152 as it is
        ((21, 20), 64, 30, 1 + 10 + (10 + 9 + 30)),  # x and y are 5 bits each, though 420 cores are 9
        ((1, 1), 64, 30, 1 + 2 + (2 + 9 + 30)),
        ((32, 32), 1024, 2, 1 + 10 + (21 + 4)),  # an axon of 1,152 * 1,024 and a delay are wider than a short potential
    ],
)
def test_a_flit_is_as_wide_as_the_widest_that_it_carries(grid, max_fold, potential_bits, flit) -> None:
    chip = load_chip("xbar1152").model_copy(update={"grid": grid, "max_fold": max_fold, "potential_bits": potential_bits})
    assert flit_bits(chip) == flit


def test_use_by_hand() -> None:
    found = area(two_cores().build())
    # core 0: 4 axons, 2 neurons of 2 columns, entries of its neurons 2; core 1: 3 axons, 2 neurons of 4 columns, none
    assert found.used.tolist() == [[4 / 64, 4 / 64, 2 / 128], [3 / 64, 8 / 64, 0]]
    assert found.bits.tolist() == [
        [4 * 2 * 2, 2 * 15, 2 * 8, 2 * (2 * 12 + 11), 2, 4 * 4, 540],
        [3 * 2 * 4, 0, 2 * 8, 2 * (4 * 12 + 11), 2, 3 * 4, 540],
    ]
    assert found.limiting == ["axons", "columns"]
    assert found.replication == 7 / 6, "encoder source 2 is heard by both"
    hidden, out = found.layers
    assert (hidden.limiting, hidden.fullest, hidden.replication) == ("axons", 4 / 64, 1)
    assert (out.limiting, out.fullest, out.bits) == ("columns", 8 / 64, int(found.bits[1].sum()))


@pytest.mark.slow
def test_the_lenet_is_bound_by_columns(lenet) -> None:
    layers = {layer.name: layer for layer in area(lenet.mapping).layers}
    assert layers["conv2"].limiting == "columns"
    assert layers["conv2"].fullest == pytest.approx(1, abs=0.13)
    assert layers["conv2"].replication > 5


@pytest.mark.slow
def test_the_verb(tmp_path: Path) -> None:
    write_mapping(two_cores().build(), tmp_path / "m.map")
    done = call("chipsim", "area", "m.map", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["bits_per_core"]["all"] == 64 * 64 + 128 * 15 + 64 * 8 + 64 * 23 + 64 + 1024 + 540
    assert value["bits_used"]["all"] == sum(sum(core["bits"].values()) for core in value["per_core"])
    shown = call("chipsim", "area", "m.map", cwd=tmp_path)
    assert b"hidden" in shown.stdout
    assert b"replic" in shown.stdout or b"axons per source" in shown.stdout
    assert chipsim.area(tmp_path / "m.map").to_json() == value
