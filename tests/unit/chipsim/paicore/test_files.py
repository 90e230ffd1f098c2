"""``.paicore`` files: written whole, read as they were, refused where they are damaged or break a rule."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support import networks
from support.paicore_reader import Reader
from support.paicores import chip, compiled, levels_of

from chipsim.errors import MappingError
from chipsim.paicore import Program, is_paicore, read_program, to_bytes, validate_program, write_program
from chipsim.paicore import words as w
from chipsim.paicore.fields import Layout
from chipsim.paicore.memory import load, records
from qsnnc.ir.layers import LayerGraph

RECIPE = networks.Recipe(6, 2, 1, 3, ("conv", "maxpool", "dense"), 4, 3, odd=False)


@pytest.fixture(scope="module", params=["thermometer", "value"])
def made(request: pytest.FixtureRequest) -> tuple[LayerGraph, Program]:
    graph, done = compiled(networks.build(RECIPE), chip(), request.param)
    assert done.program is not None
    return graph, done.program


@pytest.mark.slow
def test_the_same_program_gives_the_same_bytes(made: tuple[LayerGraph, Program], tmp_path: Path) -> None:
    _, program = made
    write_program(program, tmp_path / "a.paicore")
    again = read_program(tmp_path / "a.paicore")
    assert to_bytes(again) == to_bytes(program) == (tmp_path / "a.paicore").read_bytes()
    assert is_paicore(tmp_path / "a.paicore")
    (tmp_path / "b.paicore").write_bytes(b"PK no archive")
    assert not is_paicore(tmp_path / "b.paicore")
    assert not is_paicore(tmp_path / "none.paicore")


@pytest.mark.slow
def test_every_damaged_byte_is_refused(made: tuple[LayerGraph, Program], tmp_path: Path) -> None:
    content = to_bytes(made[1])
    path = tmp_path / "a.paicore"
    refused = 0
    for at in np.random.default_rng(0).integers(0, len(content), 60).tolist():
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        try:
            assert to_bytes(read_program(path)) == content  # a byte of the container that says nothing
        except MappingError:
            refused += 1
    assert refused > 50
    for stop in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:stop])
        with pytest.raises(MappingError):
            read_program(path)


def edited(content: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """The archive with another ``mapping.yaml``."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = yaml.safe_load(members["mapping.yaml"])
    edit(manifest)
    members["mapping.yaml"] = yaml.safe_dump(manifest, sort_keys=False).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return buffer.getvalue()


EDITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "version": lambda m: m.update(version=2),
    "key": lambda m: m.update(more=1),
    "chip": lambda m: m["chip"].update(memory_rows=8),
    "kind": lambda m: m["chip"].update(kind="crossbar"),
    "position": lambda m: m["cores"][0].update(x=8, y=8),
    "layer": lambda m: m["cores"][0].update(layer=9),
    "rows": lambda m: m["cores"][0].update(weights=m["cores"][0]["weights"] + 1),
    "neurons": lambda m: m["cores"][0].update(neurons=m["cores"][0]["neurons"] + 1),
    "tick": lambda m: m["layers"][0].update(tick=2),
    "levels": lambda m: m["layers"][0].update(levels=0),
    "bound": lambda m: m["layers"][0].update(bound=m["layers"][0]["bound"] + 1),
    "synapses": lambda m: m["layers"][0].update(synapses=m["layers"][0]["synapses"] + 1),
    "output": lambda m: m["output"].update(base=32),
    "delivery": lambda m: m["deliveries"][0].update(base=1 << 20),
    "nowhere": lambda m: m["deliveries"][0].update(x=8, y=3),
    "rows sent": lambda m: m["deliveries"][0].update(last_row=99),
    "steps": lambda m: m.update(steps=m["steps"] + 1),
    "root": lambda m: m.update(root=80),
    "in flight": lambda m: m.update(in_flight=257),
    "shape": lambda m: m.update(encoder_shape=[1, 1, 1]),
    "files": lambda m: m["files"].pop("encoder.onnx"),
    "hash": lambda m: m["arrays"]["words"].update(sha256=hashlib.sha256(b"").hexdigest()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EDITS)
def test_a_contradiction_is_refused(made: tuple[LayerGraph, Program], tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.paicore"
    path.write_bytes(edited(to_bytes(made[1]), EDITS[name]))
    with pytest.raises(MappingError) as caught:
        read_program(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_every_damaged_word_is_refused_or_harmless(made: tuple[LayerGraph, Program], tmp_path: Path) -> None:
    """With the right hashes: whoever wrote it, nothing runs that the page does not allow; what runs is what the words say."""
    graph, program = made
    rng = np.random.default_rng(5)
    image = levels_of(graph, 1, 0)[0]
    refused = 0
    for _ in range(150):
        words = program.words.copy()
        at = int(rng.integers(len(words)))
        words[at] ^= np.uint64(1) << np.uint64(rng.integers(64))
        changed = replace(program, words=words)
        try:
            validate_program(changed)
        except MappingError:
            refused += 1
            continue
        write_program(changed, tmp_path / "a.paicore")
        Reader(tmp_path / "a.paicore").run(image)  # no address out of range, no fold without end
    assert refused > 10  # with tables, most words are entries that nothing looks up


def changed_field(program: Program, layout: Layout, row: int, field: str, value: int) -> Program:
    """Another value in a field of the first core: of its registers (row -1) or of a row of its memory."""
    words = program.words.copy()
    at = 1 if row < 0 else next(k for k in range(4, len(words)) if words[k] >> np.uint64(60) == 2) + 1 + 2 * row
    values = layout.one(words[at : at + layout.words])
    values[field] = value
    words[at : at + layout.words] = layout.pack(values)
    return replace(program, words=words)


REGISTERS = {
    "add_potential": 1, "zero_output": 1, "input_sign": 1, "axon_skew": 1, "csc_accelerate": 1, "thread_number": 1,
    "tick_initial": 1, "tick_start": 0, "tick_duration": 2, "lcn": 8, "target_lcn": 9, "neuron_number": 4097,
    "busy_cycle": 1, "test_core_x": 3, "global_send": 0, "input_width": 3, "weight_width": 0, "output_width": 3,
}  # fmt: skip
PARTS = {
    "part1": {"weight_end": 4095, "skew": 65_535, "x": 7, "copies_y": 6, "copies_x": 1, "z": 1, "tick_relative": 255,
              "output_potential": 1},
    "part2": {"leak_tau": 1, "reset_mode": 1, "floor": 0, "initial": 1, "lateral_inhibition": 1,
              "negative_threshold": 0, "leak_add_mode": 1},
    "fold": {"number": 0, "range_y": 0, "skew_y": 2047, "axon_x": 2047, "range_x": 0},
}  # fmt: skip


@pytest.mark.parametrize("field", REGISTERS)
def test_a_register_that_is_not_used_is_refused(made: tuple[LayerGraph, Program], field: str) -> None:
    with pytest.raises(MappingError):
        validate_program(changed_field(made[1], w.REGISTERS, -1, field, REGISTERS[field]))


@pytest.mark.parametrize(("part", "field"), [(part, field) for part, fields in PARTS.items() for field in fields])
def test_a_record_that_breaks_a_rule_is_refused(made: tuple[LayerGraph, Program], part: str, field: str) -> None:
    first = records(load(made[1].words)[0])[0]
    assert first.part1["full"]
    assert first.fold is not None
    row = {"part1": 0, "part2": 1, "fold": 2}[part]
    layout = {"part1": w.PART1, "part2": w.PART2, "fold": w.FOLD}[part]
    with pytest.raises(MappingError):
        validate_program(changed_field(made[1], layout, row, field, PARTS[part][field]))
