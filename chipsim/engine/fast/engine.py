"""Load a mapping as machine code and tables, which all workers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipsim.engine.batches import batch_size
from chipsim.engine.count import Counts
from chipsim.engine.fast.arrivals import axon_by_axon, counts_tell, lay_out
from chipsim.engine.fast.callables import Kernels, begin, called
from chipsim.engine.fast.changes import as_if_healthy, differences, with_differences
from chipsim.engine.fast.dots import dots as dot_tables
from chipsim.engine.fast.encoder import find_encoder
from chipsim.engine.fast.instructions import TILES
from chipsim.engine.fast.kept import Kept
from chipsim.engine.fast.layout import CORE, LANES
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.memory import address
from chipsim.engine.fast.merge import Merged, merge
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.pixels import build as pixel_tables
from chipsim.engine.fast.pixels import graded
from chipsim.engine.fast.plane_tables import build as plane_tables
from chipsim.engine.fast.plane_tables import sums_of_forms
from chipsim.engine.fast.plane_worker import PlaneWorker
from chipsim.engine.fast.planes import IMAGES
from chipsim.engine.fast.programs import Costs, in_bits
from chipsim.engine.fast.reduce import reduce
from chipsim.engine.fast.tables import build, features_of
from chipsim.engine.fast.tiles import in_blocks
from chipsim.engine.fast.units import united
from chipsim.engine.fast.worker import FastWorker
from chipsim.engine.host import Host
from chipsim.engine.protocol import Worker
from chipsim.faults import Damage, unharmed
from chipsim.mapping import Mapping


@dataclass(frozen=True, eq=False)
class FastEngine(Loaded):
    """A mapping in machine code, and what makes workers of it."""

    def worker(self, noise: float = 0.0, seed: int = 0, per_image: bool = False, trains: bool = False) -> Worker:
        """Return memory for one thread; with ``trains`` it keeps what each source sent, if the engine holds them apart."""
        assert self.noisy or not noise, "levels of which some are lost are another network than `load_fast` has laid out"
        if self.planes is not None:
            return PlaneWorker(self, self.planes, noise, seed, per_image)
        return FastWorker(self, noise, seed, per_image, trains)

    def counts(self, workers: Sequence[Worker]) -> Counts:
        """Return the counts of all workers together."""
        m, t = self.mapping, self.tables
        values = t.merged.values
        mine = [worker for worker in workers if isinstance(worker, FastWorker | PlaneWorker)]
        totals, images = np.sum([worker.totals for worker in mine], axis=0), sum(worker.images for worker in mine)
        totals[t.slot] = fired = totals[t.fresh]
        lead, bundles = values.lead, values.bundles
        totals[t.taken[len(t.slot) :]] = np.diff(np.append(0, np.cumsum(fired[bundles.part]))[bundles.offset])
        core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
        owner = core_of[lead[values.encoder :] - m.encoder_neurons]
        spikes = np.bincount(owner, fired[values.encoder :], m.cores).astype(np.int64)  # exact below 2**53
        lines = self.lines
        arrivals, place, shift = totals, lines.offset, LANES.bit_length() - 1
        if self.arrivals is not None:
            arrivals = np.sum([each.arrived for each in mine if isinstance(each, FastWorker)], axis=0)
            place, shift = np.arange(len(lines.owner), dtype=np.uint32), 0
        edge = lines.edges(len(t.cores))
        found, counted = np.zeros((2, len(t.cores)), np.int64), np.zeros((2, m.cores), np.int64)
        given = (arrivals, place, lines.sops, lines.events, edge, *found)
        self.function["weigh"](len(t.cores), shift, *map(address, given))
        counted[:, t.cores[:, CORE.index("core")]] = found
        sops, events = counted
        fanout = m.dense_fanout[lead].astype(np.int64)
        return Counts(
            encoder_spikes=int(fired[: values.encoder].sum()),
            paper_sops=2 * int(fired @ fanout) if m.dense_fanout.any() else None,
            packets=int(fired @ self.reduced.sent[lead]),
            core_spikes=spikes,
            core_sops=sops + images * self.reduced.core_sops,
            core_events=events + images * self.reduced.core_events,
        )


def load_fast(
    mapping: Mapping | Damage,
    host: Host,
    code: Code,
    *,
    apart: bool = False,
    noisy: bool = False,
    bits: bool = True,
    bundled: bool = True,
    batch: int | None = None,
) -> FastEngine | None:
    """Merge, lay out and compile; None where a potential, or the place of a value, does not fit 32 bits.

    Parameters
    ----------
    apart : bool
        No two sources become one value, so that the spikes of each can be seen.
    noisy : bool
        Workers will lose spikes of the encoder.
    bits : bool
        Cores may add up bits, of which a `PlaneWorker` makes something.
    bundled : bool
        Cores may take the sum of several values, and the largest.
    batch : int, optional
        How many images workers will get at a time; by default as many as they like.
    """
    damage = mapping if isinstance(mapping, Damage) else unharmed(mapping)
    found = differences(damage)
    arriving = found is not None or axon_by_axon(damage)
    reduced = reduce(damage, keep=arriving)
    m = reduced.mapping
    encoder = find_encoder(m, host, features_of(m), code)
    if encoder.integers is not None:
        begin(code, "lay")  # kernels are compiled while this thread does something else
    apart = apart or found is not None or (arriving and (noisy or not counts_tell(damage)))
    maximal = bundled and not damage.noise  # there any spike may be lost
    costs = Costs(code.target.lookup)

    def merged_of(mapping: Mapping, apart: bool, arriving: bool) -> tuple[Merged, Kept]:
        so = {"apart": apart, "arriving": arriving, "bundled": bundled, "maximal": maximal, "noisy": noisy}
        kept = Kept(None if damage.summary else code.cache, mapping, (code.target, reduced.sent, so))

        def find() -> Merged:
            merged = merge(mapping, reduced.sent, **so)
            return united(in_blocks(merged, mapping) if code.target.lookup in TILES else merged, mapping, costs)

        return kept.of("merged", find), kept

    merged = None
    if found is not None:
        like, kept = merged_of(as_if_healthy(m, damage), apart=True, arriving=True)
        merged = with_differences(like, m, found)
    if merged is None:
        (merged, kept), found = merged_of(m, apart, arriving), None
    if max(core.largest for core in merged.cores) >= 1 << 31 or 2 * LANES * len(merged.values.taken_size) >= 1 << 32:
        return None
    sums, planes = None, None
    if bits and not (apart or arriving or damage.noise) and _plain(m):
        images = min(IMAGES, batch or batch_size(IMAGES, m.input))
        sums = kept.of(f"sums {images}", lambda: sums_of_forms(merged, in_bits(merged, costs, images)))
    if sums is not None:
        tables = build(m, merged, code, costs, kept, [each.lines for each in sums])
        planes = plane_tables(tables, sums, code)
    if planes is None:
        tables = build(m, merged, code, costs, kept)
        begin(code, "run", *called(tables.cores, "fire_sent" if damage.noise else "fire"))
    pixels, dots = None, None
    if encoder.integers is not None:
        levels = graded(m, tables, encoder.integers, encoder.thresholds, encoder.signs)
        dots = dot_tables(m, tables, levels, planes, code)
        if dots is None:
            pixels = pixel_tables(m, tables, levels, code)
        else:
            begin(code, dots.kernel(losing=noisy))
    sops = None if found is None else [each.sops for each in found]
    arrivals = lay_out(damage, m, tables, sops) if arriving else None
    return FastEngine(damage, reduced, host, tables, encoder, pixels, dots, arrivals, planes, Kernels(code), code, noisy)


def _plain(m: Mapping) -> bool:
    """Whether a frame is one step, in which no core has a state and all potentials that are read out are as they are."""
    return m.steps == 1 and m.readout_of != "count" and all(e.neuron is None and e.tick == e.sent_tick for e in m.layers)
