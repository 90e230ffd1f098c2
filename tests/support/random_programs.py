"""Random programs of a PAICORE 2.5: folds, both weight layouts, both codes, maxima, copies, several input rows."""

from __future__ import annotations

import numpy as np

from chipsim.datasets import Dataset
from chipsim.paicore import Program
from support.hand_programs import HandCore, HandLayer, HandProgram, HandRecord

READ = (1 << 31) - 1


def random_program(seed: int) -> Program:
    """One to three layers, one or two cores each, in a column."""
    rng = np.random.default_rng(seed)
    features = int(rng.integers(2, 7))
    encoder = _layer(rng, "encoder", rng.integers(0, 2))
    hidden = [_layer(rng, f"hidden{k}", rng.integers(0, 2)) for k in range(int(rng.integers(1, 3)))]
    layers = [*hidden, HandLayer("out", 0)]
    sizes = [1, *(int(rng.integers(1, 3)) for _ in hidden[1:]), 1]
    lcn = [int(rng.integers(0, 3)) for _ in layers]
    first = 2 + np.concatenate([[0], np.cumsum(sizes)])
    inputs = features * (encoder.levels if encoder.code == "thermometer" else 1)
    width = encoder.width
    cores: list[HandCore] = []
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        to = None if last else (3, int(first[number + 1]), sizes[number + 1] - 1)
        address = 0
        step = 32 if last else layer.width
        for k in range(sizes[number]):
            core = HandCore((3, int(first[number]) + k), number, [], to, lcn[number], 0 if last else lcn[number + 1], width)
            core.bits = int(rng.choice([2, 4, 8]))
            if k:
                core.bits = cores[-1].bits
            core.pooling = layer.code == "value" and bool(rng.integers(0, 2))
            if layer.code == "value":
                core.table = _table(rng, layer)
            for _ in range(int(rng.integers(1, 4))):
                core.records.append(_record(rng, core, inputs, address, step, last))
                address += step * core.records[-1].neurons
            cores.append(core)
        inputs, width = address // step, layer.width
    return HandProgram(features, encoder, layers, cores, [(3, 2, sizes[0] - 1, 0)]).build()


def _layer(rng: np.random.Generator, name: str, valued: int) -> HandLayer:
    if not valued:
        return HandLayer(name, int(rng.integers(1, 4)) if name == "encoder" else 1)
    width = int(rng.choice([2, 4]))
    return HandLayer(name, int(rng.integers(1, 1 << width)), "value", width)


def _table(rng: np.random.Generator, layer: HandLayer) -> tuple[list[int], list[int]]:
    """A rising table: values 0 .. levels, some of them left out."""
    count, block = 1 << layer.width, 256 >> layer.width
    values = np.sort(rng.integers(0, layer.levels + 1, count))
    values[0] = 0
    limits = np.sort(rng.integers(-6, 12, count))
    return np.repeat(limits, block).tolist(), np.repeat(values, block).tolist()


def _record(rng: np.random.Generator, core: HandCore, inputs: int, address: int, step: int, last: bool) -> HandRecord:
    span = int(rng.integers(1, inputs + 1))
    low, high = (0, 2) if core.pooling else (-(1 << (core.bits - 1)), 1 << (core.bits - 1))
    weights = rng.integers(low, high, span)
    weights[rng.random(span) < 0.3] = 0
    weights[-1] = weights[-1] or 1
    room = inputs - span
    fold = None
    skew = int(rng.integers(0, room + 1)) * core.width
    if room and rng.random() < 0.6:
        y, x = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        number = int(rng.integers(1, y * x + 1))
        far = max(number - 1, 1)
        steps = rng.integers(0, (room // far) + 1, 3) * core.width
        skew = int(rng.integers(0, room - (number - 1) * int(steps.max()) // core.width + 1)) * core.width
        fold = {
            "number": number, "range_y": y, "range_x": x, "range_xy": 1, "axon_y": step, "axon_x": step, "axon_xy": step,
            "skew_y": int(steps[0]), "skew_x": int(steps[1]), "skew_xy": int(steps[2]),
        }  # fmt: skip
    return HandRecord(
        weights.tolist(), address, READ if last else int(rng.integers(-3, 6)), int(rng.integers(-2, 3)), skew, fold,
        bool(rng.integers(0, 2)),
    )  # fmt: skip


def random_images(program: Program, seed: int, count: int) -> Dataset:
    """Images whose levels are whole numbers, some beyond the encoder's."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, program.encoder.levels + 2, (count, *program.input.shape)).astype(np.float32)
    return Dataset("random", "test", images, np.zeros(count, np.int64))
