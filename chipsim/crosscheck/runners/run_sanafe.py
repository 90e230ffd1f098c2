# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later
#
# This program imports sanafe, which is GPL-3.0, in a process of its own. chipsim starts it and never imports it. The second
# licence lets anyone pass it on together with sanafe.
"""Run a network of crossbar cores in SANA-FE, from one npz file to another.

    python run_sanafe.py GIVEN.npz FOUND.npz

GIVEN.npz, with E encoder sources, N neurons, C cores, S synapses and I images:

- ``neuron_core`` (N,), ``neuron_threshold`` (N,): a neuron fires when its potential is at least its threshold
- ``source_tick`` (E + N,): the tick of a frame in which a source fires; 0 for the encoder
- ``synapse_source`` (S,) of 0 .. E + N - 1, ``synapse_neuron``, ``synapse_weight`` and ``synapse_delay`` (S,), in ticks
- ``read`` (R,): neurons whose potentials are wanted; they do not fire
- ``encoder_spikes`` uint8 (I, E), ``cores`` ()

FOUND.npz: ``version`` (), ``spikes`` uint8 (I, N), ``potentials`` int64 (I, R), ``events`` and ``messages`` int64 (I, C):
the synaptic events of a core and the messages that it received, by image.

Images follow each other one time-step apart. Somas forget everything between steps (``leak_decay`` 0), so each step of a
core sees one image only, and a neuron with a threshold of 0 fires once an image, as on the chip.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import sanafe

Arrays = dict[str, Any]

#: neurons that SANA-FE's soma and dendrite models hold
UNIT = 1024
#: synapses that are handed over at a time
PART = 100_000

ARCHITECTURE = """
architecture:
  name: crossbars
  attributes: {{topology: mesh, width: 1, height: 1, link_buffer_size: 1, sync_model: fixed, latency_sync: 0.0}}
  tile:
    - name: tile
      attributes: {{energy_north_hop: 0.0, latency_north_hop: 0.0, energy_east_hop: 0.0, latency_east_hop: 0.0,
        energy_south_hop: 0.0, latency_south_hop: 0.0, energy_west_hop: 0.0, latency_west_hop: 0.0}}
      core:
        - name: core[0..{last_core}]
          attributes: {{buffer_position: {buffer}, buffer_inside_unit: {inside}, max_neurons_supported: {neurons}}}
          axon_in: [{{name: in, attributes: {{energy_message_in: 0.0, latency_message_in: 0.0}}}}]
          synapse: [{{name: synapse, attributes: {{model: current_based, energy_process_spike: 0.0,
            latency_process_spike: 0.0}}}}]
          dendrite: [{{name: "dendrite[0..{last_unit}]", attributes: {{model: {dendrite}, energy_update: 0.0,
            latency_update: 0.0}}}}]
          soma: [{{name: "soma[0..{last_unit}]", attributes: {{model: leaky_integrate_fire, energy_access_neuron: 0.0,
            latency_access_neuron: 0.0, energy_update_neuron: 0.0, latency_update_neuron: 0.0, energy_spike_out: 0.0,
            latency_spike_out: 0.0}}}}]
          axon_out: [{{name: out, attributes: {{energy_message_out: 0.0, latency_message_out: 0.0}}}}]
"""


def architecture(cores: int, neurons: int, delayed: bool) -> Any:
    """Return cores of units that hold so many neurons; a dendrite with delays keeps time itself."""
    text = ARCHITECTURE.format(
        last_core=cores - 1,
        last_unit=-(-neurons // UNIT) - 1,
        neurons=neurons,
        buffer="dendrite" if delayed else "soma",
        inside="true" if delayed else "false",
        dendrite="accumulator_with_delay" if delayed else "accumulator",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "crossbars.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return sanafe.load_arch(path)


def place(group: Any, cores: Any, core_of: Any) -> None:
    """Map each neuron of a group to its core, and to the unit that holds it there."""
    held: dict[int, int] = {}
    for neuron, core in zip(group, core_of.tolist(), strict=True):
        unit = held.get(core, 0) // UNIT
        held[core] = held.get(core, 0) + 1
        neuron.set_attributes(soma_hw_name=f"soma[{unit}]", dendrite_hw_name=f"dendrite[{unit}]")
        neuron.map_to_core(cores[core])


def connect(group: Any, neurons: Any, given: Arrays, chosen: Any, source: Any, delayed: bool) -> None:
    """Make the synapses of the sources of a group."""
    for first in range(0, len(chosen), PART):
        part = chosen[first : first + PART]
        attributes = {"weight": given["synapse_weight"][part].tolist()}
        if delayed:
            attributes["delay"] = (given["synapse_delay"][part] - 1).tolist()
        pairs = list(zip(source[part].tolist(), given["synapse_neuron"][part].tolist(), strict=True))
        group.connect_neurons_sparse(neurons, attributes, pairs)


def build(given: Arrays) -> Any:
    """Return a chip that holds the network as two groups: the encoder's sources and the neurons."""
    encoder, neurons = given["encoder_spikes"].shape[1], len(given["neuron_core"])
    cores = int(given["cores"])
    delayed = bool((given["synapse_delay"] > 1).any())
    most = max(int(np.bincount(given["neuron_core"], minlength=1).max()), UNIT)
    hosts = -(-encoder // most)  # the host's cores follow the chip's
    found = architecture(cores + hosts, most, delayed)
    net = sanafe.Network()
    # a soma fires when its potential is above its threshold, and the chip when it is at least the threshold
    host = net.create_neuron_group("encoder", encoder, {"threshold": 0.5, "leak_decay": 0.0, "reset_mode": "none"})
    group = net.create_neuron_group("neurons", neurons, {"leak_decay": 0.0, "reset_mode": "none"}, log_spikes=True)
    for neuron, threshold in zip(group, given["neuron_threshold"].tolist(), strict=True):
        neuron.set_attributes(model_attributes={"threshold": float(threshold - 1)})
    for number in given["read"].tolist():
        group[number].set_attributes(model_attributes={"threshold": 1e9}, log_potential=True)
    place(host, found.cores(), cores + np.arange(encoder) // most)
    place(group, found.cores(), given["neuron_core"])
    source = given["synapse_source"]
    connect(host, group, given, np.flatnonzero(source < encoder), source, delayed)
    connect(group, group, given, np.flatnonzero(source >= encoder), source - encoder, delayed)
    chip = sanafe.SpikingChip(found)
    chip.load(net)
    return chip


def run(given: Arrays, report: Callable[[int, int], None]) -> Arrays:
    """Stream the images through the chip and sort what happens by image."""
    chip = build(given)
    host = chip.mapped_neuron_groups["encoder"]
    images, encoder = given["encoder_spikes"].shape
    cores, tick = int(given["cores"]), given["source_tick"]
    spikes = np.zeros((images, len(given["neuron_core"])), np.uint8)
    potentials = np.zeros((images, len(given["read"])), np.int64)
    events, messages = np.zeros((2, images, cores), np.int64)
    read_tick = int(tick[encoder + given["read"][0]])
    silent, before = np.zeros(encoder, np.uint8), np.zeros(encoder, np.uint8)
    for step in range(images + int(tick.max())):
        now = given["encoder_spikes"][step] if step < images else silent
        for number in np.flatnonzero(now != before).tolist():
            host[number].set_attributes(model_attributes={"bias": float(now[number])})
        before = now
        found = chip.sim(1, timing_model="simple", spike_trace=True, potential_trace=True, message_trace=True)
        fired = np.array([entry.neuron_offset for entry in found["spike_trace"][0]], np.int64)
        image = step - tick[encoder + fired]
        there = (image >= 0) & (image < images)
        spikes[image[there], fired[there]] = 1
        if 0 <= step - read_tick < images:
            potentials[step - read_tick] = np.rint(found["potential_trace"][0])
        sent = [entry for entry in found["message_trace"][0] if not entry["placeholder"]]
        source = np.array(
            [m["src_neuron_offset"] + encoder * (m["src_neuron_group_id"] == "neurons") for m in sent], np.int64
        )
        target, count = (np.array([m[key] for m in sent], np.int64) for key in ("dest_core_id", "spikes"))
        image = step - tick[source]
        there = (image >= 0) & (image < images)
        np.add.at(events, (image[there], target[there]), count[there])
        np.add.at(messages, (image[there], target[there]), 1)
        report(max(0, min(step + 1 - read_tick, images)), images)
    return {"spikes": spikes, "potentials": potentials, "events": events, "messages": messages}


def main() -> None:
    """Read, run, write."""
    given_path, found_path = sys.argv[1:]
    with np.load(given_path) as file:
        given = dict(file)

    def report(done: int, total: int) -> None:
        sys.stderr.write(f"progress {done} {total}\n")
        sys.stderr.flush()

    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # a line a step
        found = run(given, report)
    np.savez(found_path, version=np.array(version("sanafe")), **found)


if __name__ == "__main__":
    main()
