"""Networks compiled for a PAICORE 2.5, executed by readers that share no code with the compiler."""

from __future__ import annotations

import os
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from chipsim.chip import PaicoreSpec, load_any_chip
from chipsim.paicore import Program, read_program, write_program
from chipsim.paicore import words as w
from qsnnc.ir.execute import execute
from qsnnc.ir.layers import LayerGraph
from qsnnc.pipeline import read_layers
from qsnnc.targets.paicore25 import Outcome, compile_network
from support.paicore_reader import Reader

#: a Python with paicorelib 2.0.0 and paisim 0.1.0; tests that need them run only where it is named
PAISIM = "QSNNC_PAISIM_PYTHON"


def chip(**changes: object) -> PaicoreSpec:
    """A paicore25 with other limits."""
    found = load_any_chip("paicore25")
    assert isinstance(found, PaicoreSpec)
    return found.model_copy(update=changes)


def compiled(
    model: onnx.ModelProto, spec: PaicoreSpec, coding: str = "auto", *, keep_dead: bool = False
) -> tuple[LayerGraph, Outcome]:
    """A network and what became of it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.onnx"
        path.write_bytes(model.SerializeToString())
        graph = read_layers(path)
    return graph, compile_network(graph, spec, coding=coding, keep_dead=keep_dead)


def levels_of(graph: LayerGraph, count: int, seed: int) -> np.ndarray:
    """Random levels of the encoder, (count, channels, rows, columns)."""
    return np.random.default_rng(seed).integers(0, graph.encoder.levels + 1, (count, *graph.encoder.shape))


def assert_equal(graph: LayerGraph, program: Program, levels: np.ndarray) -> None:
    """Hold the words, read back from a file, against the layer graph: every potential, and the spikes of every layer."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.paicore"
        write_program(program, path)
        assert (read_program(path).words == program.words).all()
        reader = Reader(path)
    wanted = execute(graph, levels)
    element = np.split(program.neuron_element, np.cumsum([core.neurons for core in program.cores])[:-1])
    for number, image in enumerate(levels):
        potentials, spikes = reader.run(image)
        np.testing.assert_array_equal(potentials, wanted[graph.layers[-1].name][number].reshape(-1))
        for core, mine in zip(program.cores, element, strict=True):
            layer = program.layers[core.layer]
            if layer.levels:
                feature, level = (mine, 0) if layer.code == "value" else np.divmod(mine, layer.levels)
                fires = wanted[layer.name][number].reshape(-1)[feature] > level
                assert spikes[core.x, core.y] == fires.sum(), layer.name


def host_words(program: Program, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """INIT, the encoder's spikes and SYNC for each image, and where each begins."""
    root = program.cores[program.root]
    frames = []
    for image in levels:
        parts = [w.CONTROL.pack({"header": w.INIT, "x": root.x, "y": root.y})]
        for entry in program.deliveries:
            address = entry.addresses(program.encoder_shape, program.encoder.per_feature)
            value = program.encoder.code == "value"
            data = image[..., None] if value else (image[..., None] > np.arange(program.encoder.levels)).astype(int)
            row = np.indices(address.shape)[1]
            there = (data != 0) & (row >= entry.first_row) & (row <= entry.last_row)
            route = {"x": entry.x, "y": entry.y, "copies_y": entry.copies}
            parts.append(w.work_words(address[there], data[there], route))
        parts.append(w.CONTROL.pack({"header": w.SYNC, "x": root.x, "y": root.y, "number": program.steps}))
        frames.append(np.concatenate(parts))
    return np.concatenate(frames), np.cumsum([0, *(len(each) for each in frames)])


def paisim_potentials(program: Program, levels: np.ndarray) -> np.ndarray:
    """Potentials of each image as paisim's frames bring them, int64 (images, elements); skips where it is not here."""
    python = os.environ.get(PAISIM)
    if not python:
        pytest.skip(f"paisim is not here: set {PAISIM} to a Python that has it")
    words, offsets = host_words(program, levels)
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "in.npz", Path(directory) / "out.npz"
        np.savez(source, config=program.words, words=words, offsets=offsets)
        script = Path(__file__).with_name("paisim_script.py")
        done = subprocess.run([python, str(script), str(source), str(target)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        out = np.load(target)
        sent, ends = out["words"], out["offsets"]
    size = int(np.prod(program.layers[-1].shape))
    found = np.zeros((len(levels), size), np.int64)
    for image, (first, last) in enumerate(pairwise(ends)):
        fields = w.WORK.unpack(sent[first:last, None])
        for k in np.flatnonzero(fields["kind"] == w.WORK_POTENTIAL >> 1).tolist():
            address = int(fields["slot"][k]) * 512 + int(fields["axon"][k]) - program.output.base
            found[image, address // 32] |= int(fields["data"][k]) << address % 32
    return (found ^ (1 << 31)) - (1 << 31)
