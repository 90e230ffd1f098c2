#!/bin/sh
# sinabs 3.1.3: from_nir leaves out the nodes Linear and Scale without a word; what came before them reaches what comes after.
#
# It knows Affine, and returns nothing for a kind of node that it does not know; the executor then skips the node. A square
# weight, or a Scale, leaves all shapes as they were, so that the network runs and fires otherwise. Write an Affine with a bias
# of zeros. Installed without its dependency samna, which only chips need. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 matplotlib nir==1.0.8 nirtorch==2.6 numpy pbr
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps sinabs==3.1.3
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import nir
import numpy as np
import torch
from sinabs.nir import from_nir

ONE = np.ones(2, np.float32)
WEIGHT = np.diag(np.array([2, 3], np.float32))
shape = np.array([2])


def spikes(node: nir.NIRNode) -> list[float]:
    """Return the spikes that a node and two neurons of threshold 1 make of an input of 1 each."""
    neurons = nir.IF(r=ONE, v_threshold=ONE)
    graph = nir.NIRGraph.from_list(nir.Input({"input": shape}), node, neurons, nir.Output({"output": shape}))
    found = from_nir(graph, batch_size=1)(torch.ones(1, 2))[0]
    return found.reshape(-1).tolist()


seen = [
    spikes(nir.Affine(weight=WEIGHT, bias=0 * ONE)),
    spikes(nir.Linear(weight=WEIGHT)),
    spikes(nir.Scale(scale=np.array([2, 3], np.float32))),
]
print("weights 2 and 3 as Affine, Linear and Scale:", *seen)
as_seen = seen == [[2, 3], [1, 1], [1, 1]]
print("as described" if as_seen else "the behaviour has changed")
sys.exit(not as_seen)
PY
