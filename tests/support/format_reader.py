"""A reader of `.map` files written from FORMAT.md alone: it imports neither chipsim nor qsnnc.

It spends a loop where the page has a sentence, and serves as an independent oracle for potentials, spikes and SOPs.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass, field
from functools import cache

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
    assert info["format"] == "qsnnc-map"
    assert info["version"] in (1, 2)
    if info["version"] == 1:  # what version 2 says besides, by its defaults
        info["steps"], info["output"]["of"], info["input"]["code"] = 1, "potential", "image"
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


def encoder_spikes(p: Program, images: np.ndarray) -> np.ndarray:
    """What enters in each step, bool (images, steps, E)."""
    steps, encoder, code = p.info["steps"], p.info["encoder"], p.info["input"]["code"]
    if code == "spikes":
        return images.reshape(len(images), steps, -1).astype(bool)
    x = pixels(p, images)
    if code == "bernoulli":
        key = lambda j: np.random.Philox(key=[p.info["input"]["seed"], j], counter=[0, 0, 1, 0])  # noqa: E731
        shape = (steps, *p.info["input"]["shape"])
        drawn = [np.random.Generator(key(j)).random(shape, dtype=np.float32) for j in range(len(x))]
        return (np.array(drawn) < x[:, None].astype(np.float32)).reshape(len(x), steps, -1)
    if code == "regular":
        t = np.arange(steps).reshape(1, -1, *[1] * (x.ndim - 1))
        value = x[:, None].astype(np.float64)
        return (np.floor((t + 1) * value) > np.floor(t * value)).reshape(len(x), steps, -1)
    if code == "computed":
        return (onnx_run(p.encoder, {p.info["input"]["name"]: x}) > 0).reshape(len(x), steps, -1)
    if p.encoder is None:
        sent = x.reshape(len(x), -1).astype(bool)
    else:
        levels = onnx_run(p.encoder, {p.info["input"]["name"]: x}).reshape(len(x), -1)
        sent = (levels[:, :, None] > np.arange(encoder["levels"])).reshape(len(x), -1)
    return np.repeat(sent[:, None], steps, axis=1)


def lost(places: int, image: int, rate: float, seed: int) -> np.ndarray:
    """Where noise hits: docs/faults.md, random draws."""
    largest, group, own = math.ceil(rate * 2**52) - 1, image // 64, image % 64

    @cache
    def words(digit: int, turn: int, count: int) -> np.ndarray:
        return np.random.Philox(key=[seed, 0], counter=[0, digit, turn, group]).random_raw(count)

    hit = np.ones(places, bool)
    for n in range(places):
        alike = list(range(64))  # images whose numbers begin as the largest number does that is lost
        for digit in range(7):
            if digit == 0:
                four = [int(word) for word in words(0, 0, 4 * places)[4 * n : 4 * n + 4]]
                taken = {j: sum((word >> j & 1) << 3 - bit for bit, word in enumerate(four)) for j in alike}
            else:
                taken = {j: int(words(digit, r // 8, places)[n]) >> 8 * (r % 8) & 255 for r, j in enumerate(alike)}
            begins = largest >> 48 - 8 * digit & (255 if digit else 15)
            if taken[own] != begins:
                hit[n] = taken[own] < begins
                break
            alike = [j for j in alike if taken[j] == begins]
    return hit


def execute(p: Program, images: np.ndarray, noise: float = 0.0, seed: int = 0) -> Counts:
    """Run images one at a time, tick by tick, spike by spike along the target tables."""
    encoder, layers, steps = p.info["encoder"], p.info["layers"], p.info["steps"]
    size = int(np.prod(encoder["shape"])) * encoder["levels"]
    cores, of = len(p.core_layer), p.info["output"]["of"]
    readout = len(layers) - 1 if of == "count" else next(i for i, layer in enumerate(layers) if layer["levels"] == 0)
    layer_of_core = [layers[k] for k in p.core_layer]
    crossbars = [weights(p, c) for c in range(cores)]
    core_of_axon = np.repeat(np.arange(cores), np.diff(p.axon_offset))
    zeros = lambda: np.zeros(cores, np.int64)  # noqa: E731
    out = Counts(np.zeros((0, 0)), np.zeros(0), zeros(), zeros(), zeros(), 0, 0, 0)
    potentials = []
    for j, sent in enumerate(encoder_spikes(p, images)):
        if noise:
            sent = sent & ~lost(steps * size, j, noise, seed).reshape(steps, size)
        out.encoder_spikes += int(sent.sum())
        ticks = p.info["ticks"] + steps - 1
        ring = np.zeros((ticks + 2, len(p.axon_source)), bool)  # bits of a later tick
        left = [None] * len(p.neuron_element)
        read: dict[int, int] = {}
        for tick in range(ticks):
            firing = list(np.flatnonzero(sent[tick])) if tick < steps else []
            for core, layer in enumerate(layer_of_core):
                step = tick - layer["tick"]
                if not 0 <= step < steps:
                    continue
                bits = ring[tick, p.axon_offset[core] : p.axon_offset[core + 1]]
                out.core_events[core] += int(bits.sum())
                relay = layer["kind"] == "relay"
                output = layer["kind"] in ("output", "features")
                sops = int(np.count_nonzero(crossbars[core][bits]))
                out.column_operations += sops * int(p.core_weight_bits[core])
                if relay:
                    out.relay_sops += sops
                elif output:
                    out.output_packets += sops
                else:
                    out.core_sops[core] += sops
                for n, total in enumerate(bits @ crossbars[core]):
                    number = int(p.neuron_offset[core]) + n
                    fired, value = step_of(p, layer, number, int(total), left)
                    element = int(p.neuron_element[number])
                    if layer["levels"] == 0:
                        read[element] = max(read.get(element, value), value) if of == "largest" else value
                        continue
                    if step + (layer.get("neuron") or {"delay": 0})["delay"] == steps:
                        continue  # found in the last step, and sent one later: never
                    if p.core_layer[core] == readout:
                        read[element] = read.get(element, 0) + fired
                    if not fired:
                        continue
                    firing.append(size + number)
                    if relay:
                        out.relay_spikes += 1
                    else:
                        out.core_spikes[core] += 1
            for source in firing:
                out.paper_sops += 2 * int(p.dense_fanout[source])
                for entry in range(p.target_offset[source], p.target_offset[source + 1]):
                    axon = p.target_axon[entry]
                    arrival = tick + int(p.target_delay[entry])
                    assert p.axon_source[axon] == source
                    assert 0 <= arrival - layer_of_core[core_of_axon[axon]]["tick"] < steps
                    ring[arrival, axon] = True
                    out.packets += 1
        potentials.append([read[e] for e in range(len(read))])
    out.potentials = np.array(potentials, np.int64)
    out.scores = onnx_run(p.readout, {"potentials": out.potentials}).astype(np.float32)
    return out


def step_of(p: Program, layer: dict, number: int, total: int, left: list[int | None]) -> tuple[bool, int]:
    """One step of a neuron: whether it fires, and the potential that was compared; ``left`` holds what is kept."""
    model = layer.get("neuron")
    if model is None:
        return total >= p.neuron_threshold[number], total
    k, m = model["leak"]
    before = int(p.neuron_start[number]) if left[number] is None else left[number]
    value = before * k // 2**m + total * 2 ** model["fraction_bits"] + int(p.neuron_bias[number])
    fired = layer["levels"] > 0 and value >= p.neuron_threshold[number]
    left[number] = value
    if fired and model["reset"] == "value":
        left[number] = int(p.neuron_amount[number])
    if fired and model["reset"] == "subtract":
        left[number] = value - int(p.neuron_amount[number])
    return fired, value
