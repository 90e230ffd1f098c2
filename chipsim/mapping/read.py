"""Read and check a ``.map`` from an untrusted source."""

from __future__ import annotations

from pathlib import Path

from chipsim.mapping import archive
from chipsim.mapping.dynamics import NeuronModel
from chipsim.mapping.program import (
    ARRAYS,
    CEILING,
    MARGIN,
    STATE_ARRAYS,
    InputSpec,
    Layer,
    Mapping,
    Population,
    array_dtypes,
)
from chipsim.mapping.schema import ArrayEntry, FileEntry, LayerEntry, Manifest
from chipsim.mapping.totals import totals
from chipsim.mapping.validate import validated_synapses
from chipsim.mapping.write import FILES

#: members that every file has, and those that a file may have besides
NEEDED = {"mapping.yaml", "readout.onnx", *(f"arrays/{name}.npy" for name in ARRAYS)}
OPTIONAL = {"encoder.onnx", "network.json", *(f"arrays/{name}.npy" for name in (*STATE_ARRAYS, CEILING, MARGIN))}


def read_mapping(path: str | Path) -> Mapping:
    """Read and validate a ``.map``.

    Raises
    ------
    MappingError
        The file cannot be read, is no ``.map``, is damaged, or breaks a rule of FORMAT.md; one line that names the place.
    """
    members = archive.unpack(Path(path), NEEDED, OPTIONAL, ".map", deflated=True)
    manifest = archive.manifest(path, members["mapping.yaml"], Manifest)
    dtypes = array_dtypes(
        stateful=any(entry.neuron for entry in manifest.layers),
        limited=any(entry.name in manifest.watched for entry in manifest.layers),
        uncertain=MARGIN in manifest.arrays,
    )
    _check_directory(path, manifest, members, set(dtypes))
    arrays = {
        name: archive.array(path, name, members[f"arrays/{name}.npy"], dtype, entry.dtype, entry.shape)
        for name, dtype in dtypes.items()
        for entry in [manifest.arrays[name]]
    }
    mapping = Mapping(
        model_sha256=manifest.model_sha256,
        exactness=manifest.exactness,
        generator=manifest.generator,
        chip=manifest.chip,
        input=InputSpec(**manifest.input.model_dump()),
        encoder=Population(**manifest.encoder.model_dump(exclude={"order"})),
        layers=tuple(map(_layer, manifest.layers)),
        output_tensor=manifest.output.tensor,
        output_shape=manifest.output.shape,
        ticks=manifest.ticks,
        arrays=arrays,
        encoder_onnx=members.get("encoder.onnx"),
        readout_onnx=members["readout.onnx"],
        network=members.get("network.json"),
        steps=manifest.steps,
        readout_of=manifest.output.of,
        watched=manifest.watched,
        unwatched=manifest.unwatched,
        slack=manifest.slack,
    )
    found = totals(mapping, validated_synapses(mapping))
    if found != manifest.totals.model_dump():
        raise archive.damaged(path, f"totals are {manifest.totals.model_dump()}; the arrays give {found}")
    return mapping


def _layer(entry: LayerEntry) -> Layer:
    neuron = None if entry.neuron is None else NeuronModel(**entry.neuron.model_dump())
    return Layer(**entry.model_dump(exclude={"order", "neuron"}), neuron=neuron)


def _check_directory(path: str | Path, manifest: Manifest, members: dict[str, bytes], arrays: set[str]) -> None:
    stored = {name.removeprefix("arrays/").removesuffix(".npy") for name in members if name.startswith("arrays/")}
    if set(manifest.arrays) != arrays or stored != arrays:
        raise archive.damaged(path, "its list of arrays does not match the format")
    if {name for name in FILES if name in members} != set(manifest.files):
        raise archive.damaged(path, "its list of files does not match its members")
    listed: dict[str, ArrayEntry | FileEntry] = {f"arrays/{name}.npy": entry for name, entry in manifest.arrays.items()}
    listed.update(manifest.files.items())
    for name, entry in listed.items():
        archive.check_digest(path, name, members[name], entry.bytes, entry.sha256)
