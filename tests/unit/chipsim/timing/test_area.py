"""Memory of a core and what of it a mapping uses, counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.hand_mappings import two_cores

import chipsim
from chipsim.chip import load_chip
from chipsim.mapping import write_mapping
from chipsim.timing.area import area, entry_bits, memory_bits


def test_memory_of_a_core() -> None:
    mini = load_chip("mini")
    assert entry_bits(mini) == 4 + 8 + 2  # 16 cores, 4 * 64 axons, delays 1 to 3
    assert memory_bits(mini) == {
        "crossbar": 64 * 64,
        "table": 128 * 14,
        "state": 64 * (12 + 11),
        "ring": 4 * 4 * 64,
        "fifos": 5 * 4 * 14,
    }
    assert memory_bits(mini.model_copy(update={"timing": None}))["fifos"] == 0


def test_use_by_hand() -> None:
    found = area(two_cores().build())
    # core 0: 4 axons, 2 neurons of 2 columns, entries of its neurons 2; core 1: 3 axons, 2 neurons of 4 columns, none
    assert found.used.tolist() == [[4 / 64, 4 / 64, 2 / 128], [3 / 64, 8 / 64, 0]]
    assert found.bits.tolist() == [
        [4 * 2 * 2, 2 * 14, 2 * (2 * 12 + 11), 4 * 4, 280],
        [3 * 2 * 4, 0, 2 * (4 * 12 + 11), 3 * 4, 280],
    ]
    assert found.limiting == ["axons", "columns"]
    assert found.replication == 7 / 6, "encoder source 2 is heard by both"
    hidden, out = found.layers
    assert (hidden.limiting, hidden.fullest, hidden.replication) == ("axons", 4 / 64, 1)
    assert (out.limiting, out.fullest, out.bits) == ("columns", 8 / 64, int(found.bits[1].sum()))


def test_the_lenet_is_bound_by_columns(lenet) -> None:
    layers = {layer.name: layer for layer in area(lenet.mapping).layers}
    assert layers["conv2"].limiting == "columns"
    assert layers["conv2"].fullest == pytest.approx(1, abs=0.13)
    assert layers["conv2"].replication > 5


def test_the_verb(tmp_path: Path) -> None:
    write_mapping(two_cores().build(), tmp_path / "m.map")
    words = [sys.executable, "-c", "from chipsim.cli import main; main()", "area", "m.map"]
    done = subprocess.run([*words, "--json", "-"], cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["bits_per_core"]["all"] == 64 * 64 + 128 * 14 + 64 * 23 + 1024 + 280
    assert value["bits_used"]["all"] == sum(sum(core["bits"].values()) for core in value["per_core"])
    shown = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=60)
    assert b"hidden" in shown.stdout
    assert b"replic" in shown.stdout or b"axons per source" in shown.stdout
    assert chipsim.area(tmp_path / "m.map").to_json() == value
