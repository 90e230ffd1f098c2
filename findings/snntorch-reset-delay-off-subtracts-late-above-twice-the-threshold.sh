#!/bin/sh
# snntorch 1.0.0: snn.Leaky(reset_delay=False) does not subtract at once where the membrane exceeds twice the threshold.
#
# Seen: beta 1, threshold 1, one input of 3.5 and then none. Subtracting at once gives spikes in steps 0, 1 and 2 and leaves
# 0.5. snntorch subtracts the threshold before it compares in the step after, fires in steps 0 and 1 only, then gives the
# threshold back in every step without a spike: the membrane stays at 1.5, above the threshold, and never fires again.
# Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps snntorch==1.0.0 nir==1.0.8 nirtorch==2.6
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check h5py
"$folder/venv/bin/python" - <<'PY'
import sys

import snntorch
import torch

neuron = snntorch.Leaky(beta=1.0, threshold=1.0, reset_delay=False)
membrane, seen = torch.zeros(1), []
for value in (3.5, 0, 0, 0, 0, 0):
    spike, membrane = neuron(torch.tensor([float(value)]), membrane)
    seen.append((int(spike), float(membrane)))
print("snntorch", snntorch.__version__, "spike and membrane of each step:", seen)
sys.exit(seen != [(1, 2.5), (1, 1.5), (0, 1.5), (0, 1.5), (0, 1.5), (0, 1.5)])
PY
