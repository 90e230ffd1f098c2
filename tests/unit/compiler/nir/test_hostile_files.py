"""Damaged and hostile NIR files: one line, exit code 3, and nothing large is allocated on the way."""

import io
from contextlib import suppress

import h5py
import numpy as np
import pytest
from support.command_line import qsnnc
from support.frameworks import EXAMPLES
from support.random_nir import chain

from qsnnc.errors import ModelError
from qsnnc.nir.reading import read_nir
from qsnnc.nir.writing import to_bytes

ONE = np.ones(2)
SOUND = chain(
    (2,),
    ("Affine", {"weight": np.array([[1.0, -2.0], [3.0, 1.0]]), "bias": np.zeros(2)}),
    ("IF", {"r": ONE, "v_threshold": 2 * ONE}),
)


def changed(change) -> bytes:
    """A sound file with something done to it."""
    buffer = io.BytesIO(to_bytes(SOUND))
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


def dataset(file, name, **options):
    del file[name]
    return file.create_dataset(name, **options)


def dataset_new(file, name, text):
    return file.create_dataset(name, data=text, dtype=h5py.string_dtype())


def huge(file):
    dataset(file, "node/nodes/n0/weight", shape=(1 << 20, 1 << 20), dtype="f8", chunks=(1 << 10, 1 << 10))


def unallocated(file):
    dataset(file, "node/nodes/n0/weight", shape=(4096, 4096), dtype="f8", chunks=(64, 64))


def link(file):
    del file["node/nodes/n0"]
    file["node/nodes/n0"] = h5py.ExternalLink("/etc/other.h5", "/x")


def soft(file):
    del file["node/nodes/n0/weight"]
    file["node/nodes/n0/weight"] = h5py.SoftLink("/version")


def loop(file):
    file["node/type"]  # there
    del file["node/nodes/n0"]
    file["node/nodes/n0"] = file["node"]


def virtual(file):
    layout = h5py.VirtualLayout(shape=(2, 2), dtype="f8")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", shape=(2, 2))
    del file["node/nodes/n0/weight"]
    file.create_virtual_dataset("node/nodes/n0/weight", layout)


def text(name, value):
    return lambda file: dataset(file, name, data=value, dtype=h5py.string_dtype())


CHANGES = {
    "huge": huge,
    "unallocated": unallocated,
    "external link": link,
    "soft link": soft,
    "graph within itself": loop,
    "virtual": virtual,
    "no node": lambda file: file.__delitem__("node"),
    "no nodes": lambda file: file.__delitem__("node/nodes"),
    "no edges": lambda file: file.__delitem__("node/edges"),
    "no type": lambda file: file.__delitem__("node/nodes/n1/type"),
    "no weight": lambda file: file.__delitem__("node/nodes/n0/weight"),
    "node is data": lambda file: dataset(file, "node/nodes/n0", data=np.zeros(3)),
    "edges of numbers": lambda file: dataset(file, "node/edges", data=np.zeros((3, 2))),
    "edges of three": lambda file: dataset(
        file, "node/edges", data=np.array([["a", "b", "c"]], object), dtype=h5py.string_dtype()
    ),
    "edge to nowhere": lambda file: dataset(
        file, "node/edges", data=np.array([["input", "x"]], object), dtype=h5py.string_dtype()
    ),
    "cycle": lambda file: dataset(
        file,
        "node/edges",
        data=np.array([["input", "n0"], ["n0", "n1"], ["n1", "n0"], ["n1", "output"]], object),
        dtype=h5py.string_dtype(),
    ),
    "no weights": lambda file: [file.__delitem__("node/nodes/n0/bias"), file.__delitem__("node/nodes/n1/r")],
    "complex": lambda file: dataset(file, "node/nodes/n0/weight", data=np.zeros((2, 2), complex)),
    "empty": lambda file: dataset(file, "node/nodes/n0/weight", data=h5py.Empty("f8")),
    "texts": lambda file: dataset(
        file, "node/nodes/n0/weight", data=np.array(["a", "b"], object), dtype=h5py.string_dtype()
    ),
    "long text": text("node/nodes/n0/type", "x" * 5000),
    "not a graph": text("node/type", "Affine"),
    "control characters": text("node/nodes/n0/type", "Af\nfine\x1b[31m"),
    "NaN": lambda file: file["node/nodes/n1/v_threshold"].__setitem__(0, np.nan),
    "negative shape": lambda file: dataset(file, "node/nodes/input/shape", data=np.array([-2])),
    "huge input": lambda file: dataset(file, "node/nodes/input/shape", data=np.array([1 << 40])),
    "huge kernel": lambda file: dataset(file, "node/nodes/n0/bias", data=np.full(2, 1e300)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_one_line_and_exit_code_3(name, tmp_path):
    path, out = tmp_path / "net.nir", tmp_path / "net.map"
    path.write_bytes(changed(CHANGES[name]))
    done = qsnnc("compile", str(path), "-o", str(out), "--semantics", "spikingjelly", "--steps", "4", "--input", "spikes")
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "\x1b" not in done.stderr
    assert not out.exists()


def test_truncated_at_any_length(tmp_path):
    example = next(e for e in EXAMPLES if e.name == "sinabs_mlp")
    content = example.write(tmp_path).read_bytes()
    path = tmp_path / "cut.nir"
    for length in [*range(0, 600, 50), *range(600, len(content), 2_500)]:
        path.write_bytes(content[:length])
        with pytest.raises(ModelError) as error:
            read_nir(path)
        assert error.value.code == "nir-corrupt"


@pytest.mark.slow
def test_damaged_bytes_are_refused_or_read(tmp_path):
    content = bytearray(to_bytes(SOUND))
    path, rng = tmp_path / "bent.nir", np.random.default_rng(3)
    for _ in range(150):
        bent = bytearray(content)
        for at in rng.integers(0, len(bent), 3):
            bent[at] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(bent))
        with suppress(ModelError):  # and nothing else
            read_nir(path)


def test_a_damaged_description_of_an_exported_file_is_refused(tmp_path):
    path, out = tmp_path / "net.nir", tmp_path / "net.map"
    text = '{"version": 1, "encoder": {'
    path.write_bytes(changed(lambda file: dataset_new(file, "node/metadata/qsnnc.network", text)))
    done = qsnnc("compile", str(path), "-o", str(out))
    assert (done.returncode, out.exists()) == (3, False)
    assert "metadata qsnnc.network is damaged" in done.stderr


def test_no_file_and_no_hdf5(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        read_nir(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("not HDF5")
    with pytest.raises(ModelError, match="does not begin"):
        read_nir(tmp_path / "text.nir")
