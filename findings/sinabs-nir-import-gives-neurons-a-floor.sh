#!/bin/sh
# sinabs 3.1.3: an IAF that is written by to_nir and read by from_nir has a lower bound of its potential that it had not before.
#
# An IAF has no bound unless min_v_mem says so, and NIR's IF has none. from_nir sets min_v_mem to minus the threshold, so that
# inhibition beyond it is forgotten: after two inputs of -5, the second input of 1 makes it fire instead of the eleventh. Set
# min_v_mem to None in what was read. Installed without samna, which only chips need. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 matplotlib nir==1.0.8 nirtorch==2.6 numpy pbr
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps sinabs==3.1.3
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import torch
from sinabs.layers import IAFSqueeze
from sinabs.nir import from_nir, to_nir

STEPS = torch.tensor([[-5.0], [-5.0]] + [[1.0]] * 12)


def train(network: torch.nn.Module) -> list[int]:
    """Return the spikes of each step."""
    found = network(STEPS)
    return (found[0] if isinstance(found, tuple) else found).reshape(-1).int().tolist()


written = torch.nn.Sequential(IAFSqueeze(batch_size=1))
read = from_nir(to_nir(written, torch.zeros(1, 1)), batch_size=1)
before, after = train(written), train(read)
print("before it was written:", before)
print("after it was read:    ", after)
as_seen = before == [0] * 12 + [1] * 2 and after == [0] * 3 + [1] * 11
print("as described" if as_seen else "the behaviour has changed")
sys.exit(not as_seen)
PY
