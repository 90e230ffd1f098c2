# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later
#
# This program imports paisim, which is GPL-3.0-or-later, in a process of its own. chipsim starts it and never imports it.
# The second licence lets anyone pass it on together with paisim.
"""Stream the words of a PAICORE 2.5 through paisim, from one npz file to another.

    python run_paisim.py GIVEN.npz FOUND.npz

GIVEN.npz: ``configuration`` uint64 (W,), fed once; ``words`` uint64 and ``offset`` int64 (R + 1,), of which round r feeds
``words[offset[r]:offset[r + 1]]`` and lets the chip run until it is idle; ``cores`` int64 (C, 2), the x and y of each.

FOUND.npz, for R rounds: ``version`` and ``library`` (); ``sent`` uint64 (F,), every frame that a core sent, once for each
core or port that it reached, with ``sender`` and ``receiver`` (F,) (numbers of cores; C is the host) and ``sent_offset``
(R + 1,); ``potentials`` int32 (R, N), what the cores hold after each round; ``completed`` (R,), how often the root said so;
``seconds`` (R,) of each round. Where paisim refuses a word, ``refused`` () is its message, and the rounds end there.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
from paisim import ChipCoord, CoreAddr, CoreCoord, Port, SimEvent, Simulator, SingleBoard, TraceFilter
from paisim.runtime.errors import FrameError

CHIP = ChipCoord(0, 0)
HOST = Port(CHIP)


def run(given: dict[str, Any]) -> dict[str, Any]:
    """Configure the chip, run the rounds and keep what was sent and what is held."""
    places = [CoreAddr(CHIP, CoreCoord(int(x), int(y))) for x, y in given["cores"]]
    number = {place: k for k, place in enumerate(places)} | {HOST.addr: len(places)}
    sent: list[tuple[int, int, int]] = []
    offset, potentials, completed, seconds, refused = [0], [], [], [], ""

    def keep(event: SimEvent) -> None:
        if event.source != HOST.addr:
            sent.append((event.raw_word, number[event.source], number[event.destination]))

    chip = Simulator(SingleBoard(), on_event=keep, trace_filter=TraceFilter(kinds=frozenset({"frame", "complete"})))
    try:
        chip.feed(given["configuration"], ingress=HOST)
        chip.run()
        chip.finish_input()
        for first, last in zip(given["offset"][:-1], given["offset"][1:], strict=True):
            before, start = len(sent), time.perf_counter()
            chip.feed(given["words"][first:last], ingress=HOST)
            chip.run()
            chip.finish_input()
            seconds.append(time.perf_counter() - start)
            ended = [entry for entry in sent[before:] if entry[0] >> 60 == 14]
            sent[before:] = [entry for entry in sent[before:] if entry[0] >> 60 != 14]
            held = chip.snapshot(places)["cores"]
            offset.append(len(sent))
            completed.append(len(ended))
            potentials.append(np.concatenate([held[place]["voltage"] for place in places]))
            sys.stderr.write(f"progress {len(completed)} {len(given['offset']) - 1}\n")
            sys.stderr.flush()
    except (FrameError, ValueError, KeyError) as error:
        refused = " ".join(f"{type(error).__name__}: {error}".split())
    rows = np.array(sent[: offset[-1]], object).reshape(-1, 3)
    return {
        "version": version("paisim"),
        "library": version("paicorelib"),
        "sent": rows[:, 0].astype(np.uint64),
        "sender": rows[:, 1].astype(np.int64),
        "receiver": rows[:, 2].astype(np.int64),
        "sent_offset": np.array(offset, np.int64),
        "potentials": np.array(potentials, np.int32).reshape(len(potentials), -1),
        "completed": np.array(completed, np.int64),
        "seconds": np.array(seconds[: len(completed)]),
        "refused": refused,
    }


def main() -> None:
    """Read, run, write."""
    given_path, found_path = sys.argv[1:]
    with np.load(given_path) as file:
        given = dict(file)
    np.savez(found_path, **run(given))


if __name__ == "__main__":
    main()
