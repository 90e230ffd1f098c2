"""Counters of a run: every one of them is linear in how often each source sent something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.engine.paicore.cores import Core
from chipsim.engine.paicore.frames import BYTES
from chipsim.engine.paicore.host import Host
from chipsim.paicore.fields import Int
from chipsim.paicore.program import Program


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Totals over a run; a spike is a value other than 0."""

    encoder_spikes: int
    paper_sops: int | None  # None where no source drives a convolution
    work_frames: int  # that the host writes: a spike of the encoder for each run of cores that reads it
    packets: int  # spikes and bytes of potentials, once for each core or host that is reached
    core_spikes: Int  # (cores,)
    core_sops: Int  # (cores,): synapses that spikes meet
    core_events: Int  # (cores,): spikes that arrive


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Every way from a source to an input of a core. Sources: E encoder inputs, then N neurons, core by core."""

    source: Int  # (links,)
    core: Int  # (links,)
    synapses: Int  # (links,): that the input drives
    neuron_core: Int  # (N,)
    spiking: Int  # (N,): 1 where a neuron sends spikes, 0 where it sends its potential
    frames: Int  # (E + N,): work frames that the host writes for one spike of a source; 0 for neurons


def find_links(cores: tuple[Core, ...], host: Host) -> Links:
    """Follow every route."""
    encoder = host.mapping.encoder_inputs
    first = encoder + np.concatenate([[0], np.cumsum([core.neurons for core in cores])])
    fanout = [core.fanout() for core in cores]
    none = np.zeros(0, np.int64)
    parts: list[tuple[Int, int, Int]] = [(none, 0, none)]  # where nothing is sent anywhere
    frames = np.zeros(int(first[-1]), np.int64)
    for entry in host.deliveries:
        frames[entry.sources] += 1
        parts += [(entry.sources, core, entry.addresses // cores[core].input_width) for core in entry.cores]
    spiking = np.ones(int(first[-1]) - encoder, np.int64)
    for number, core in enumerate(cores):
        parts += [(first[number] + target.neurons, target.core, target.inputs) for target in core.targets]
        spiking[first[number] - encoder + core.host] = 0
    return Links(
        source=np.concatenate([sources for sources, _, _ in parts]),
        core=np.concatenate([np.full(len(sources), core) for sources, core, _ in parts]),
        synapses=np.concatenate([fanout[core][inputs] for _, core, inputs in parts]),
        neuron_core=np.repeat(np.arange(len(cores)), [core.neurons for core in cores]),
        spiking=spiking,
        frames=frames,
    )


def count(program: Program, links: Links, fired: Int, images: int) -> Counts:
    """Count a run.

    Parameters
    ----------
    fired : ndarray, int64, (E + N,)
        How often each source sent a spike. Sources that go the same ways may be counted at one of them.
    images : int
        How many images were run: each potential that is read out takes `BYTES` frames.
    """
    cores, encoder = len(program.cores), program.encoder_inputs
    arrived = fired[links.source]
    paper = program.dense_fanout.astype(np.int64)
    read = BYTES * images * int((links.spiking == 0).sum())
    return Counts(
        encoder_spikes=int(fired[:encoder].sum()),
        paper_sops=2 * int(fired @ paper) if paper.any() else None,
        work_frames=int(fired @ links.frames),
        packets=int(arrived.sum()) + read,
        core_spikes=_sums(links.neuron_core, fired[encoder:] * links.spiking, cores),
        core_sops=_sums(links.core, arrived * links.synapses, cores),
        core_events=_sums(links.core, arrived, cores),
    )


def _sums(core: Int, values: Int, cores: int) -> Int:
    found = np.zeros(cores, np.int64)
    np.add.at(found, core, values)
    return found
