"""A ``.map`` that anyone may have written: refused in one line, or read with the same results."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx import TensorProto
from support.hand_mappings import encoder_onnx, random_map, readout_onnx, two_cores

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import InputError, MappingError
from chipsim.mapping import ARRAYS, archive, read_mapping, validate_mapping, write_mapping
from chipsim.mapping.archive import FLOOR
from chipsim.mapping.write import Ahead, to_bytes

FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
IMAGES = Dataset("hand", "test", np.array([[2, 0], [2, 1], [0, 2]], np.float32), None)


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def listed(members: dict[str, bytes], edit: Any = None) -> dict[str, bytes]:
    """List the members' true digests in mapping.yaml, so that the damage is met behind them."""
    manifest = yaml.load(members["mapping.yaml"], FAST)
    for name, content in members.items():
        digest = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        if name.startswith("arrays/"):
            manifest["arrays"][name[7:-4]].update(digest)
        elif name != "mapping.yaml":
            manifest["files"][name] = digest
    if edit:
        edit(manifest)
    return {**members, "mapping.yaml": yaml.safe_dump(manifest, sort_keys=False).encode()}


def with_array(name: str, array: np.ndarray) -> bytes:
    """A mapping with another array, everything that lists it in agreement."""
    members = members_of(to_bytes(two_cores().build()))
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0))
    members[f"arrays/{name}.npy"] = buffer.getvalue()

    def shape(manifest: dict[str, Any]) -> None:
        manifest["arrays"][name].update(shape=list(array.shape), dtype=str(array.dtype))

    return pack(listed(members, shape))


def refusal(path: Path, content: bytes, *, run: bool = False) -> MappingError:
    path.write_bytes(content)
    with pytest.raises(MappingError) as caught:
        chipsim.run(path, IMAGES) if run else read_mapping(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    assert caught.value.exit_code == 3
    assert caught.value.code.startswith("map-")
    return caught.value


def outcome(path: Path) -> tuple[Any, ...]:
    result = chipsim.run(path, IMAGES, threads=1)
    return result.potentials.tolist(), result.scores.tolist(), result.cores, result.packets, result.chip


@pytest.mark.parametrize("seed", range(5))
def test_written_and_read_is_the_same(tmp_path: Path, seed: int) -> None:
    mapping = random_map(np.random.default_rng(seed)).build()
    path = tmp_path / "a.map"
    write_mapping(mapping, path)
    back = read_mapping(path)
    assert to_bytes(back) == path.read_bytes() == to_bytes(mapping)
    for name in ARRAYS:
        assert np.array_equal(back.arrays[name], mapping.arrays[name])
        assert not back.arrays[name].flags.writeable
    assert (back.layers, back.encoder, back.input) == (mapping.layers, mapping.encoder, mapping.input)


def test_the_archive_is_canonical(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(to_bytes(two_cores().build()))) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_DEFLATED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    mapping = two_cores().build()
    with pytest.raises(InputError) as caught:
        write_mapping(mapping, tmp_path / "missing" / "a.map")
    assert caught.value.exit_code == 3
    (tmp_path / "folder.map").mkdir()
    with pytest.raises(InputError):
        write_mapping(mapping, tmp_path / "folder.map")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.map"]


@pytest.mark.slow
def test_any_flipped_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    good = to_bytes(two_cores().build())
    path.write_bytes(good)
    expected = outcome(path)
    rng = np.random.default_rng(0)
    # every byte of the archive's own structure and a sample of the rest
    places = set(rng.integers(0, len(good), 250).tolist()) | set(range(60)) | set(range(len(good) - 300, len(good)))
    for place in sorted(places):
        broken = bytearray(good)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            found = outcome(path)
        except MappingError:
            continue
        assert found == expected, place


def test_any_truncation_is_refused(tmp_path: Path) -> None:
    good = to_bytes(two_cores().build())
    for length in [*range(0, len(good), 97), len(good) - 1]:
        refusal(tmp_path / "a.map", good[:length])


def test_foreign_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    members = members_of(to_bytes(two_cores().build()))
    refusal(path, b"")
    refusal(path, b"PK\x05\x06" + bytes(18))
    refusal(path, b"\x89PNG not a mapping")
    refusal(path, pack({**members, "notes.txt": b"hello"}))
    refusal(path, pack({**members, "../../escape": b"x"}))
    refusal(path, pack(members, method=zipfile.ZIP_BZIP2))
    refusal(path, pack(members, method=zipfile.ZIP_LZMA))
    for name in members:
        if name != "encoder.onnx":
            assert name in str(refusal(path, pack({n: c for n, c in members.items() if n != name})))
    refusal(path, pack({n: c for n, c in members.items() if n != "encoder.onnx"}))
    buffer = io.BytesIO(pack(members))
    with zipfile.ZipFile(buffer, "a") as twice, pytest.warns(UserWarning, match="Duplicate"):
        twice.writestr("readout.onnx", members["readout.onnx"])
    refusal(path, buffer.getvalue())
    with pytest.raises(MappingError):
        read_mapping(tmp_path)
    with pytest.raises(MappingError):
        read_mapping(tmp_path / "none.map")


@pytest.mark.slow
def test_members_that_unpack_to_more_than_a_file_of_that_size_may_hold(tmp_path: Path) -> None:
    members = members_of(to_bytes(two_cores().build()))
    large = {**members, "readout.onnx": bytes(FLOOR + 1)}
    error = refusal(tmp_path / "a.map", pack(large, method=zipfile.ZIP_DEFLATED))
    assert "more bytes than a file of its size may hold" in str(error)
    assert "SHA-256" in str(refusal(tmp_path / "a.map", pack(large)))  # stored, it is as large as it says


def test_a_deflated_member_that_is_cut_or_longer_than_it_says(tmp_path: Path) -> None:
    good = to_bytes(two_cores().build())
    with zipfile.ZipFile(io.BytesIO(good)) as container:
        entry = max(container.infolist(), key=lambda entry: entry.file_size)
    at = entry.header_offset + 30 + len(entry.filename) + 8
    refusal(tmp_path / "a.map", good[:at] + bytes(4) + good[at + 4 :])
    size = entry.file_size.to_bytes(4, "little")
    refusal(tmp_path / "a.map", good.replace(size, (entry.file_size - 1).to_bytes(4, "little")))


@pytest.mark.slow
def test_the_writer_stores_what_no_reader_would_unpack() -> None:
    content = archive.pack({"a": bytes(FLOOR + 1)}, deflate=True)
    assert len(content) > FLOOR
    ahead = {"b": archive.part("b", b"of any content")}
    whole = archive.pack({"a": bytes(FLOOR + 1), "b": b"of any content"}, deflate=True)
    assert archive.pack({"a": bytes(FLOOR + 1)}, deflate=True, ahead=ahead) == whole


def test_arrays_that_are_deflated_ahead_make_the_same_file() -> None:
    mapping = two_cores().build()
    ahead = Ahead(mapping, "core_position")
    elsewhere = replace(mapping, arrays={**mapping.arrays, "core_position": mapping.core_position[::-1].copy()})
    assert set(ahead.parts(elsewhere)) == {f"arrays/{name}.npy" for name in mapping.arrays if name != "core_position"}
    assert to_bytes(elsewhere, ahead) == to_bytes(elsewhere)


def test_a_declared_size_beyond_the_file_allocates_nothing(tmp_path: Path) -> None:
    good = bytearray(to_bytes(two_cores().build()))
    directory = good.index(b"PK\x01\x02")
    good[directory + 20 : directory + 28] = (0xFFFFFFF0).to_bytes(4, "little") * 2
    refusal(tmp_path / "a.map", bytes(good))


YAMLS = {
    "anchor": b"a: &x [1]\nb: *x\n",
    "bomb": b"a: &a [l,l]\nb: &b [*a,*a]\nc: &c [*b,*b]\n",
    "tag": b"a: !!python/object/apply:os.system [true]\n",
    "twice": b"format: qsnnc-map\nformat: qsnnc-map\n",
    "deep": b"[" * 3000,
    "list": b"- 1\n",
    "nothing": b"",
    "binary": b"\xff\xfe\x00",
    "large": b"#" * (4 << 20) + b"\nformat: qsnnc-map\n",
    "open": b"a: 'never closed",
    "number": b"format: " + b"9" * 6000,
}


@pytest.mark.parametrize("name", YAMLS)
def test_hostile_yaml(tmp_path: Path, name: str) -> None:
    members = members_of(to_bytes(two_cores().build()))
    refusal(tmp_path / "a.map", pack({**members, "mapping.yaml": YAMLS[name]}))


def _set(*path: Any) -> Any:
    def edit(manifest: dict[str, Any]) -> None:
        node = manifest
        for key in path[:-2]:
            node = node[key]
        node[path[-2]] = path[-1]

    return edit


MANIFESTS = [
    _set("version", 0), _set("version", 1), _set("version", 3), _set("version", True), _set("format", "other"), _set("steps", 0),
    _set("steps", 2), _set("input", "code", "spikes"), _set("output", "of", "count"), _set("layers", 0, "neuron", {"reset": "none"}), _set("extra", 1), _set("model_sha256", "zz"), _set("ticks", 99),
    _set("ticks", True), _set("encoder", "scale", float("nan")), _set("encoder", "scale", float("inf")), _set("encoder", "levels", 0),
    _set("encoder", "shape", [-2]), _set("encoder", "shape", [2**40]), _set("encoder", "shape", [2**30] * 8),
    _set("encoder", "tick", 1), _set("encoder", "order", "level-major"), _set("layers", []), _set("layers", 0, "shape", [2**31 - 1] * 8),
    _set("layers", 1, "shape", [2**31 - 1] * 8), _set("layers", 0, "tick", 2), _set("layers", 0, "synapses", 7),
    _set("layers", 0, "neurons", 3), _set("layers", 0, "cores", 2), _set("layers", 0, "fold", 2), _set("layers", 0, "weight_bits", 4),
    _set("layers", 0, "levels", 0), _set("layers", 1, "levels", 1), _set("layers", 0, "name", "out"), _set("layers", 0, "limiting", "luck"),
    _set("chip", "grid", [1, 1]), _set("chip", "axons", 3), _set("chip", "columns", 3), _set("chip", "targets", 1),
    _set("chip", "weight_bits", [2]), _set("chip", "max_delay", 1), _set("chip", "potential_bits", 2), _set("chip", "axons", 0),
    _set("chip", "secret", 1), _set("totals", "axons", 1), _set("totals", "packets_max", 0), _set("arrays", "core_layer", "shape", [3]),
    _set("arrays", "core_layer", "shape", [1 << 39]), _set("arrays", "core_layer", "shape", [-1]), _set("arrays", "axon_source", "dtype", "int64"),
    _set("arrays", "axon_source", "dtype", "object"), _set("arrays", "axon_source", "sha256", "0" * 64), _set("arrays", "axon_source", "bytes", 1),
    _set("arrays", "other", {"dtype": "int32", "shape": [1], "bytes": 1, "sha256": "0" * 64}), _set("files", {}),
    _set("input", "dtype", "object"), _set("input", "std", [0.0]), _set("input", "pixels", "percent"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(MANIFESTS)))
def test_a_manifest_that_contradicts(tmp_path: Path, number: int) -> None:
    members = members_of(to_bytes(two_cores().build()))
    refusal(tmp_path / "a.map", pack(listed(members, MANIFESTS[number])))


@pytest.mark.slow
def test_hostile_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    good = two_cores().build().arrays
    for name, array in good.items():
        wrong = np.float32 if name != "crossbar_bits" else np.int16
        refusal(path, with_array(name, array.astype(wrong)))
        refusal(path, with_array(name, array[:0]))
        refusal(path, with_array(name, np.concatenate([array, array])))
        refusal(path, with_array(name, array.astype(array.dtype.newbyteorder(">")))) if array.dtype.itemsize > 1 else None
        for value in (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max):
            if name in ("dense_fanout", "crossbar_bits") or (value == 0 and name != "target_delay"):
                continue
            bad = array.copy()
            bad.reshape(-1)[-1] = value
            refusal(path, with_array(name, bad))
    refusal(path, with_array("dense_fanout", np.full(8, -1, np.int32)))
    members = members_of(to_bytes(two_cores().build()))
    for header in (b"", b"\x93NUMPY", b"\x93NUMPY\x02\x00" + bytes(100)):
        refusal(path, pack(listed({**members, "arrays/core_layer.npy": header})))
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}, {}], object), allow_pickle=True)
    refusal(path, pack(listed({**members, "arrays/core_layer.npy": buffer.getvalue()})))
    buffer = io.BytesIO()
    np.save(buffer, np.asfortranarray(np.array([[0, 0], [1, 0]], np.int32)))
    refusal(path, pack(listed({**members, "arrays/core_position.npy": buffer.getvalue()})))


@pytest.mark.slow
def test_each_rule_names_its_core(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    good = two_cores().build().arrays

    def changed(name: str, place: Any, value: int) -> str:
        array = good[name].copy()
        array[place] = value
        return str(refusal(path, with_array(name, array)))

    assert changed("core_position", (1, 0), 0).startswith("core 1: position in use")
    assert changed("core_position", (1, 0), 4).startswith("core 1: position on the grid")
    assert changed("core_fold", 1, 3).startswith("core 1: fold")
    assert changed("core_weight_bits", 1, 2).startswith("core 1:")
    assert changed("core_crossbar", 1, 0).startswith("core 1: crossbar")
    assert changed("target_axon", 0, 1).startswith("core 0: axon 0 has 0 sources")  # two sources on one axon
    assert changed("axon_source", 0, 1).startswith("core 0: axon 0 is a target of a source other")
    assert changed("target_delay", 0, 2).startswith("core 0: a spike of source 0 arrives in tick 0 + 2")
    assert changed("neuron_element", 1, 0).startswith("core 0: a neuron's element")
    assert changed("neuron_element", 1, 2).startswith("core 0: a neuron's element lies outside")
    assert changed("neuron_threshold", 0, 1024).startswith("core 0: neuron_threshold[0] is 1024; allowed: -1024 to 1023")
    assert changed("neuron_threshold", 2, -1025).startswith("core 1: neuron_threshold[2] is -1025")
    assert changed("target_delay", 0, 0).startswith("host: target_delay[0] is 0; allowed: 1 to 3")
    assert changed("target_delay", -1, 9).startswith("core 0: target_delay[")
    assert changed("target_axon", 0, 999).startswith("host: target_axon[0] is 999")
    assert changed("axon_source", -1, 999).startswith("core 1: axon_source[")
    assert changed("core_layer", 1, 7).startswith("core 1: core_layer[1] is 7; allowed: 0 to 1")
    assert changed("dense_fanout", 0, -1).startswith("host: dense_fanout[0] is -1")
    assert changed("neuron_threshold", 2, 1).startswith("out: a readout neuron has a threshold")
    assert changed("target_offset", 1, 2).startswith("core 0: axon 1 is a target of a source other")
    assert "must be non-decreasing" in changed("target_offset", 1, 7)
    for place, value in (((1, 0), -1), ((1, 2), 3)):
        assert changed("crossbar_shape", place, value).startswith("core 1: crossbar 1 has the invalid shape")
    assert changed("crossbar_offset", 1, 0).startswith("core 0: crossbar 0 does not have the size")


def test_a_crossbar_beyond_the_potential(tmp_path: Path) -> None:
    hand = two_cores()
    hand.chip = hand.chip.model_copy(update={"potential_bits": 3})
    with pytest.raises(MappingError, match="core 1: crossbar 1 reaches potentials -5 to 5; allowed: -4 to 3"):
        chipsim.mapping.validate_mapping(hand.build())


def test_pixels_of_another_number_of_channels_than_the_image(tmp_path: Path) -> None:
    mapping = two_cores().build()
    for pixels in ("raw", "normal"):
        for name in ("mean", "std"):
            with pytest.raises(MappingError, match=f"input: {name} has 3 values; allowed: 1, or one for each of 2 channels"):
                validate_mapping(replace(mapping, input=replace(mapping.input, pixels=pixels, **{name: (1.0,) * 3})))


def test_removed_neurons_are_those_that_no_core_holds(tmp_path: Path) -> None:
    mapping = two_cores().build()
    wrong = replace(mapping.layers[0], removed=1)
    with pytest.raises(MappingError, match="hidden: has removed 1; the arrays give 0"):
        validate_mapping(replace(mapping, layers=(wrong, *mapping.layers[1:])))


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_values_that_an_encoder_does_not_take(engine: str) -> None:
    images = np.array([[2, 0], [-(2.0**31), 1]], np.float32)  # which its Cast makes a level of -2147483648
    with pytest.raises(InputError, match="the mapping's encoder does not take") as caught:
        chipsim.run(two_cores().build(), Dataset("hand", "test", images, None), engine=engine)
    assert "--encoder" not in str(caught.value)


def test_a_stray_bit_behind_the_last_weight(tmp_path: Path) -> None:
    hand = two_cores()
    hand.cores[1].weights, hand.cores[1].sources = [[3, -1], [2, 0], [-5, 1]][:2], [4, 5]
    hand.cores[1].bits = 1
    hand.cores[1].weights = [[1, 0], [1, 1]]
    mapping = hand.build()
    mapping.arrays["crossbar_bits"][-1] |= 128
    with pytest.raises(MappingError, match="core 1: crossbar 1 has non-zero bits after its last weight"):
        chipsim.mapping.validate_mapping(mapping)


ENDS = {
    "no onnx": ("readout.onnx", b"not onnx"),
    "empty": ("readout.onnx", b""),
    "another input": ("readout.onnx", readout_onnx(2, source="spikes")),
    "another size": ("readout.onnx", readout_onnx(3)),
    "an encoder of another size": ("encoder.onnx", encoder_onnx(3)),
    "levels that are floats": ("encoder.onnx", encoder_onnx(2, to=TensorProto.FLOAT)),
    "a read-out as encoder": ("encoder.onnx", readout_onnx(2)),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_that_are_not_what_the_format_promises(tmp_path: Path, name: str) -> None:
    member, content = ENDS[name]
    members = members_of(to_bytes(two_cores().build()))
    error = refusal(tmp_path / "a.map", pack(listed({**members, member: content})), run=True)
    assert error.subject == member
    assert error.code == "map-onnx"


def test_external_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx
    from onnx import helper, numpy_helper

    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(np.float32(9).tobytes())
    for inside in (False, True):
        proto = onnx.load_model_from_string(readout_onnx(2))
        tensor = proto.graph.initializer[0]
        del proto.graph.initializer[:]
        tensor = onnx.TensorProto(name="half", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="secret")
        if inside:
            proto.graph.node.insert(0, helper.make_node("Constant", [], ["half"], value=tensor))
        else:
            proto.graph.initializer.append(tensor)
        members = members_of(to_bytes(two_cores().build()))
        content = pack(listed({**members, "readout.onnx": proto.SerializeToString()}))
        assert "external data" in str(refusal(tmp_path / "a.map", content, run=True))
    assert numpy_helper is not None


def test_fixed_batches_of_one_are_run_image_by_image(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    members = members_of(to_bytes(two_cores().build()))
    path.write_bytes(pack(listed(members)))
    expected = outcome(path)
    fixed = {"encoder.onnx": encoder_onnx(2, batch=1), "readout.onnx": readout_onnx(2, batch=1)}
    path.write_bytes(pack(listed({**members, **fixed})))
    assert outcome(path) == expected


def test_spikes_as_input_are_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    members = members_of(to_bytes(two_cores().build()))
    del members["encoder.onnx"]

    def edit(manifest: dict[str, Any]) -> None:
        del manifest["files"]["encoder.onnx"]
        manifest["input"].update(dtype="uint8", shape=[2, 2])

    path.write_bytes(pack(listed(members, edit)))
    bits = np.array([[[1, 1], [0, 0]], [[1, 1], [1, 0]]], np.uint8)
    assert chipsim.run(path, Dataset("bits", "test", bits, None)).potentials.tolist() == [[5, -1], [-2, 0]]
    with pytest.raises(InputError, match="must be 0 or 1"):
        chipsim.run(path, Dataset("bits", "test", bits * 3, None))

    def small(manifest: dict[str, Any]) -> None:
        edit(manifest)
        manifest["input"].update(shape=[3])

    assert refusal(path, pack(listed(members, small))).code == "map-rule"
