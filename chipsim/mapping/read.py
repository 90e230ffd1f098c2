"""Read and check a ``.map`` from an untrusted source."""

from __future__ import annotations

from pathlib import Path

from chipsim.mapping import archive
from chipsim.mapping.program import ARRAYS, InputSpec, Layer, Mapping, Population
from chipsim.mapping.schema import ArrayEntry, FileEntry, Manifest
from chipsim.mapping.totals import totals
from chipsim.mapping.validate import validate_mapping

ONNX_MEMBERS = ("encoder.onnx", "readout.onnx")
MEMBERS = {"mapping.yaml", *ONNX_MEMBERS, *(f"arrays/{name}.npy" for name in ARRAYS)}


def read_mapping(path: str | Path) -> Mapping:
    """Read and validate a ``.map``.

    Raises
    ------
    MappingError
        The file cannot be read, is no ``.map``, is damaged, or breaks a rule of FORMAT.md; one line that names the place.
    """
    members = archive.unpack(Path(path), MEMBERS - {"encoder.onnx"}, {"encoder.onnx"}, ".map")
    manifest = archive.manifest(path, members["mapping.yaml"], Manifest)
    _check_directory(path, manifest, members)
    arrays = {
        name: archive.array(path, name, members[f"arrays/{name}.npy"], dtype, entry.dtype, entry.shape)
        for name, dtype in ARRAYS.items()
        for entry in [manifest.arrays[name]]
    }
    mapping = Mapping(
        model_sha256=manifest.model_sha256,
        exactness=manifest.exactness,
        generator=manifest.generator,
        chip=manifest.chip,
        input=InputSpec(**manifest.input.model_dump()),
        encoder=Population(**manifest.encoder.model_dump(exclude={"order"})),
        layers=tuple(Layer(**entry.model_dump(exclude={"order"})) for entry in manifest.layers),
        output_tensor=manifest.output.tensor,
        output_shape=manifest.output.shape,
        ticks=manifest.ticks,
        arrays=arrays,
        encoder_onnx=members.get("encoder.onnx"),
        readout_onnx=members["readout.onnx"],
    )
    validate_mapping(mapping)
    if totals(mapping) != manifest.totals.model_dump():
        raise archive.damaged(path, f"totals are {manifest.totals.model_dump()}; the arrays give {totals(mapping)}")
    return mapping


def _check_directory(path: str | Path, manifest: Manifest, members: dict[str, bytes]) -> None:
    if set(manifest.arrays) != set(ARRAYS):
        raise archive.damaged(path, "its list of arrays does not match the format")
    if {name for name in ONNX_MEMBERS if name in members} != set(manifest.files):
        raise archive.damaged(path, "its list of files does not match its members")
    listed: dict[str, ArrayEntry | FileEntry] = {f"arrays/{name}.npy": entry for name, entry in manifest.arrays.items()}
    listed.update(manifest.files.items())
    for name, entry in listed.items():
        archive.check_digest(path, name, members[name], entry.bytes, entry.sha256)
