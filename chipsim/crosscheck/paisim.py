"""paisim against chipsim on a ``.paicore``: every frame that a core sends and every potential that it holds.

paisim (https://github.com/PAICookers/PAISim, GPL-3.0-or-later) is the chip team's functional simulator of PAICORE 2.5. It is fed
the configuration words and, twice, the images' frames: one image after the other, and as a stream, one step apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.crosscheck import Crosscheck, Request
from chipsim.crosscheck.environment import Arrays, Package, interpreter, run
from chipsim.engine.paicore.cores import Core, load_cores
from chipsim.engine.paicore.frames import control, sent, streamed
from chipsim.engine.paicore.host import Host, load_host
from chipsim.engine.paicore.machine import Machine
from chipsim.engine.setup import open_dataset
from chipsim.mapping.pixels import prepare
from chipsim.paicore import Program, read_program
from chipsim.paicore import words as w
from chipsim.paicore.fields import Int, Words

PACKAGE = Package("paisim", "0.1.0", ("paicorelib==2.0.0",))
#: images where no limit is given: it runs about one a second
IMAGES = 100
PROVISIONAL = "provisional in paisim, not validated against silicon: overflow, sampling of potentials, order of stages"


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """What the chip did between two times at which it was idle."""

    sent: npt.NDArray[np.uint64]  # (frames, 3): word, sender, receiver, sorted
    potentials: Int  # (N,): what the cores hold


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """Words for the chip: a configuration, and what it is fed each time that it is idle."""

    configuration: Words
    rounds: tuple[Words, ...]
    images: tuple[str, ...]  # what each round is, for a message


def check(request: Request) -> Crosscheck:
    """Run the images of a request on both, one after the other and as a stream.

    Raises
    ------
    InputError
        paisim cannot be had.
    MappingError
        The file is no ``.paicore``.
    """
    program = read_program(request.file)
    cores = load_cores(program.words)
    host = load_host(program, cores)
    python = interpreter(PACKAGE, request.python, _tell)
    dataset = open_dataset(request.dataset, request.split, request.data_dir, request.limit or IMAGES)
    values = host.values(prepare(dataset.images[: len(dataset)], program.input, dataset.name)).T
    feeds = [_one_by_one(program, cores, host, values), _stream(program, cores, host, values)]
    found: list[str | None] = [None, None, None]
    seconds, frames = 0.0, 0
    theirs: Arrays = {}
    for number, (feed, machine) in enumerate(feeds):
        done = 0 if number == 0 else len(feeds[0][0].rounds)
        progress = None if request.progress is None else _part(request.progress, done, sum(len(f.rounds) for f, _ in feeds))
        start = time.perf_counter()
        theirs = run(python, "run_paisim.py", _given(feed, cores), progress)
        seconds += time.perf_counter() - start
        if str(theirs["refused"]):
            at = feed.images[len(theirs["completed"])] if len(theirs["completed"]) < len(feed.images) else "the end"
            found = [found[0], f"paisim refuses words at {at}: {theirs['refused']}", found[2]]
            break
        frames += len(theirs["sent"])
        for what, text in enumerate(_differences(feed, machine, theirs)):
            found[what] = found[what] or text
    neurons = sum(core.neurons for core in cores)
    return Crosscheck(
        simulator="paisim",
        version=f"paisim {theirs['version']}, paicorelib {theirs['library']}",
        images=len(dataset),
        potentials_equal=found[0] is None,
        spikes_equal=found[1] is None,
        cores_equal=found[2] is None,
        seconds=seconds,
        compared=f"{neurons:,} potentials an image and {frames:,} frames, one by one and as a stream; {PROVISIONAL}",
        difference=next((text for text in found if text is not None), None),
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _part(progress, done, total):  # type: ignore[no-untyped-def]
    raise NotImplementedError
