#!/bin/sh
# sanafe 2.2.9: Neuron.set_attributes(soma_attributes=...) sets the dendrite, and dendrite_attributes=... sets the soma.
#
# Seen: a threshold of 100 given as soma_attributes stops no spike, and nothing is said, because the default dendrite accepts
# the names of a soma's attributes. The same threshold given as dendrite_attributes, or as model_attributes, stops them.
# Use model_attributes. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sanafe==2.2.9
"$folder/venv/bin/python" - <<'PY'
import contextlib
import io
import os
import sys

import sanafe

arch = sanafe.load_arch(os.path.join(os.path.dirname(sanafe.__file__), "examples", "tutorial_arch.yaml"))


def spikes(**attributes):
    """Spikes of a neuron that gets a current of 1 in three of four steps."""
    net = sanafe.Network()
    group = net.create_neuron_group("neurons", 2, log_spikes=True)
    group[0].set_attributes(model_attributes={"bias": 1.0})
    group[0].connect_to_neuron(group[1], {"weight": 1.0})
    group[1].set_attributes(**attributes)
    group.map_to_core(arch.cores()[0])
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    with contextlib.redirect_stdout(io.StringIO()):
        trace = chip.sim(4, spike_trace=True)["spike_trace"]
    return sum(entry.neuron_offset == 1 for step in trace for entry in step)


seen = {name: spikes(**{name: {"threshold": 100.0}}) for name in ("model_attributes", "soma_attributes", "dendrite_attributes")}
print("sanafe 2.2.9, spikes with a threshold of 100 given as:", seen)
sys.exit(seen != {"model_attributes": 0, "soma_attributes": 3, "dendrite_attributes": 0})
PY
