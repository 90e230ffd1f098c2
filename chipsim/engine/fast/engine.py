"""Load a mapping as machine code and tables, and run it in a worker's memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from chipsim.engine.count import IMAGE_COUNTS, Counts, ImageCounts
from chipsim.engine.fast import kernels
from chipsim.engine.fast.encoder import Encoder, find_encoder
from chipsim.engine.fast.encoding import Encoding
from chipsim.engine.fast.kernels import LANES
from chipsim.engine.fast.merge import Int, merge
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.reduce import Reduced, reduce
from chipsim.engine.fast.tables import Tables, address, aligned, build
from chipsim.engine.host import Array, Host, lose
from chipsim.engine.protocol import Worker
from chipsim.faults import Damage, unharmed
from chipsim.mapping import Mapping

#: vector additions between two looks at whether somebody wants to stop; some ten milliseconds
SLICE = 1 << 25

_P, _N = ctypes.c_void_p, ctypes.c_int64
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "run": (_P, _N, _N),
    "tally": (_P, _P, _N, _P),
    "count_rows": (_P, _P, _N, _N, _P, _P),
    "split": (_P, _N, _P, _P, _P, _P, _P),
    **{f"encode{n or ''}": (_P, _N, _N, _N, _P, _P, _P) for n in (*kernels.UNROLLED, 0)},
}


@dataclass(frozen=True, slots=True, eq=False)
class FastEngine:
    """The immutable part of the engine that all workers share."""

    damage: Damage
    reduced: Reduced
    host: Host
    tables: Tables
    encoder: Encoder
    function: dict[str, Callable[..., None]]
    code: Code  # holds the machine code
    name: str = "fast"
    batch: int = 4 * LANES

    @property
    def mapping(self) -> Mapping:
        """The mapping after constant axons were removed."""
        return self.reduced.mapping

    @property
    def fired(self) -> Int:
        """Neuron of each threshold in the tables."""
        values = self.tables.merged.values
        return values.member[values.offset[values.encoder] :] - self.mapping.encoder_neurons

    def worker(self, noise: float = 0.0, seed: int = 0, per_image: bool = False) -> Worker:
        """Return memory for one thread."""
        return FastWorker(self, noise, seed, per_image)

    def counts(self, workers: Sequence[Worker]) -> Counts:
        """Return the counts of all workers together."""
        m, t = self.mapping, self.tables
        values = t.merged.values
        mine = [worker for worker in workers if isinstance(worker, FastWorker)]
        totals, images = np.sum([worker.totals for worker in mine], axis=0), sum(worker.images for worker in mine)
        fired = totals[t.slot]
        lead = values.member[values.offset[:-1]]
        spikes = np.zeros(m.cores, np.int64)
        core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
        np.add.at(spikes, core_of[lead[values.encoder :] - m.encoder_neurons], fired[values.encoder :])
        arrivals = totals[t.row_offset // LANES]
        core = np.repeat(t.cores[:, kernels.CORE.index("core")], t.cores[:, kernels.CORE.index("rows")])
        sops, events = np.zeros(m.cores, np.int64), np.zeros(m.cores, np.int64)
        np.add.at(sops, core, arrivals * t.row_sops)
        np.add.at(events, core, arrivals * t.row_events)
        fanout = m.dense_fanout[lead].astype(np.int64)
        return Counts(
            encoder_spikes=int(fired[: values.encoder].sum()),
            paper_sops=2 * int(fired @ fanout) if m.dense_fanout.any() else None,
            packets=int(fired @ self.reduced.sent[lead]),
            core_spikes=spikes,
            core_sops=sops + images * self.reduced.core_sops,
            core_events=events + images * self.reduced.core_events,
        )


def load_fast(mapping: Mapping | Damage, host: Host, code: Code) -> FastEngine | None:
    """Merge, lay out and compile; None where a potential, or the place of a value, does not fit 32 bits."""
    damage = mapping if isinstance(mapping, Damage) else unharmed(mapping)
    reduced = reduce(damage)
    m = reduced.mapping
    merged = merge(m, reduced.sent)
    if max(form.largest for form in merged.forms) >= 1 << 31 or 2 * LANES * len(merged.values.size) >= 1 << 32:
        return None
    tables = build(m, merged, code)
    addresses = code.add(b"kernels", lambda _: kernels.module(), tuple(_SIGNATURES), optimise=True)
    function: dict[str, Callable[..., None]] = {
        name: ctypes.CFUNCTYPE(None, *_SIGNATURES[name])(address)
        for name, address in zip(_SIGNATURES, addresses, strict=True)
    }
    return FastEngine(damage, reduced, host, tables, find_encoder(m, host, tables.features), function, code)


class FastWorker:
    """One thread's memory: values, latched rows and accumulators of 64 images, and its counters."""

    def __init__(self, engine: FastEngine, noise: float, seed: int, per_image: bool) -> None:
        self.engine, self.noise, self.seed = engine, noise, seed
        t, m = engine.tables, engine.mapping
        self.values = aligned((t.slots, LANES), np.uint8)
        self.mask = aligned((LANES,), np.uint8)
        self.totals = np.zeros(t.slots, np.int64)
        self.images = 0
        self.potentials = aligned((t.outputs, LANES), np.int32)
        self.rows = aligned((t.most_rows + 1, LANES), np.uint8)  # row 0 stays zero
        self.accumulators = aligned((t.most_accumulators, LANES), np.int32)
        self.per_core = aligned((3, m.cores, LANES), np.int32) if per_image else None
        arrays: dict[str, Any] = {
            "values": self.values, "rows": self.rows, "accumulators": self.accumulators, "mask": self.mask,
            "totals": self.totals, "cores": t.cores, "row_offset": t.row_offset, "fires": t.fires,
            "thresholds": t.thresholds, "lists": t.lists, "potentials": self.potentials, "row_events": t.row_events,
            "row_sops": t.row_sops,
        }  # fmt: skip
        if self.per_core is not None:
            arrays.update(zip(("core_spikes", "core_sops", "core_events"), self.per_core, strict=True))
        self.sent = aligned((len(t.thresholds), LANES), np.uint8) if engine.damage.noise else None
        self.fired = engine.fired
        if self.sent is not None:
            arrays["sent"] = self.sent
        self.context = np.array([address(arrays.get(name)) for name in kernels.CONTEXT], np.int64)
        self.slices = _slices(t.cost)
        self.encoding = Encoding(m, t.features, engine.encoder, engine.function, self.values)
        values = t.merged.values
        fanout = m.dense_fanout[values.member[values.offset[:-1]]].astype(np.int64)
        self.weights = [
            _Weights(t, of_value) for of_value in ((np.arange(len(fanout)) < values.encoder).astype(np.int64), fanout)
        ]

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, ImageCounts | None]:
        """Run images: see `chipsim.engine.protocol.Worker`."""
        potentials = np.empty((len(images), self.engine.tables.outputs), np.int64)
        counted = []
        engine, context = self.engine, address(self.context)
        run = engine.function["run"]
        for start in range(0, len(images), LANES):
            part = images[start : start + LANES]
            self.mask[: len(part)], self.mask[len(part) :] = 255, 0
            self._encode(part, first + start, pixels)
            if self.sent is not None:
                drawn = engine.damage.sent(first + start, len(part))[0]
                self.sent[:, : len(part)] = drawn.view(np.uint8)[self.fired] * np.uint8(255)
            for begin, end in self.slices:
                if stop():
                    return potentials, None
                run(context, begin, end)
            potentials[start : start + LANES] = self.potentials.T[: len(part)]
            self.images += len(part)
            if self.per_core is not None:
                counted.append(self._count(len(part)))
        potentials += self.engine.reduced.offset
        potentials[:, self.engine.reduced.silent] = 0
        return potentials, _joined(counted) if counted else None

    def _encode(self, images: Array, first: int, pixels: bool) -> None:
        """Values of the encoder, and how often each fired."""
        m, t, values = self.engine.mapping, self.engine.tables, self.engine.tables.merged.values
        call = self.engine.function
        parts = len(t.splits)
        if self.noise or m.encoder.levels > 255 or (m.encoder_onnx is None and m.encoder.levels > 1):
            sent = self.engine.host.frames(images)
            if self.noise:
                sent = lose(sent, first, self.noise, self.seed)
            sent = sent[0]
            fired = np.add.reduceat(sent[values.member[: values.offset[values.encoder]]], values.offset[: values.encoder])
            self.values[t.slot[: values.encoder], : len(images)] = fired
            call["tally"](*map(address, (self.values[t.features :], self.mask, parts, self.totals[t.features :])))
        else:
            self.encoding.run(images, pixels)
            place = (t.splits, parts, self.values, self.values, self.mask, self.totals, t.split_thresholds)
            call["split"](*map(address, place))
        call["tally"](*map(address, (self.values, self.mask, m.encoder_neurons // m.encoder.levels, self.totals)))

    def _count(self, images: int) -> ImageCounts:
        assert self.per_core is not None
        encoder, paper = (self._weighed(weights)[:images] for weights in self.weights)
        spikes, sops, events = (np.ascontiguousarray(part[:, :images].T) for part in self.per_core)
        sops += self.engine.reduced.core_sops.astype(np.int32)
        events += self.engine.reduced.core_events.astype(np.int32)
        return ImageCounts(encoder, 2 * paper, spikes, sops, events)

    def _weighed(self, weights: _Weights) -> Int:
        """Sum of all values, each times its weight, by image."""
        if weights.wide is not None:
            return np.asarray(weights.wide @ self.values.astype(np.float64)).astype(np.int64)
        call, out = self.engine.function["count_rows"], aligned((LANES,), np.int32)
        place = (self.values, weights.offsets, len(self.values), weights.chunk, weights.narrow, out)
        call(*map(address, place))
        return out.astype(np.int64)


class _Weights:
    """One weight for each slot."""

    def __init__(self, t: Tables, of_value: Int) -> None:
        weights = np.zeros(t.slots, np.int64)
        weights[t.slot] = of_value
        size = t.merged.values.size
        self.offsets = np.arange(0, LANES * t.slots, LANES, dtype=np.uint32)
        self.narrow = weights.astype(np.int32)
        self.chunk = 65535 // max(1, int((of_value * size).max(initial=1)))
        # a sum that 32 bits might not hold is left to doubles, exact below 2**53
        self.wide = weights.astype(np.float64) if int(of_value @ size) >= 1 << 31 else None


def _slices(cost: Int) -> list[tuple[int, int]]:
    """Ranges of cores, each of about `SLICE`."""
    number = (np.cumsum(cost) - cost) // SLICE
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(cost)]
    return list(pairwise(edges))


def _joined(parts: list[ImageCounts]) -> ImageCounts:
    if len(parts) == 1:
        return parts[0]
    return ImageCounts(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in IMAGE_COUNTS})
