"""A reader of `.map` files written from FORMAT.md alone: it imports neither chipsim nor qsnnc.

It spends a loop where the page has a sentence, and serves as an independent oracle for potentials, spikes and SOPs.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
import yaml


@dataclass
class Program:
    info: dict
    arrays: dict[str, np.ndarray]
    encoder: bytes | None
    readout: bytes

    def __getattr__(self, name: str) -> np.ndarray:
        return self.arrays[name]


@dataclass
class Counts:
    potentials: np.ndarray  # (images, outputs)
    scores: np.ndarray
    core_spikes: np.ndarray
    core_sops: np.ndarray
    core_events: np.ndarray
    encoder_spikes: int
    paper_sops: int
    packets: int
    relay_spikes: int = 0
    relay_sops: int = 0
    output_packets: int = 0
    column_operations: int = 0
    levels: dict[str, np.ndarray] = field(default_factory=dict)


def read(path: str) -> Program:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    info = yaml.safe_load(members["mapping.yaml"])
    assert (info["format"], info["version"]) == ("qsnnc-map", 1)
    arrays = {}
    for name, entry in info["arrays"].items():
        content = members[f"arrays/{name}.npy"]
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert len(content) == entry["bytes"]
        arrays[name] = np.load(io.BytesIO(content), allow_pickle=False)
        assert (str(arrays[name].dtype), list(arrays[name].shape)) == (entry["dtype"], entry["shape"])
    return Program(info, arrays, members.get("encoder.onnx"), members["readout.onnx"])


def weights(p: Program, core: int) -> np.ndarray:
    """Weights (axons, neurons) of a core's crossbar."""
    k = p.core_crossbar[core]
    axons, neurons, w = (int(v) for v in p.crossbar_shape[k])
    data = p.crossbar_bits[p.crossbar_offset[k] : p.crossbar_offset[k + 1]]
    bits = np.unpackbits(data, bitorder="little")[: axons * neurons * w].reshape(axons, neurons, w).astype(np.int64)
    value = 2 ** np.arange(w)
    if w > 1:
        value[-1] *= -1
    return bits @ value


def onnx_run(model: bytes, feeds: dict[str, np.ndarray]) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def pixels(p: Program, images: np.ndarray) -> np.ndarray:
    spec = p.info["input"]
    images = images.reshape(len(images), *spec["shape"])
    if str(images.dtype) == spec["dtype"]:
        return images
    x = images.astype(np.float32)
    if spec["pixels"] != "raw":
        x = x / np.float32(255)
    if spec["pixels"] == "normal":
        shape = (-1, *[1] * (x.ndim - 2))
        x = (x - np.float32(spec["mean"]).reshape(shape)) / np.float32(spec["std"]).reshape(shape)
    return x


def execute(p: Program, images: np.ndarray, noise: float = 0.0, seed: int = 0) -> Counts:
    """Run images one at a time, tick by tick, spike by spike along the target tables."""
    encoder, layers = p.info["encoder"], p.info["layers"]
    size = int(np.prod(encoder["shape"])) * encoder["levels"]
    cores = len(p.core_layer)
    tick_of_core = np.array([layers[k]["tick"] for k in p.core_layer])
    crossbars = [weights(p, c) for c in range(cores)]
    core_of_axon = np.repeat(np.arange(cores), np.diff(p.axon_offset))
    x = pixels(p, images)
    if p.encoder is None:
        levels, sent_all = None, x.reshape(len(x), -1).astype(bool)
    else:
        levels = onnx_run(p.encoder, {p.info["input"]["name"]: x}).reshape(len(x), -1)
        sent_all = (levels[:, :, None] > np.arange(encoder["levels"])).reshape(len(x), -1)
    zeros = lambda: np.zeros(cores, np.int64)  # noqa: E731
    out = Counts(np.zeros((0, 0)), np.zeros(0), zeros(), zeros(), zeros(), 0, 0, 0)
    potentials = []
    for j, sent in enumerate(sent_all):
        if noise:
            draw = np.random.Generator(np.random.Philox(key=[seed, j])).random(size, dtype=np.float32)
            sent = sent & ~(draw < np.float32(noise))
        out.encoder_spikes += int(sent.sum())
        ring = np.zeros((p.info["ticks"] + 1, len(p.axon_source)), bool)  # bits of a later tick
        firing = {0: list(np.flatnonzero(sent))}
        read: dict[int, int] = {}
        for tick in range(p.info["ticks"]):
            firing.setdefault(tick, [])
            for core in np.flatnonzero(tick_of_core == tick):
                bits = ring[tick, p.axon_offset[core] : p.axon_offset[core + 1]]
                potential = bits @ crossbars[core]
                out.core_events[core] += int(bits.sum())
                relay = layers[p.core_layer[core]]["kind"] == "relay"
                output = layers[p.core_layer[core]]["kind"] in ("output", "features")
                sops = int(np.count_nonzero(crossbars[core][bits]))
                out.column_operations += sops * int(p.core_weight_bits[core])
                if relay:
                    out.relay_sops += sops
                elif output:
                    out.output_packets += sops
                else:
                    out.core_sops[core] += sops
                first = int(p.neuron_offset[core])
                for n, value in enumerate(potential):
                    if layers[p.core_layer[core]]["levels"] == 0:
                        read[int(p.neuron_element[first + n])] = int(value)
                    elif value >= p.neuron_threshold[first + n]:
                        firing[tick].append(size + first + n)
                        if relay:
                            out.relay_spikes += 1
                        else:
                            out.core_spikes[core] += 1
            for source in firing[tick]:
                out.paper_sops += 2 * int(p.dense_fanout[source])
                for entry in range(p.target_offset[source], p.target_offset[source + 1]):
                    axon = p.target_axon[entry]
                    arrival = tick + int(p.target_delay[entry])
                    assert p.axon_source[axon] == source
                    assert arrival == tick_of_core[core_of_axon[axon]]
                    ring[arrival, axon] = True
                    out.packets += 1
        potentials.append([read[e] for e in range(len(read))])
    out.potentials = np.array(potentials, np.int64)
    out.scores = onnx_run(p.readout, {"potentials": out.potentials}).astype(np.float32)
    return out
