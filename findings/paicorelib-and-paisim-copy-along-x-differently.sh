#!/bin/sh
# paicorelib 2.0.0 and paisim 0.1.0 disagree on where the copies of a PAICORE 2.5 frame go.
#
# Both come from the chip team. A frame has an offset and a number of copies along each axis. With copies along y, the last
# axis, aer_packet_walk of paicorelib and the router of paisim reach the same cores for every offset; with copies along x and an
# offset in y they agree on none. Which is the silicon is not published: copy along y only. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check paisim==0.1.0 paicorelib==2.0.0
"$folder/venv/bin/python" - <<'PY'
import sys

from paicorelib.coordinate import CoordXY, CoordZXYOffset
from paicorelib.routing_hexa import AERPacket, AERPacketZXYCopy, aer_packet_walk
from paisim import ChipCoord, CoreAddr, CoreCoord, SingleBoard, Simulator
from paisim.frames import route_bits

chip = ChipCoord(0, 0)
router = Simulator(SingleBoard()).router


def agree(x, y, copies_x, copies_y):
    """Whether both reach the same cores from (4, 4), and how many that are."""
    packet = AERPacket()
    packet.foothold, packet.offset = CoordXY(4, 4), CoordZXYOffset(0, x, y)
    packet.ncopy = AERPacketZXYCopy(0, copies_x, copies_y)
    walked = {(place.x, place.y) for place in aer_packet_walk(packet)}
    routed = router.route(CoreAddr(chip, CoreCoord(4, 4)), route_bits((0, x, y, 0, copies_x, copies_y)))
    return walked == {(place.core.x, place.core.y) for place in routed}


along_y = [agree(x, y, 0, c) for x in (-2, 0, 2) for y in (-2, 0, 1, 2) for c in (1, 2)]
along_x = [agree(x, y, c, 0) for x in (-2, 0, 2) for y in (-2, -1, 1, 2) for c in (1, 2)]
print(f"copies along y: equal in {sum(along_y)} of {len(along_y)}; along x with an offset in y: {sum(along_x)} of {len(along_x)}")
sys.exit(not all(along_y) or any(along_x))
PY
