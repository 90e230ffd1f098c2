"""Programs of a PAICORE 2.5 made by hand, word by word: records, weights and registers of each core; the rest follows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from chipsim.chip import load_any_chip
from chipsim.chip.paicore import PaicoreSpec
from chipsim.mapping import InputSpec
from chipsim.paicore import Block, Core, Delivery, Output, Program, Signal
from chipsim.paicore import words as w
from support.hand_mappings import encoder_onnx, readout_onnx

FLOOR = -(1 << 31)


@dataclass
class HandRecord:
    """A neuron, or a fold of them, with one weight vector over consecutive inputs."""

    weights: list[int]
    address: int  # bit address where its first neuron sends to
    threshold: int = 1
    leak: int = 0
    skew: int = 0  # bits
    fold: dict[str, int] | None = None
    compressed: bool = False

    @property
    def neurons(self) -> int:
        return self.fold["number"] if self.fold else 1

    def walk(self, what: str) -> list[int]:
        """Where its neurons read (skew) or send to (axon), relative to the first, one step after the other."""
        at, found = 0, [0]
        fold = self.fold or {}
        for k in range(1, self.neurons):
            y, x = fold["range_y"], fold["range_x"]
            kind = "xy" if k % (y * x) == 0 else "x" if k % y == 0 else "y"
            at += fold[f"{what}_{kind}"]
            found.append(at)
        return found


@dataclass
class HandCore:
    """A core: its place, where its records send to (place of the first and further copies along y; None: the host)."""

    at: tuple[int, int]
    layer: int
    records: list[HandRecord]
    to: tuple[int, int, int] | None = None
    lcn: int = 0
    target_lcn: int = 0
    width: int = 1  # bits of an input
    bits: int = 2  # of a weight
    pooling: bool = False
    table: tuple[list[int], list[int]] | None = None  # thresholds and values, 256 each
    registers: dict[str, int] = field(default_factory=dict)  # changed on purpose

    @property
    def neurons(self) -> int:
        return sum(record.neurons for record in self.records)


@dataclass
class HandLayer:
    name: str
    levels: int  # 0: read out
    code: str = "thermometer"
    width: int = 1


@dataclass
class HandProgram:
    """Cores in one column, one above the other, so that they hear of each other's steps; ``features`` of the encoder in a row."""

    features: int
    encoder: HandLayer
    layers: list[HandLayer]
    cores: list[HandCore]
    deliveries: list[tuple[int, int, int, int]]  # x, y, copies, base
    chip: PaicoreSpec = field(default_factory=lambda: load_any_chip("paicore25"))

    def build(self) -> Program:
        memories = [self._core(number, core) for number, core in enumerate(self.cores)]
        words = np.concatenate([part for parts, _ in memories for part in parts])
        element: list[int] = []
        seen = [0] * len(self.layers)
        for core in self.cores:
            element += range(seen[core.layer], seen[core.layer] + core.neurons)
            seen[core.layer] += core.neurons
        inputs = self.features * (self.encoder.levels if self.encoder.code == "thermometer" else 1)
        step = self.encoder.width * (self.encoder.levels if self.encoder.code == "thermometer" else 1)
        outputs = seen[-1]
        layers = tuple(self._layer(number, seen[number]) for number in range(len(self.layers)))
        return Program(
            model_sha256=hashlib.sha256(b"").hexdigest(),
            exactness="certified",
            generator="by hand",
            chip=self.chip,
            input=InputSpec("image", "float32", (self.features,), "raw"),
            encoder=Signal("encoder", "", (self.features,), self.encoder.levels, 1.0, 0.0, 0, self.encoder.code, self.encoder.width),
            encoder_shape=(1, 1, self.features),
            deliveries=tuple(Delivery(x, y, copies, base, (0, 0, step, self.encoder.width), 0, 0) for x, y, copies, base in self.deliveries),
            layers=layers,
            cores=tuple(core for _, core in memories),
            output=Output("scores", (outputs,)),
            steps=len(self.layers),
            root=0,
            in_flight=min(256 >> core.lcn for core in self.cores),
            words=words,
            neuron_element=np.array(element, np.int32),
            dense_fanout=np.zeros(inputs + len(element), np.int32),
            encoder_onnx=encoder_onnx(self.features),
            readout_onnx=readout_onnx(outputs),
        )  # fmt: skip

    def _core(self, number: int, core: HandCore) -> tuple[list[np.ndarray], Core]:
        head, vectors, uses = self._records(core)
        x, y = core.at
        below, above = number > 0, number < len(self.cores) - 1
        layer = self.layers[core.layer]
        registers = {
            "snn_ann": layer.code == "value", "max_pooling": core.pooling, "input_width": w.WIDTH_CODE[core.width],
            "output_width": w.WIDTH_CODE[layer.width], "weight_sign": 1, "weight_width": w.WIDTH_CODE[core.bits],
            "lcn": core.lcn, "target_lcn": core.target_lcn, "neuron_number": len(head), "test_core_x": -x, "test_core_y": -y,
            "global_send": 1 << w.PARTICIPANT | (above << 1), "global_receive": int(below),
            "busy_cycle": 2, "delay_cycle": 2, "width_cycle": 2, "tick_start": core.layer + 1, "tick_duration": 1,
        } | core.registers  # fmt: skip
        rows = np.concatenate([head, vectors])
        rows = np.concatenate([rows, np.zeros((-len(rows) % 8, 2), np.uint64)])
        place = {"x": x, "y": y}
        parts = [
            w.HEADER.pack({"header": w.CONFIG_REGISTERS, "count": 3, **place}),
            w.REGISTERS.pack(registers),
        ]
        if core.table is not None:
            parts += [
                w.HEADER.pack({"header": w.CONFIG_TABLE, "count": 256, **place}),
                w.TABLE.pack({"threshold": np.array(core.table[0]), "value": np.array(core.table[1])}),
            ]
        parts += [w.HEADER.pack({"header": w.CONFIG_MEMORY, "count": 2 * len(rows), **place}), rows]
        return [part.reshape(-1) for part in parts], Core(x, y, core.layer, *uses)

    def _records(self, core: HandCore) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int, int, int]]:
        """Rows of records and of weights; rows by use."""
        last = self.layers[core.layer].levels == 0
        rows, parameters, potentials = self._count(core)
        places: dict[tuple[bytes, bool], tuple[int, int]] = {}
        vectors: list[np.ndarray] = []
        head: list[np.ndarray] = []
        before: tuple[int, int, bool] | None = None
        for record in core.records:
            packed = self._vector(core, record)
            key = packed.tobytes(), record.compressed
            if key not in places:
                first = rows + sum(len(part) for part in vectors)
                places[key] = first, first + len(packed) - 1
                vectors.append(packed)
            own = record.threshold, record.leak, record.compressed
            dx, dy, copies = (-core.at[0], -core.at[1], 0)
            if core.to is not None:
                dx, dy, copies = core.to[0] - core.at[0], core.to[1] - core.at[1], core.to[2]
            head.append(w.PART1.pack({
                "full": own != before, "folded": record.fold is not None, "output_potential": last,
                "weight_start": places[key][0], "weight_end": places[key][1], "skew": record.skew, "x": dx, "y": dy,
                "copies_y": copies, "axon": record.address % 512, "tick_relative": record.address // 512,
            }))  # fmt: skip
            if own != before:
                head.append(w.PART2.pack({
                    "threshold": record.threshold, "leak": record.leak, "compressed": record.compressed,
                    "negative_threshold": FLOOR, "floor": 1,
                }))  # fmt: skip
                before = own
            if record.fold is not None:
                head.append(w.FOLD.pack(record.fold))
                head += [np.zeros(2, np.uint64)] * -(-(record.neurons - 1) // 4)
        weights = np.concatenate(vectors)
        own_rows = rows - parameters - potentials, parameters, potentials, len(weights), core.neurons
        return np.stack(head), weights, own_rows

    def _count(self, core: HandCore) -> tuple[int, int, int]:
        kinds = [(record.threshold, record.leak, record.compressed) for record in core.records]
        parameters = sum(kind != before for kind, before in zip(kinds, [None, *kinds[:-1]], strict=True))
        potentials = sum(-(-(record.neurons - 1) // 4) for record in core.records)
        folds = sum(record.fold is not None for record in core.records)
        return len(core.records) + parameters + folds + potentials, parameters, potentials

    def _vector(self, core: HandCore, record: HandRecord) -> np.ndarray:
        weights = np.array(record.weights, np.int64)
        if not record.compressed:
            return w.pack_dense(weights, core.bits)
        used = np.flatnonzero(weights)
        return w.pack_csc(used * core.width, weights[used], core.bits)

    def _layer(self, number: int, neurons: int) -> Block:
        layer = self.layers[number]
        mine = [core for core in self.cores if core.layer == number]
        per = layer.levels if layer.code == "thermometer" and layer.levels else 1
        return Block(
            name=layer.name, tensor="", shape=(-(-neurons // per),), levels=layer.levels, scale=1.0, zero_point=0.0,
            tick=number + 1, code=layer.code, width=layer.width, kind="dense", weight_bits=mine[0].bits,
            fan_in=max(len(record.weights) for core in mine for record in core.records), neurons=neurons, removed=0,
            synapses=sum(self._synapses(core) for core in mine), cores=len(mine), bound=len(mine), limiting="rows",
        )  # fmt: skip

    def _synapses(self, core: HandCore) -> int:
        fed = self._fed(core)
        return sum(
            weight != 0 and (record.skew + step) // core.width + k in fed
            for record in core.records for step in record.walk("skew") for k, weight in enumerate(record.weights)
        )  # fmt: skip

    def _fed(self, core: HandCore) -> set[int]:
        """Inputs of a core that somebody writes."""
        per = self.encoder.levels if self.encoder.code == "thermometer" else 1
        found: set[int] = set()
        for x, y, copies, base in self.deliveries:
            if core.at[0] == x and y <= core.at[1] <= y + copies:
                found.update(base // core.width + k for k in range(self.features * per))
        for other in self.cores:
            if other.to and core.at[0] == other.to[0] and other.to[1] <= core.at[1] <= other.to[1] + other.to[2]:
                found.update(
                    (record.address + step) // core.width for record in other.records for step in record.walk("axon")
                )
        return found
