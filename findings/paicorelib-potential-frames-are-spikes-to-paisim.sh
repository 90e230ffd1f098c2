#!/bin/sh
# paicorelib 2.0.0 writes potentials as frames that paisim 0.1.0 reads as spikes, in another image's slot.
#
# gen_work_frame2 gives the four bytes of a potential header 9 and one axon. paisim sends and expects a potential with header 10
# or 11, byte k at axon + 8 k; bit 60 of a frame is bit 7 of the slot, so that header 9 is data of slot 128 + n there. For the
# same reason a reader that asks for header 8 misses every spike of slots 128 to 255. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check paisim==0.1.0 paicorelib==2.0.0
"$folder/venv/bin/python" - <<'PY'
import sys

from paicorelib.coordinate import CoordZXYOffset
from paicorelib.framelib.frame_gen_v2 import OfflineFrameGenV2
from paicorelib.routing_hexa import AERPacketZXYCopy
from paisim.frames import work_fields, work_word

there, once = CoordZXYOffset(0, 0, 0), AERPacketZXYCopy(0, 0, 0)
written = [int(word) for word in OfflineFrameGenV2.gen_work_frame2(there, once, [5], [32], 3, [0x12345678])]
read = [work_fields(word) for word in written]  # slot, axon, byte, whether it is of a potential
theirs = [work_word(0, 5, 32 + 8 * k, 0x12345678 >> 8 * k & 0xFF, voltage=True) for k in range(4)]
spike = work_word(0, 200, 0, 1)
print("paicorelib, headers:", [word >> 60 for word in written], "read by paisim as (slot, axon, byte, potential):", read)
print("paisim, headers of the same potential:", [word >> 60 for word in theirs], "and of a spike in slot 200:", spike >> 60)
sys.exit(
    {word >> 60 for word in written} != {9}
    or any(slot != 133 or potential for slot, _, _, potential in read)
    or {word >> 60 for word in theirs} != {10}
    or spike >> 60 != 9
)
PY
