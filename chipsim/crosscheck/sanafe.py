"""SANA-FE against chipsim on a ``.map``: spikes and potentials, synaptic events and messages of each core.

SANA-FE (https://github.com/SLAM-Lab/SANA-FE, GPL-3.0) models energy and time of neuromorphic chips. Here it is given a core
for each of ours, a synapse for each weight that is not zero, and a message a spike and core; it multiplies nothing out that
the mapping shares, so that only small networks fit into memory.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import numpy.typing as npt

from chipsim.crosscheck import Crosscheck, Request, not_covered
from chipsim.crosscheck.environment import Arrays, Package, interpreter, run
from chipsim.engine.batches import batch_size
from chipsim.engine.count import count_images
from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.engine.setup import of_one_step, open_dataset, open_mapping
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare

PACKAGE = Package("sanafe", "2.2.9", ("numpy",))
#: images where no limit is given: it runs a few a second
IMAGES = 100
#: bytes that SANA-FE 2.2.9 takes for a synapse: 2.3 GB for the 2,882,353 of models/lenet-k0b1.onnx, and some more
SYNAPSE_BYTES = 1000
#: ticks that its dendrite can delay a spike
DELAY = 6

Int = npt.NDArray[np.int64]


def check(request: Request) -> Crosscheck:
    """Run the images of a request on both.

    Raises
    ------
    InputError
        SANA-FE cannot be had, or the mapping is too large for it or delays spikes longer than it can.
    """
    mapping = open_mapping(request.file)
    of_one_step(mapping, "crosscheck --with sanafe")
    network = synapses(mapping)
    _check_size(request.file, mapping, network)
    python = interpreter(PACKAGE, request.python, _tell)
    dataset = open_dataset(request.dataset, request.first(IMAGES))
    images = prepare(dataset.images[: len(dataset)], mapping.input, dataset.name)
    ours = _ours(mapping, images, network)
    start = time.perf_counter()
    theirs = run(python, "run_sanafe.py", _given(mapping, network, ours["sources"]), request.progress)
    seconds = time.perf_counter() - start
    return _compare(mapping, ours, theirs, seconds)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def synapses(m: Mapping) -> dict[str, Int]:
    """Return every weight that is not zero: its axon, source and neuron, its value and the delay of its spikes in ticks."""
    parts = []
    for core in range(m.cores):
        weights = m.crossbar(int(m.core_crossbar[core]))
        axon, neuron = np.nonzero(weights)
        parts.append(
            np.stack([axon + m.axon_offset[core], neuron + m.neuron_offset[core], weights[axon, neuron].astype(np.int64)])
        )
    axon, neuron, weight = np.concatenate(parts, axis=1)
    delay = np.empty(len(m.axon_source), np.int64)
    delay[m.target_axon] = m.target_delay
    return {
        "synapse_axon": axon,
        "synapse_source": m.axon_source[axon].astype(np.int64),
        "synapse_neuron": neuron,
        "synapse_weight": weight,
        "synapse_delay": delay[axon],
    }


def _check_size(file: str, m: Mapping, network: dict[str, Int]) -> None:
    """Refuse what SANA-FE cannot hold before an hour has gone by."""
    delay = int(network["synapse_delay"].max(initial=1))
    if delay > DELAY:
        raise not_covered(file, f"delays a spike by {delay} ticks; --with sanafe covers delays of at most {DELAY}")
    needed, there = len(network["synapse_weight"]) * SYNAPSE_BYTES, _memory()
    if there is not None and needed > there:
        raise not_covered(
            file,
            f"has {len(network['synapse_weight']):,} synapses, about {needed / 1e9:.1f} GB in SANA-FE; "
            f"--with sanafe covers what fits into this machine's memory, {there / 1e9:.1f} GB; use a smaller network",
        )


def _memory() -> int | None:
    """Bytes of memory that this machine has, where it says."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _ours(m: Mapping, images: npt.NDArray[np.generic], network: dict[str, Int]) -> dict[str, Int]:
    """Run the reference engine: what every source sent, potentials read out, events and messages of each core by image."""
    machine, host = load(m), load_host(m)
    size = batch_size(100, m.input)
    found = [machine.step(host.spikes(images[first : first + size])) for first in range(0, len(images), size)]
    spikes = np.concatenate([sources for sources, _ in found], axis=1)
    core = np.repeat(np.arange(m.cores), np.diff(m.axon_offset))[network["synapse_axon"]]
    pairs = np.unique(np.stack([core, network["synapse_source"]]), axis=1)  # a spike reaches a core in one message
    messages = np.zeros((spikes.shape[1], m.cores), np.int64)
    for number in range(m.cores):
        messages[:, number] = spikes[pairs[1, pairs[0] == number]].sum(axis=0, dtype=np.int64)
    return {
        "sources": spikes.T,
        "potentials": np.concatenate([potentials for _, potentials in found]),
        "events": count_images(m, spikes).sops.astype(np.int64),
        "messages": messages,
    }


def _given(m: Mapping, network: dict[str, Int], sources: Int) -> Arrays:
    """Return the arrays that ``run_sanafe.py`` reads."""
    layer = np.repeat(m.core_layer, np.diff(m.neuron_offset))
    ticks = np.array([entry.tick for entry in m.layers], np.int64)[layer]
    read = np.flatnonzero(np.array([entry.levels == 0 for entry in m.layers])[layer])
    return {
        "cores": np.array(m.cores),
        "neuron_core": np.repeat(np.arange(m.cores), np.diff(m.neuron_offset)),
        "neuron_threshold": m.neuron_threshold.astype(np.int64),
        "source_tick": np.concatenate([np.zeros(m.encoder_neurons, np.int64), ticks]),
        "read": read[np.argsort(m.neuron_element[read])],
        "encoder_spikes": np.ascontiguousarray(sources[:, : m.encoder_neurons]).astype(np.uint8),
        **{name: values for name, values in network.items() if name != "synapse_axon"},
    }


def _compare(m: Mapping, ours: dict[str, Int], theirs: Arrays, seconds: float) -> Crosscheck:
    spikes = ours["sources"][:, m.encoder_neurons :]
    pairs = {
        "spikes": (spikes, theirs["spikes"], "neuron"),
        "potentials": (ours["potentials"], theirs["potentials"], "output"),
        "synaptic events": (ours["events"], theirs["events"], "core"),
        "messages": (ours["messages"], theirs["messages"], "core"),
    }
    wrong = {name: np.argwhere(mine != other) for name, (mine, other, _) in pairs.items()}
    difference = None
    for name, (mine, other, what) in pairs.items():
        if len(wrong[name]) and difference is None:
            image, at = wrong[name][0].tolist()
            found = f"chipsim has {mine[image, at]}, SANA-FE {other[image, at]}"
            difference = f"{name}: image {image}, {what} {at}: {found}"
    images, neurons = spikes.shape
    return Crosscheck(
        simulator="sanafe",
        version=f"SANA-FE {theirs['version']}",
        images=images,
        potentials_equal=not len(wrong["potentials"]),
        spikes_equal=not len(wrong["spikes"]),
        cores_equal=not len(wrong["synaptic events"]) and not len(wrong["messages"]),
        seconds=seconds,
        compared=f"spikes of {neurons:,} neurons, {ours['potentials'].shape[1]} potentials read out, "
        f"synaptic events and messages of {m.cores} cores, image by image",
        difference=difference,
    )
