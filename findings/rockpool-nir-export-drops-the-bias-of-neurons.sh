#!/bin/sh
# rockpool 3.1.0: to_nir writes v_leak 0 for LIFNeuronTorch whatever its bias is, and nothing else of the bias.
#
# Seen: two neurons, one with a bias of 0 and one with 0.7 that makes it fire without any input, give files with the same
# arrays. The bias of a LinearTorch before it is written (Affine). Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy scipy h5py nir==1.0.8
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps rockpool==3.1.0 nirtorch==2.6
"$folder/venv/bin/python" - <<'PY'
import sys
import warnings

import numpy as np
import torch

warnings.simplefilter("ignore")
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFNeuronTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir
from rockpool.parameters import Constant


def made(bias):
    """Spikes without input in ten steps, and the arrays of the exported neuron."""
    linear = LinearTorch((1, 1), has_bias=False)
    linear.weight.data[:] = 1.0
    net = Sequential(linear, LIFNeuronTorch(1, tau_mem=Constant(0.02), threshold=Constant(1.0), bias=Constant(bias), dt=1e-3))
    spikes, _, _ = net(torch.zeros(1, 10, 1))
    node = next(n for n in to_nir(net, torch.zeros(1, 10, 1)).nodes.values() if type(n).__name__ == "LIF")
    return int(spikes.sum()), {key: np.asarray(getattr(node, key)).tolist() for key in ("tau", "r", "v_leak", "v_threshold")}


without, with_bias = made(0.0), made(0.7)
print("rockpool 3.1.0, bias 0:", without)
print("rockpool 3.1.0, bias 0.7:", with_bias)
sys.exit(not (without[0] == 0 and with_bias[0] > 0 and without[1] == with_bias[1]))
PY
