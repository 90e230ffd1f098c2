#!/bin/sh
# nir 1.0.8: Conv2d gives the output shape of a kernel that is as wide as it is high, whatever the width of its weight is.
#
# Kernels of 3 x 5 over 8 x 8 give 6 x 4; the node says 6 x 6, and 4 x 4 for 5 x 3. A Flatten and a Linear behind it that fit the
# true shape are then refused by the type check of NIRGraph. Compute shapes from the weight yourself. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nir==1.0.8 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import sys

import nir
import numpy as np


def inferred(height: int, width: int) -> list[int]:
    """Return the shape that the node states for the output of one kernel over 8 x 8."""
    weight = np.ones((1, 1, height, width), np.float32)
    node = nir.Conv2d((8, 8), weight, stride=1, padding=0, dilation=1, groups=1, bias=np.zeros(1, np.float32))
    return [int(size) for size in node.output_type["output"]]


seen = {}
for height, width in ((3, 3), (3, 5), (5, 3)):
    seen[height, width] = inferred(height, width)
    print(f"kernel {height} x {width}: inferred {seen[height, width]}, true {[1, 9 - height, 9 - width]}")
as_seen = seen == {(3, 3): [1, 6, 6], (3, 5): [1, 6, 6], (5, 3): [1, 4, 4]}
print("as described" if as_seen else "the behaviour has changed")
sys.exit(not as_seen)
PY
