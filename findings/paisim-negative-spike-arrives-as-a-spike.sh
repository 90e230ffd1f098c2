#!/bin/sh
# paisim 0.1.0: a one-bit neuron that fires at its negative threshold sends the same frame as one that fires at the positive.
#
# With the negative threshold in its fire mode the output is -1; a one-bit core sends its lowest bit, which is 1. A neuron
# whose negative threshold is left at 0 in this mode, the value of an empty register, fires at every potential of 0 or less. Set
# the mode to floor, with a floor that no potential reaches. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check paisim==0.1.0 paicorelib==2.0.0
"$folder/venv/bin/python" - <<'PY'
import sys

import numpy as np
from paisim import ChipCoord, Port, SingleBoard, Simulator

TO_CORE = 2 << 42  # (0, 0) to (0, 2)
BACK = 1 << 5 | 2  # two steps back in y: a sign bit above the magnitude
REGISTERS = [1 << 53 | 1 << 51 | 2 << 14 | BACK >> 4, (BACK & 15) << 60 | 1 << 59 | 2 << 24 | 2 << 8 | 2, 1 << 48 | 1 << 16]


def sent(weight, mode):
    """Data of the frames of a neuron with thresholds 1 and -1 that reads one spike with a weight of 2 bits."""
    part1 = [1 << 32 | 2 << 35 | 2 << 47, BACK << 29]  # full; weights in row 2; sends to (0, 0)
    part2 = [1 << 44, (2**32 - 1) << 12 | mode << 45]
    rows = [*part1, *part2, weight & 3, 0] + [0] * 10
    chip, host = Simulator(SingleBoard()), Port(ChipCoord(0, 0))
    words = [TO_CORE | 3, *REGISTERS, 2 << 60 | TO_CORE | len(rows), *rows, 13 << 60 | TO_CORE]
    chip.feed(np.array([*words, 8 << 60 | TO_CORE | 1, 12 << 60 | TO_CORE | 1], np.uint64), ingress=host)
    chip.run()
    return [int(word) & 255 for word in chip.drain_output() if int(word) >> 60 == 8]


seen = {"weight 1": sent(1, 0), "weight -1": sent(-1, 0), "weight -1 with a floor": sent(-1, 1)}
print("paisim 0.1.0, data that arrive:", seen)
sys.exit(seen != {"weight 1": [1], "weight -1": [1], "weight -1 with a floor": []})
PY
