#!/bin/sh
# norse 1.1.0: to_nir writes tau * dt in place of tau, and from_nir reads it as tau.
#
# A LIFBoxCell with a time constant of 10 ms (tau_mem_inv 100 a second, dt 1 ms) is written with tau 1e-5 s. Read back by norse
# itself it is a neuron that is a thousand times as fast: what was a slow leak becomes a factor of 1 - 100 a step. Read files of
# norse with dt 1e-6, which cancels, or multiply tau by 1000 first. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchvision nir==1.0.8 nirtorch==2.6 numpy
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps norse==1.1.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import norse.torch as norse
import torch

one = torch.ones(1)
neuron = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=100 * one, v_leak=0 * one, v_th=one, v_reset=0 * one), dt=1e-3)
graph = norse.to_nir(norse.SequentialState(neuron), torch.zeros(1, 1))
(written,) = (float(node.tau) for node in graph.nodes.values() if type(node).__name__ == "LIF")
(read,) = (float(module.p.tau_mem_inv) for module in norse.from_nir(graph).modules() if isinstance(module, norse.LIFBoxCell))
print(f"time constant {1 / 100:g} s, in the file {written:g} s, read back 1 / {read:.6g} s")
as_seen = abs(written / 1e-5 - 1) < 1e-6 and abs(read / 1e5 - 1) < 1e-6
print("as described" if as_seen else "the behaviour has changed")
sys.exit(not as_seen)
PY
