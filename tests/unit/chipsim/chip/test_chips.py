"""Chips: the presets' figures and sources, and files that are refused with their line."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest
from support.command_line import qsnnc
from support.hand_mappings import two_cores

from chipsim.chip import ChipSpec, load_any_chip, load_chip, preset_names
from chipsim.chip.inherited import FOLLOWS, ChipWarning, value
from chipsim.errors import InputError, UsageError
from chipsim.mapping import read_mapping, write_mapping


def test_presets() -> None:
    assert preset_names() == ("mini", "paicore25", "xbar1152")
    chip = load_chip("xbar1152")
    assert (chip.grid, chip.cores, chip.axons, chip.columns) == ((32, 32), 1024, 1152, 512)
    assert (chip.weight_bits, chip.max_fold, chip.folds[-1]) == ((1, 2, 4, 8), 64, 64)
    assert (chip.potential_bits, chip.threshold_bits, chip.targets, chip.max_delay) == (30, 29, 8192, 15)
    assert (chip.ports, chip.clock_mhz, chip.hypothetical) == (((0, 0),), 252, True)
    assert (chip.threshold_min, chip.threshold_max) == (-(1 << 28), (1 << 28) - 1)
    assert (chip.energy.row_pj, chip.energy.add_pj, chip.energy.update_pj, chip.energy.spike_pj) == (80, 0.03, 9.6, 0)
    assert (chip.energy.lookup_pj, chip.energy.hop_pj, chip.energy.io_pj, chip.energy.static_mw) == (3.75, 2.3, 240, 50)
    assert chip.timing.model_dump() == {
        "input": "row_parallel", "word_bits": 64, "synapses_per_cycle": 512, "start_cycles": 4, "columns_per_cycle": 4,
        "lookup_cycles": 1, "router_cycles": 2, "link_cycles": 1, "credit_cycles": 1, "buffer_flits": 4,
        "sync_cycles_per_hop": 2, "multicast": False,
    }  # fmt: skip
    mini = load_chip("mini")
    assert (mini.grid, mini.axons, mini.columns, mini.max_fold, mini.targets) == ((4, 4), 64, 64, 4, 128)
    assert (mini.potential_bits, mini.threshold_bits, mini.max_delay) == (12, 11, 3)
    assert (mini.weight_bits, mini.energy, mini.hypothetical) == (chip.weight_bits, chip.energy, True)


@pytest.mark.parametrize("name", preset_names())
def test_every_number_of_a_preset_has_a_source(name: str) -> None:
    chip = load_any_chip(name)
    words = {
        "name",
        "description",
        "kind",
        "hypothetical",
        "provenance",
        "energy",
        "timing",
        "neuron",
        "dead_cores",
        "dead_links",
    }
    numbers = {key for key in type(chip).model_fields if key not in words}
    if isinstance(chip, ChipSpec):
        numbers |= {f"energy.{key}" for key in type(chip.energy).model_fields}
        numbers |= {f"timing.{key}" for key in type(chip.timing).model_fields}
        numbers |= {f"neuron.{key}" for key in type(chip.neuron).model_fields}
    assert set(chip.provenance) == numbers
    for key, entry in chip.provenance.items():
        assert entry.note.strip(), key


def test_a_base_is_overridden_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(
        "base: xbar1152\nname: large\ngrid: [40, 40]\nenergy: {hop_pj: 1}\ntiming: {router_cycles: 3, buffer_flits: 5}\n"
    )
    chip = load_chip(path)
    assert (chip.timing.router_cycles, chip.timing.link_cycles) == (3, 1)
    assert (chip.name, chip.grid, chip.axons, chip.energy.hop_pj, chip.energy.row_pj) == ("large", (40, 40), 1152, 1, 80)
    for key in ("grid", "energy.hop_pj", "timing.router_cycles"):
        assert (chip.provenance[key].origin, chip.provenance[key].note) == ("assumed", f"set in {path}")
    assert chip.provenance["axons"].origin == "sourced"


STALE = {
    "a narrow row": (
        "columns: 256\n",
        ["columns is 256, but energy.row_pj (80), targets (8192), timing.input (row_parallel)"],
    ),
    "a short potential": ("potential_bits: 24\n", ["potential_bits is 24, but energy.update_pj (9.6) is inherited"]),
    "two keys": (
        "potential_bits: 24\ntargets: 4096\n",
        ["potential_bits is 24", "targets is 4096, but energy.lookup_pj (3.75)"],
    ),
    "a slow link": ("timing:\n  link_cycles: 2\n", ["timing.link_cycles is 2, but timing.buffer_flits (4)"]),
    "one synapse at a time": (
        "columns: 256\ntargets: 4096\nenergy: {row_pj: 40, lookup_pj: 3}\ntiming: {input: synapse_serial}\n",
        ["but timing.synapses_per_cycle (512) is inherited from xbar1152, where columns is 512; set it in this file"],
    ),
    "the same width": ("columns: 512\n", []),
    "a larger grid": ("grid: [40, 40]\nname: large\n", []),
    "set anew": ("potential_bits: 24\nenergy: {update_pj: 9.6}\n", []),
    "no timing": ("timing: null\npotential_bits: 24\nenergy: {update_pj: 7.7}\n", []),
    "given a reason": (
        "potential_bits: 24\nprovenance: {energy.update_pj: {origin: assumed, note: 'the register stays 30 bits wide'}}\n",
        [],
    ),
}


@pytest.mark.parametrize("name", STALE)
def test_a_value_that_was_inherited_for_another_width_is_named(tmp_path: Path, name: str) -> None:
    text, wanted = STALE[name]
    path = tmp_path / "own.yaml"
    path.write_text("base: xbar1152\n" + text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ChipWarning)
        load_chip(path)
    said = [str(warning.message) for warning in caught]
    assert len(said) == len(wanted)
    for line, part in zip(said, wanted, strict=True):
        assert part in line
        assert line.startswith(f"{path}:")


def test_the_provenance_says_what_a_value_was_set_for(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("base: xbar1152\n\npotential_bits: 24\n")
    with pytest.warns(ChipWarning, match=f"^{path}:3: "):
        chip = load_chip(path)
    entry = chip.provenance["energy.update_pj"]
    assert entry.origin == "assumed"
    assert entry.note.startswith("inherited from xbar1152, where potential_bits is 30: 30 bits read and written")
    assert chip.provenance["energy.row_pj"] == load_chip("xbar1152").provenance["energy.row_pj"]


def test_presets_are_quiet_and_the_keys_exist() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in preset_names():
            load_any_chip(name)
    chip = load_chip("xbar1152").model_dump()
    for key in (*FOLLOWS, *(each for kept in FOLLOWS.values() for each in kept)):
        assert value(chip, key) is not None, key


@pytest.mark.slow
def test_the_command_line_prints_one_line_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("base: xbar1152\npotential_bits: 24\n")
    done = qsnnc("chips", path)
    assert done.returncode == 0
    assert done.stderr.startswith(f"{path}:2: potential_bits is 24, but energy.update_pj (9.6) is inherited")
    assert done.stderr.count("\n") == 1
    assert "inherited" in done.stdout, "the table gives the origin"


def test_a_paicore_is_a_chip_of_another_kind(tmp_path: Path) -> None:
    chip = load_any_chip("paicore25")
    assert (chip.kind, chip.cores, chip.max_inputs, chip.memory_rows) == ("paicore", 63, 65_536, 4096)
    assert all(y >= 2 for _, y in chip.places)
    with pytest.raises(UsageError, match="paicore25: is a chip of kind 'paicore'; needed: a crossbar chip"):
        load_chip("paicore25")
    path = tmp_path / "small.yaml"
    path.write_text("base: paicore25\nname: small\nmemory_rows: 512\ndead_cores: [[0, 2]]\n")
    small = load_any_chip(path)
    assert (small.kind, small.memory_rows, small.cores) == ("paicore", 512, 62)
    assert small.provenance["memory_rows"].origin == "assumed"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("base: paicore25\nkind: crossbar", "kind is 'crossbar'; allowed: paicore"),
        ("base: paicore25\naxons: 3", "unknown key 'axons'"),
        ("base: paicore25\nmemory_rows: 5000", "memory_rows is 5000; allowed: 4096 or less"),
        ("base: paicore25\ninput_bits: [2, 4]", "input_bits: [2, 4]; allowed: 1 and others of 2, 4, 8, each once"),
        ("kind: analog", "kind is 'analog'; allowed: crossbar, paicore"),
        ("kind: paicore\nname: none", "the key 'grid' is missing; add it, or base: paicore25"),
    ],
)
def test_a_paicore_is_refused_as_other_chips_are(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_any_chip(path)
    assert part in str(caught.value)


def test_dead_cores_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text("base: mini\ndead_cores: [[0, 1], [3, 3]]\ndead_links: [[[0, 0], [0, 1]]]\n")
    assert load_chip(path).cores == 14


def test_unknown_presets() -> None:
    with pytest.raises(
        UsageError, match=r"unknown chip 'xbar1125'; expected mini, paicore25, xbar1152 .*did you mean xbar1152"
    ) as caught:
        load_chip("xbar1125")
    assert (caught.value.exit_code, caught.value.code) == (2, "chip-unknown")


REFUSED = {
    "unknown key": ("base: mini\naxon: 3\n", 2, "'axon'; did you mean axons"),
    "unknown energy": ("base: mini\nenergy:\n  hop: 3\n", 3, "did you mean hop_pj"),
    "unknown timing": ("base: mini\ntiming:\n  router: 3\n", 3, "did you mean router_cycles"),
    "no cycles at all": ("base: mini\ntiming: {buffer_flits: 0}\n", 2, "timing.buffer_flits"),
    "wrong type": ("base: mini\n\naxons: many\n", 3, "axons is 'many'; allowed: a whole number"),
    "a number as text": ("base: mini\naxons: '64'\n", 2, "axons is '64'"),
    "a boolean": ("base: mini\naxons: true\n", 2, "axons is true"),
    "zero": ("base: mini\naxons: 0\n", 2, "axons is 0; allowed: 1 or more"),
    "negative": ("base: mini\ntargets: -1\n", 2, "targets"),
    "not finite": ("base: mini\nclock_mhz: .nan\n", 2, "clock_mhz"),
    "weights": ("base: mini\nweight_bits: [3]\n", 2, "weight_bits[0] is 3; allowed: 1, 2, 4 or 8"),
    "fold": ("base: mini\nmax_fold: 3\n", 2, "power of two"),
    "grid": ("base: mini\ngrid: [4]\n", 2, "grid has length 1; allowed: 2 or more"),
    "dead core": ("base: mini\ndead_cores: [[0, 4]]\n", 2, "not on the 4 x 4 grid"),
    "dead link": ("base: mini\ndead_links: [[[0, 0], [1, 1]]]\n", 2, "not neighbours"),
    "no credit": ("base: mini\ntiming: {credit_cycles: 0}\n", 2, "timing.credit_cycles"),
    "endless lookups": ("base: mini\ntiming:\n  lookup_cycles: 99999999999999999999\n", 3, "timing.lookup_cycles"),
    "endless words": ("base: mini\ntiming: {word_bits: 99999999999999999999}\n", 2, "timing.word_bits"),
    "energy of a star": ("base: mini\nenergy: {row_pj: 1.0e+300}\n", 2, "energy.row_pj"),
    "no clock": ("base: mini\nclock_mhz: 1.0e-300\n", 2, "clock_mhz"),
    "endless targets": ("base: mini\ntargets: 99999999999999999999\n", 2, "targets"),
    "a port twice": ("base: mini\nports: [[0, 1], [0, 1]]\n", 2, "ports: (0, 1) is listed twice"),
    "ports": ("base: mini\nports: [[9, 9]]\n", 2, "not on the 4 x 4 grid"),
    "base": ("name: x\nbase: other.yaml\n", 2, "; expected mini, paicore25, xbar1152"),
    "no base": ("name: x\ngrid: [1, 1]\n", 1, "missing"),
    "anchor": ("base: mini\naxons: &a 3\ncolumns: *a\n", 2, "anchors"),
    "tag": ("base: mini\naxons: !!int 3\n", 2, "tags"),
    "twice": ("base: mini\naxons: 3\naxons: 4\n", 3, "twice"),
    "a list": ("- base: mini\n", 1, "keys and values"),
    "empty": ("", 1, "keys and values"),
    "broken": ("base: mini\naxons: [1\n", 3, "not a chip"),
    "numbers as keys": ("base: mini\n1: 2\n", 2, "the key 1 is not text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_is_refused_with_line_and_key(tmp_path: Path, name: str) -> None:
    text, line, part = REFUSED[name]
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_chip(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert part in str(caught.value)
    assert "should be" not in str(caught.value), "the schema's library speaks"
    assert caught.value.exit_code == 3


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_chip(path)


def test_a_map_says_multicast_where_a_chip_has_it(tmp_path: Path) -> None:
    for says in (True, False):
        hand = two_cores()
        hand.chip = hand.chip.model_copy(update={"timing": hand.chip.timing.model_copy(update={"multicast": says})})
        path = tmp_path / f"{says}.map"
        write_mapping(hand.build(), path)
        with zipfile.ZipFile(path) as archive:
            assert (b"multicast" in archive.read("mapping.yaml")) == says, "stated where it is not the default"
        assert read_mapping(path).chip.timing == hand.chip.timing
    path = tmp_path / "chip.yaml"
    path.write_text("base: mini\ntiming: {multicast: true}\n")
    assert load_chip(path).timing.multicast
    path.write_text("base: mini\ntiming: {multicast: 1}\n")
    with pytest.raises(InputError, match=r"chip.yaml:2: timing.multicast is 1; allowed: true or false"):
        load_chip(path)
