"""Reading and writing a ``.paicore``: the same program, the same bytes, whole or not at all."""

from __future__ import annotations

import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chipsim import paths
from chipsim.files import write_atomically
from chipsim.mapping import archive
from chipsim.mapping.program import InputSpec
from chipsim.mapping.schema import InputEntry
from chipsim.mapping.write import ORDER, to_yaml
from chipsim.paicore.program import ARRAYS, Block, Core, Delivery, Output, Program, Signal
from chipsim.paicore.schema import Manifest
from chipsim.paicore.totals import totals
from chipsim.paicore.validate import validate_program

#: how every ``mapping.yaml`` of a ``.paicore`` begins
FIRST_LINE = b"format: qsnnc-paicore"
OPTIONAL = {"encoder.onnx"}
NEEDED = {"mapping.yaml", "readout.onnx", *(f"arrays/{name}.npy" for name in ARRAYS)}


def manifest(program: Program, members: dict[str, bytes]) -> dict[str, Any]:
    """Return the content of ``mapping.yaml``; ``members`` are the other members."""
    return {
        "format": "qsnnc-paicore",
        "version": 1,
        "generator": program.generator,
        "model_sha256": program.model_sha256,
        "exactness": program.exactness,
        "chip": program.chip.model_dump(mode="json"),
        "input": {key: value for key, value in _plain(program.input).items() if key in InputEntry.model_fields},
        "encoder": {**_plain(program.encoder), "order": ORDER},
        "encoder_shape": list(program.encoder_shape),
        "deliveries": [_plain(entry) for entry in program.deliveries],
        "layers": [{**_plain(layer), "order": ORDER} for layer in program.layers],
        "cores": [_plain(core) for core in program.cores],
        "output": _plain(program.output),
        "steps": program.steps,
        "root": program.root,
        "in_flight": program.in_flight,
        "totals": totals(program),
        "arrays": {
            name: {
                "dtype": dtype,
                "shape": list(getattr(program, name).shape),
                **archive.digest(members[f"arrays/{name}.npy"]),
            }
            for name, dtype in ARRAYS.items()
        },
        "files": {name: archive.digest(members[name]) for name in ("encoder.onnx", "readout.onnx") if name in members},
    }


def to_bytes(program: Program) -> bytes:
    """Serialise a program."""
    members = {f"arrays/{name}.npy": archive.npy(getattr(program, name), dtype) for name, dtype in ARRAYS.items()}
    members["readout.onnx"] = program.readout_onnx
    if program.encoder_onnx is not None:
        members["encoder.onnx"] = program.encoder_onnx
    members["mapping.yaml"] = to_yaml(manifest(program, members)).encode()
    return archive.pack(members)


def write_program(program: Program, path: str | Path) -> None:
    """Write a ``.paicore``, whole or not at all.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    write_atomically(path, to_bytes(program))


def read_program(path: str | Path) -> Program:
    """Read and validate a ``.paicore``.

    Raises
    ------
    MappingError
        The file cannot be read, is no ``.paicore``, is damaged, or breaks a rule of FORMAT.md.
    """
    members = archive.unpack(Path(path), NEEDED, OPTIONAL, ".paicore")
    m = archive.manifest(path, members["mapping.yaml"], Manifest)
    if set(m.arrays) != set(ARRAYS) or set(m.files) != {name for name in members if name.endswith(".onnx")}:
        raise archive.damaged(path, "its directory is not what it holds")
    for part, entry in m.files.items():
        archive.check_digest(path, part, members[part], entry.bytes, entry.sha256)
    arrays = {}
    for name, dtype in ARRAYS.items():
        listed, member = m.arrays[name], f"arrays/{name}.npy"  # type: ignore[index]
        archive.check_digest(path, member, members[member], listed.bytes, listed.sha256)
        arrays[name] = archive.array(path, name, members[member], dtype, listed.dtype, listed.shape)
    program = Program(
        model_sha256=m.model_sha256,
        exactness=m.exactness,
        generator=m.generator,
        chip=m.chip,
        input=InputSpec(**m.input.model_dump()),
        encoder=Signal(**m.encoder.model_dump(exclude={"order"})),
        encoder_shape=m.encoder_shape,
        deliveries=tuple(Delivery(**entry.model_dump()) for entry in m.deliveries),
        layers=tuple(Block(**entry.model_dump(exclude={"order"})) for entry in m.layers),
        cores=tuple(Core(**entry.model_dump()) for entry in m.cores),
        output=Output(**m.output.model_dump()),
        steps=m.steps,
        root=m.root,
        in_flight=m.in_flight,
        encoder_onnx=members.get("encoder.onnx"),
        readout_onnx=members["readout.onnx"],
        **arrays,
    )
    validate_program(program)
    if totals(program) != m.totals.model_dump():
        raise archive.damaged(path, f"totals are {m.totals.model_dump()}; the words hold {totals(program)}")
    return program


def is_paicore(path: str | Path) -> bool:
    """Whether a file says that it is a ``.paicore``, whatever it is called; not whether it is a good one."""
    if not paths.is_stored(path):
        return False
    try:
        with zipfile.ZipFile(path) as opened, opened.open("mapping.yaml") as member:
            return member.read(len(FIRST_LINE)) == FIRST_LINE
    except Exception:  # noqa: BLE001 - no archive at all; who reads it says what is wrong with it
        return False


def _plain(value: Any) -> dict[str, Any]:
    """Fields of a frozen value as YAML has them."""
    return {name: list(item) if isinstance(item, tuple) else item for name, item in asdict(value).items()}
