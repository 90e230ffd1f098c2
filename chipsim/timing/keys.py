"""The keys ``timing`` and ``energy`` of a run's JSON: means per image of the sample, unless stated otherwise."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from chipsim.chip.routes import SIDES
from chipsim.mapping import Mapping
from chipsim.mapping.program import RELAY
from chipsim.timing import energy
from chipsim.timing.advice import advise
from chipsim.timing.network.mesh import Int
from chipsim.timing.record import STATIC
from chipsim.timing.result import Profile, Spread, TickResult
from chipsim.timing.tick import INCREMENTS


def profile_json(p: Profile) -> dict[str, Any]:
    """Return the keys ``timing`` and ``energy`` of a run's JSON."""
    return {"timing": timing_json(p), "energy": energy_json(p)}


def timing_json(p: Profile) -> dict[str, Any]:
    """Return the key ``timing``."""
    n, host = p.images, p.mapping.cores
    hops = p.work.hops.sum(axis=0) / n
    latency, interval = float(p.cycles.mean()), float(p.interval_cycles.mean())
    return {
        "mode": p.mode,
        "images": n,
        "cycles_per_image": Spread.of(p.cycles).to_json(),
        "chip_cycles_per_image": float(p.chip_cycles.mean()),
        "interval_cycles": interval,
        "ticks": [_tick(p, tick) for tick in p.ticks],
        "host_packets": int(p.work.packets[host]) / n,
        "chip_packets": int(p.work.packets[:host].sum()) / n,
        "potentials": int(p.work.potentials.sum()) / n,
        "hops": float(hops.sum()),
        "host_hops": float(hops[0]),
        "chip_hops": float(hops[1]),
        "busiest_link": p.busiest_link.load if p.busiest_link else 0.0,
        "busiest_link_at": asdict(p.busiest_link) if p.busiest_link else None,
        "links": _links(p),
        "link_ticks": _link_ticks(p),
        "core_packets": (p.work.packets[:host] / n).tolist(),
        "images_per_second": p.images_per_second,
        "threads": p.threads,
        "clock_mhz": p.plan.chip.clock_mhz,
        "latency_ms": 1e3 * p.seconds_of(latency),
        "stream": {
            "interval": Spread.of(p.interval_cycles).to_json(),
            **_increments(p.stream_increments),
            "busiest_link": p.stream_busiest_link.load if p.stream_busiest_link else 0.0,
            "interval_ms": 1e3 * p.seconds_of(interval),
            "frames_per_second": 1 / p.seconds_of(interval) if interval else None,
            "latency_ms": 1e3 * p.seconds_of(interval * p.mapping.frame_ticks / p.mapping.steps),
        },
    }


def _links(p: Profile) -> list[list[Any]]:
    """Return x, y, side, and the flits of the cores' packets and of the host's, of the links that carry any."""
    ingress, own = p.host_links / p.images, p.chip_links / p.images
    routers, sides = np.nonzero(ingress + own)
    y, x = np.divmod(routers, p.plan.mesh.width)
    names = [SIDES[side] for side in sides]
    flits = (of[routers, sides].tolist() for of in (own, ingress))
    return [list(row) for row in zip(x.tolist(), y.tolist(), names, *flits, strict=True)]


def _link_ticks(p: Profile) -> list[list[float]]:
    """Return the flits of each tick over the links that `_links` lists, in its order."""
    routers, sides = np.nonzero(p.host_links + p.chip_links)
    return [(network.links(p.plan.mesh)[routers, sides] / p.images).tolist() for network in p.networks]


def _increments(found: Int) -> dict[str, Any]:
    means = dict(zip(INCREMENTS, found.mean(axis=0).tolist(), strict=True))
    return {**means, "bound": max(INCREMENTS, key=lambda name: means[name])}


def _tick(p: Profile, tick: TickResult) -> dict[str, Any]:
    advice = advise(p, tick)
    return {
        "layer": tick.name,
        "cycles": tick.cycles,
        **tick.increments,
        "bound": tick.bound,
        "tick": tick.number,
        "layers": list(tick.layers),
        "cores": tick.cores,
        "packets": tick.packets,
        "hops": tick.hops,
        "critical_core": asdict(tick.core) if tick.core else None,
        "critical_link": asdict(tick.link) if tick.link else None,
        "queue_peak": tick.queue_peak,
        "queue_mean": tick.queue_mean,
        "stalls": tick.stalls,
        "saves_at_most": advice.saves,
        "advice": advice.text,
    }


def energy_json(p: Profile) -> dict[str, Any]:
    """Return the key ``energy``: of a frame alone on the chip, and of a frame in a stream."""
    parts, stream = p.parts, p.stream_parts
    sops = int(p.work.operations[~p.mapping.passing_cores].sum()) / p.images
    names = [*(layer.name for layer in p.mapping.layers), "host"]
    return {
        "pj_per_image": float(parts.sum()),
        "parts": energy.by_part(parts),
        "per_image": Spread.of(p.image_energy.sum(axis=1)).to_json(),
        "stream": {"pj_per_image": float(stream.sum()), "static": float(stream[STATIC])},
        "sops_per_image": sops,
        "macs_per_image": macs(p.mapping),
        "pj_per_sop": float(parts.sum()) / sops if sops else None,
        "layers": [
            {"name": name, "pj_per_image": float(row.sum()), "parts": energy.by_part(row)}
            for name, row in zip(names, p.layer_energy, strict=True)
        ],
        "cores": p.core_energy[:-1].sum(axis=1).tolist(),
        "constants": [asdict(constant) for constant in energy.constants(p.plan.chip)],
    }


def macs(m: Mapping) -> int:
    """Count the multiply-accumulates of the compiled network: one per feature in the window of each feature.

    Of the widest window of each layer: where borders are padded it counts what the padding adds.
    """
    population = np.array([m.encoder.levels] * m.encoder_neurons + [0] * m.neurons)
    owner = np.repeat(m.core_layer, np.diff(m.neuron_offset))
    population[m.encoder_neurons :] = np.array([layer.levels for layer in m.layers])[owner]
    layer_of_axon = np.repeat(m.core_layer, np.diff(m.axon_offset))
    found = 0.0
    for number, layer in enumerate(m.layers):
        levels = population[m.axon_source[layer_of_axon == number]]
        if layer.kind != RELAY and len(levels):
            found += float(np.prod(layer.shape, dtype=np.float64)) * layer.fan_in * float((1 / levels).mean())
    return round(found)
