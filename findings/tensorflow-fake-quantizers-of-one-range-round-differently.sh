#!/bin/sh
# tensorflow 2.21.0: the fake quantizer of a tensor and that of channels give other values for one range.
#
# fake_quant_with_min_max_vars divides by the scale, fake_quant_with_min_max_vars_per_channel and ..._args multiply by the
# quotient of levels and range; between two levels the one rounds up and the other down. Of the halves of -0.77..0.77 in 5
# bits (narrow range) two differ, by a whole level. Whoever moves a quantizer from one form to the other changes the network;
# a converter must know which of them it reads. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" -W ignore - <<'PY' 2>/dev/null
import sys

import numpy as np
import tensorflow as tf

low, high, bits = -0.77, 0.77, 5
step = float((np.float32(high) - np.float32(low)) / np.float32(2**bits - 2))
x = (np.arange(2**bits * 2) / 2 * step + float(np.float32(low))).astype(np.float32)
whole = tf.quantization.fake_quant_with_min_max_vars(x, low, high, bits, True).numpy()
channel = tf.quantization.fake_quant_with_min_max_vars_per_channel(x[:, None], [low], [high], bits, True).numpy()[:, 0]
fixed = tf.quantization.fake_quant_with_min_max_args(x, low, high, bits, True).numpy()
levels = {name: np.rint(value / step).astype(int) for name, value in (("vars", whole), ("channel", channel), ("args", fixed))}
for place in np.flatnonzero(levels["vars"] != levels["channel"]):
    print(f"{x[place] / step:.6f} steps:", {name: int(value[place]) for name, value in levels.items()})
apart, same = (levels["vars"] != levels["channel"]).sum(), (levels["args"] == levels["channel"]).all()
print(f"{apart} of {len(x)} halves differ by a level; args and channel", "agree" if same else "differ")
sys.exit(not (apart == 2 and same))
PY
