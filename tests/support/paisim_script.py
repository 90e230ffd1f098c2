"""Runs words in paisim; started by a Python that has it, never imported.

Reads ``IN.npz`` (``config``: configuration words; ``words`` and ``offsets``: the frames of each image; ``stream``: whether
they are fed together) and writes ``OUT.npz`` (``words`` and ``offsets``: what came out for each image; ``spikes``: data frames sent by each core,
``places``: which core).
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
from paisim import ChipCoord, Port, Simulator, SingleBoard


def main(source: str, target: str) -> None:
    given = np.load(source)
    sent: Counter[tuple[int, int]] = Counter()

    def seen(event: object) -> None:
        if event.kind == "frame" and event.source is not None:  # type: ignore[attr-defined]
            sent[event.source.core.x, event.source.core.y] += 1  # type: ignore[attr-defined]

    host = Port(ChipCoord(0, 0))
    simulator = Simulator(SingleBoard(), seen, max_pending_words=1 << 30)
    simulator.feed(given["config"], ingress=host)
    simulator.run()
    simulator.finish_input()
    sent.clear()
    out = []
    for first, last in zip(given["offsets"][:-1], given["offsets"][1:], strict=True):
        simulator.feed(given["words"][first:last], ingress=host)
        simulator.run()
        out.append(simulator.drain_output())
    places = np.array(sorted(sent), np.int64).reshape(-1, 2)
    np.savez(
        target,
        words=np.concatenate(out),
        offsets=np.cumsum([0, *(len(each) for each in out)]),
        places=places,
        spikes=np.array([sent[tuple(place)] for place in places.tolist()], np.int64),
    )


main(sys.argv[1], sys.argv[2])
