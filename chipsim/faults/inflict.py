"""Apply faults to a mapping, in order of precedence."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.chip.ports import assign_ports, nearest_port
from chipsim.chip.routes import router, stopped
from chipsim.errors import InputError
from chipsim.faults.damage import NEVER, THROUGH, Damage, Dropped, Noise, unharmed, with_arrays
from chipsim.faults.places import Link, Places
from chipsim.faults.spec import KINDS, Rate, Source, load_faults
from chipsim.mapping import Mapping

Int = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def inflict(mapping: Mapping, source: Source | None, seed: int = 0) -> Damage:
    """Return the mapping with the faults applied.

    Parameters
    ----------
    source : path, dict, Faults or None
        A faults file, or what it says.
    seed : int
        Of rates that have none of their own, where the file has none either.

    Raises
    ------
    InputError
        The file cannot be used, or names a place that the chip or the mapping does not have.
    """
    if source is None:
        return unharmed(mapping)
    faults = load_faults(source)
    places = Places(mapping, faults, seed)
    summary: dict[str, Any] = {}
    held, packets, cut = _axons(places, summary)
    dead = places.dead_cores()
    held[np.repeat(dead, np.diff(mapping.axon_offset))] = 0
    neurons = places.neurons()
    broken = _crossbars(places, summary)
    changed = with_arrays(mapping, neuron_threshold=_thresholds(places, neurons, dead, summary), **broken)
    core_of = np.repeat(np.arange(mapping.cores), np.diff(mapping.neuron_offset))
    silent = unharmed(mapping).silent
    mute = np.flatnonzero((neurons | (dead | (cut != THROUGH))[core_of]) & (mapping.core_layer == mapping.readout)[core_of])
    silent[mapping.neuron_element[mute]] = True
    encoder, layers = _noise(places, summary)
    dropped = _dropped(places, summary)
    counted = {"dead_neurons": int(neurons.sum()), "dead_cores": int(dead.sum())}
    summary.update({kind: count for kind, count in counted.items() if getattr(faults.content, kind) is not None})
    told = {kind: _told(places, kind, summary.get(kind)) for kind in KINDS if getattr(faults.content, kind) is not None}
    healthy = mapping if broken else None
    return Damage(changed, held, silent, dead, packets, cut, encoder, layers, dropped, told, healthy)


def _without_threshold(m: Mapping) -> Bools:
    """Which cores never fire because their potentials are read out, (cores,)."""
    return np.asarray(np.array([e.levels == 0 for e in m.layers])[m.core_layer])


def _axons(places: Places, summary: dict[str, Any]) -> tuple[npt.NDArray[np.int8], Int, Int]:
    """What each axon holds, and where its packets and the potentials of each core are lost.

    An axon that is stuck is so whatever arrives; one whose packets are always lost holds 0.
    """
    whole = unharmed(places.mapping)
    held, packets, cut = whole.held, whole.stopped, whole.cut
    links = places.dead_links()
    if places.faults.content.dead_links is not None:
        packets, cut = _lost(places.mapping, links)
        held[packets != THROUGH] = 0
        summary["dead_links"] = {"links": len(links), "packets": int((packets != THROUGH).sum())}

    def drop(_: int, axons: Int) -> None:
        held[axons] = 0

    def stick(at: int, axons: Int) -> None:
        held[axons] = at
        summary["stuck_axons"] = summary.get("stuck_axons", 0) + len(axons)

    if not isinstance(places.faults.content.dropped_packets, Rate):
        places.axons("dropped_packets", drop)
    if places.faults.content.stuck_axons is not None:
        summary["stuck_axons"] = 0
    places.axons("stuck_axons", stick)
    return held, packets, cut


def _lost(m: Mapping, links: list[Link]) -> tuple[Int, Int]:
    """Where the packets of each axon and the potentials of each core come to a link that does not work: nobody knows."""
    place = m.core_position.astype(np.int64)
    at = place[:, 1] * m.chip.grid[0] + place[:, 0]
    from_host = np.zeros(len(m.core_layer), np.int64)
    core_of_axon = np.repeat(np.arange(m.cores), np.diff(m.axon_offset))
    host = m.axon_source < m.encoder_neurons
    np.add.at(from_host, core_of_axon[host], 1)
    port = np.array([router(m.chip, port) for port in m.chip.ports])
    enters = port[assign_ports(m.chip, m.core_position, from_host)]
    core_of_source = np.concatenate(
        [np.full(m.encoder_neurons, -1), np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))]
    )
    sender = core_of_source[m.axon_source]
    start = np.where(host, enters[core_of_axon], at[sender])
    both = frozenset((router(m.chip, a), router(m.chip, b)) for link in links for a, b in (link, link[::-1]))
    pair, of = np.unique(start * (at.max() + 1) + at[core_of_axon], return_inverse=True)
    lost = stopped(m.chip, both, *np.divmod(pair, at.max() + 1))[of.reshape(-1)]
    return lost, stopped(m.chip, both, at, port[nearest_port(m.chip, m.core_position)])


def _thresholds(places: Places, neurons: Bools, dead: Bools, summary: dict[str, Any]) -> npt.NDArray[np.int32]:
    """Thresholds with bits turned over, sign included; then those of neurons that never fire."""
    m = places.mapping
    flipped = places.threshold_bits()
    half, ones = 1 << (m.chip.threshold_bits - 1), (1 << m.chip.threshold_bits) - 1
    pattern = (m.neuron_threshold.astype(np.int64) & ones) ^ flipped
    threshold = ((pattern + half) & ones) - half
    if places.faults.content.flipped_thresholds is not None:
        summary["flipped_thresholds"] = int((flipped[:, None] >> np.arange(m.chip.threshold_bits) & 1).sum())
    core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
    never = (neurons | dead[core_of]) & ~_without_threshold(m)[core_of]
    threshold[never] = NEVER
    return threshold.astype(np.int32)


def _crossbars(places: Places, summary: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Crossbars with stuck bits: each core that has one gets a crossbar of its own."""
    m = places.mapping
    if places.faults.content.stuck_synapses is None:
        return {}
    index = m.core_crossbar.copy()
    packed = [m.crossbar_bits]
    shapes, sizes, stuck = [m.crossbar_shape], [np.diff(m.crossbar_offset)], 0
    known = len(m.crossbar_shape)
    for core, hits in places.synapse_bits():
        k = int(m.core_crossbar[core])
        axons, neurons, w = m.crossbar_shape[k].tolist()
        content = m.crossbar_bits[m.crossbar_offset[k] : m.crossbar_offset[k + 1]]
        plane = np.unpackbits(content, count=axons * neurons * w, bitorder="little")
        for axon, neuron, bit, value in hits:  # a crossbar's bits: axon by axon, neuron by neuron (FORMAT.md)
            plane[(axon * neurons + neuron) * w + bit] = value
            stuck += len(axon)
        content = np.packbits(plane, bitorder="little")
        index[core] = known
        known += 1
        packed.append(content)
        shapes.append(m.crossbar_shape[m.core_crossbar[core]][None])
        sizes.append(np.array([len(content)]))
    summary["stuck_synapses"] = stuck
    return {
        "core_crossbar": index,
        "crossbar_shape": np.concatenate(shapes),
        "crossbar_offset": np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64),
        "crossbar_bits": np.concatenate(packed),
    }


def spiking(m: Mapping) -> list[str]:
    """Return the names of the populations that send spikes: the encoder, then layers on the chip."""
    return [m.encoder.name, *(layer.name for layer in m.layers if layer.levels)]


def _noise(places: Places, summary: dict[str, Any]) -> tuple[tuple[float, int] | None, tuple[Noise, ...]]:
    """The encoder's rate and seed, and the noise of layers on the chip."""
    m, entry = places.mapping, places.faults.content.noise
    if entry is None:
        return None, ()
    names = spiking(m)
    if isinstance(entry, Rate):
        seed, rates = places.seed_of(entry), dict.fromkeys(names, entry.rate)
    else:
        seed, rates = places.seed_of(Rate(rate=0.0)), dict(entry)
    for name in rates:
        if name not in names and name != "encoder":
            raise InputError(
                places.faults.at("noise", name),
                f"noise: the mapping has no layer {name!r} that sends spikes; allowed: {', '.join(names)}, "
                "encoder for the first",
                code="layer-unknown",
                found=name,
                allowed=names,
            )
    if "encoder" in rates and "encoder" not in names:  # whatever the model calls it
        if m.encoder.name in rates:
            raise InputError(
                places.faults.at("noise", m.encoder.name),
                f"noise: {m.encoder.name} is the encoder, which has its own entry; remove one of the two",
                code="faults-contradiction",
            )
        rates = {m.encoder.name if name == "encoder" else name: rate for name, rate in rates.items()}
    layer_of = np.repeat(m.core_layer, np.diff(m.neuron_offset))
    chip = []
    for number, layer in enumerate(m.layers):
        if layer.levels and rates.get(layer.name):
            own = np.flatnonzero(layer_of == number)
            elements = m.neuron_element[own].astype(np.int64)
            chip.append(Noise(layer.name, rates[layer.name], seed, own, elements))
    summary["noise"] = {"layers": rates, "seed": seed}
    encoder = rates.get(m.encoder.name)
    return None if not encoder else (encoder, seed), tuple(chip)


def _dropped(places: Places, summary: dict[str, Any]) -> Dropped | None:
    entry = places.faults.content.dropped_packets
    if not isinstance(entry, Rate):
        if entry is not None:
            summary["dropped_packets"] = len(entry)
        return None
    m = places.mapping
    return Dropped(entry.rate, places.seed_of(entry), len(m.axon_source), m.steps) if entry.rate else None


def _told(places: Places, kind: str, count: Any) -> dict[str, Any]:
    """What the run's JSON says of a kind: its rate and seed, and how much of it lies in what the mapping uses."""
    entry = getattr(places.faults.content, kind)
    if kind == "noise":
        return dict(count)
    told: dict[str, Any] = {}
    if isinstance(entry, Rate):
        told = {"rate": entry.rate, "seed": places.seed_of(entry)}
        if hasattr(entry, "at"):
            told["at"] = entry.at
    if isinstance(count, dict):
        return {**told, **count}
    return told if count is None else {**told, "places": count}
