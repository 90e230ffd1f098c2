"""paisim against chipsim on a ``.paicore``: every frame that a core sends and every potential that it holds.

paisim (https://github.com/PAICookers/PAISim, GPL-3.0-or-later) is the chip team's functional simulator of PAICORE 2.5. It is
fed the configuration words and, twice, the images' frames: one image after the other, and as a stream, one step apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.crosscheck import Crosscheck, Request, not_covered
from chipsim.crosscheck.environment import Arrays, Package, interpreter, run
from chipsim.engine.paicore.cores import Core, load_cores
from chipsim.engine.paicore.engines import write_frames
from chipsim.engine.paicore.frames import control, sent, streamed
from chipsim.engine.paicore.host import Host, load_host
from chipsim.engine.paicore.machine import Fired, Machine
from chipsim.engine.setup import open_dataset
from chipsim.mapping.pixels import prepare
from chipsim.paicore import Program, read_program
from chipsim.paicore import words as w
from chipsim.paicore.fields import Int, Words
from chipsim.paicore.kind import is_program

PACKAGE = Package("paisim", "0.1.0", ("paicorelib==2.0.0",))
#: images where no limit is given: it runs about one a second
IMAGES = 100
#: images that run as copies of the chip at a time
COLUMNS = 20
PROVISIONAL = "paisim calls overflow, sampling of potentials and stage order provisional, not validated against silicon"

Values = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Did:
    """What the chip did between two times at which it was idle, by chipsim."""

    frames: npt.NDArray[np.uint64]  # (frames, 3): sender, receiver, word; sorted
    potentials: Int  # (N,): what the cores hold


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One way to feed the images."""

    name: str
    configuration: Words
    rounds: list[Words]  # what the chip is fed each time that it is idle
    run: Callable[[], Iterator[Did]]


@dataclass(slots=True)
class Found:
    """The first difference of each kind, if there is one."""

    potentials: str | None = None
    spikes: str | None = None
    cores: str | None = None
    frames: int = 0  # compared

    @property
    def first(self) -> str | None:
        """The one to show."""
        return self.spikes or self.potentials or self.cores


def check(request: Request) -> Crosscheck:
    """Run the images of a request on both, one after the other and as a stream.

    Raises
    ------
    InputError
        paisim cannot be had, or the file is no ``.paicore``.
    """
    if not is_program(request.file):
        raise not_covered(request.file, "is not a .paicore; --with paisim covers what qsnnc compile --chip paicore25 writes")
    program = read_program(request.file)
    cores = load_cores(program.words)
    host = load_host(program, cores)
    python = interpreter(PACKAGE, request.python, _tell)
    dataset = open_dataset(request.dataset, request.first(IMAGES))
    values = host.values(prepare(dataset.images[: len(dataset)], program.input, dataset.name))
    found, seconds, theirs, done = Found(), 0.0, Arrays(), 0
    passes = (one_by_one(program, cores, host, values), _stream(program, host, values))
    total = sum(len(one.rounds) for one in passes)
    for one in passes:
        start = time.perf_counter()
        theirs = run(python, "run_paisim.py", given_to_paisim(one, cores), _part(request.progress, done, total))
        seconds += time.perf_counter() - start
        done += len(one.rounds)
        _compare(one, cores, theirs, found)
    return Crosscheck(
        simulator="paisim",
        version=f"paisim {theirs['version']}, paicorelib {theirs['library']}",
        images=len(dataset),
        potentials_equal=found.potentials is None,
        spikes_equal=found.spikes is None,
        cores_equal=found.cores is None,
        seconds=seconds,
        compared=f"{sum(core.neurons for core in cores):,} potentials an image and {found.frames:,} frames, "
        f"image by image and as a stream; {PROVISIONAL}",
        difference=found.first,
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _part(progress: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int, int], None] | None:
    """Report the progress of one pass as that of all."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def one_by_one(program: Program, cores: tuple[Core, ...], host: Host, values: Values) -> Pass:
    """INIT, the frames of an image, SYNC of all its steps."""
    root = cores[program.root]
    before, after = control(w.INIT, root), control(w.SYNC, root, program.steps)

    def ours() -> Iterator[Did]:
        for first in range(0, values.shape[1], COLUMNS):
            part = values[:, first : first + COLUMNS]
            machine = Machine(cores, part.shape[1])
            write_frames(machine, host, part)
            fired = [entry for step in machine.sync(program.steps) for entry in step]
            for column in range(part.shape[1]):
                yield _did(machine, fired, column)

    rounds = [np.concatenate([before, host.words(image), after]) for image in values.T]
    return Pass("image", program.words, rounds, ours)


def _stream(program: Program, host: Host, values: Values) -> Pass:
    """Feed an image a step, each into the input rows that its cores read in that step; the last ones run out."""
    words = streamed(program.words)
    cores = load_cores(words)
    root, images = cores[program.root], values.shape[1]
    steps = images + program.steps - 1

    def ours() -> Iterator[Did]:
        machine = Machine(cores, 1)
        for step in range(steps):
            if step < images:
                write_frames(machine, host, values[:, step : step + 1], step)
            yield _did(machine, next(iter(machine.sync(1))), 0)

    rounds = [host.words(values[:, step], step) if step < images else np.zeros(0, np.uint64) for step in range(steps)]
    rounds = [np.concatenate([entry, control(w.SYNC, root, 1)]) for entry in rounds]
    rounds[0] = np.concatenate([control(w.INIT, root), rounds[0]])
    return Pass("step", words, rounds, ours)


def _did(machine: Machine, fired: list[Fired], column: int) -> Did:
    """Write down what the cores sent, as frames, and what they hold."""
    host = len(machine.cores)
    rows = [np.zeros((0, 3), np.uint64)]
    for entry in fired:
        words, receivers = sent(machine.cores[entry.core], entry, column, host)
        senders = np.full(len(words), entry.core, np.uint64)
        rows.append(np.stack([senders, receivers.astype(np.uint64), words], axis=1))
    return Did(_sorted(np.concatenate(rows)), np.concatenate([held[:, column] for held in machine.potential]))


def _sorted(rows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return rows[np.lexsort(rows.T[::-1])]


def given_to_paisim(one: Pass, cores: tuple[Core, ...]) -> Arrays:
    """Return the arrays that ``run_paisim.py`` reads."""
    return {
        "configuration": one.configuration,
        "words": np.concatenate(one.rounds),
        "offset": np.concatenate([[0], np.cumsum([len(entry) for entry in one.rounds])]),
        "cores": np.array([(core.x, core.y) for core in cores], np.int64),
    }


def _compare(one: Pass, cores: tuple[Core, ...], theirs: Arrays, found: Found) -> None:
    """Compare a pass, round by round, and keep the first difference of each kind."""
    rounds = len(theirs["completed"])
    rows = np.stack([theirs["sender"].astype(np.uint64), theirs["receiver"].astype(np.uint64), theirs["sent"]], axis=1)
    traffic = np.zeros((2, 2, len(cores) + 1), np.int64)  # ours and theirs; sent and received
    for number, did in zip(range(rounds), one.run(), strict=False):
        where = f"{one.name} {number}" if one.name == "image" else f"stream, step {number}"
        other = _sorted(rows[theirs["sent_offset"][number] : theirs["sent_offset"][number + 1]])
        found.frames += len(did.frames)
        found.spikes = found.spikes or _frames_differ(where, did.frames, other)
        found.potentials = found.potentials or _potentials_differ(where, cores, did.potentials, theirs["potentials"][number])
        for side, frames in enumerate((did.frames, other)):
            for end in (0, 1):
                traffic[side, end] += np.bincount(frames[:, end].astype(np.int64), minlength=len(cores) + 1)
    if str(theirs["refused"]):
        found.spikes = found.spikes or f"{one.name} {rounds}: paisim refuses the words: {theirs['refused']}"
    wrong = np.argwhere(traffic[0] != traffic[1])
    if len(wrong) and found.cores is None:
        end, core = wrong[0].tolist()
        counts = f"{traffic[0, end, core]:,} frames in chipsim, {traffic[1, end, core]:,} in paisim"
        found.cores = f"core {core} {('sends', 'receives')[end]} {counts}"


def _frames_differ(where: str, ours: npt.NDArray[np.uint64], theirs: npt.NDArray[np.uint64]) -> str | None:
    if np.array_equal(ours, theirs):
        return None
    mine, other = ({tuple(row) for row in frames.tolist()} for frames in (ours, theirs))
    only = sorted(mine ^ other)
    if not only:
        return f"{where}: {len(ours):,} frames in chipsim, {len(theirs):,} in paisim, some of them twice"
    sender, receiver, word = only[0]
    who = "chipsim" if only[0] in mine else "paisim"
    return f"{where}: core {sender} sends {word:#018x} to core {receiver} in {who} only"


def _potentials_differ(where: str, cores: tuple[Core, ...], ours: Int, theirs: Int) -> str | None:
    wrong = np.flatnonzero(ours != theirs)
    if not len(wrong):
        return None
    first = np.concatenate([[0], np.cumsum([core.neurons for core in cores])])
    core = int(np.searchsorted(first, wrong[0], side="right")) - 1
    place = f"core {core}, neuron {wrong[0] - first[core]}"
    return f"{where}: {place} holds {ours[wrong[0]]} in chipsim, {theirs[wrong[0]]} in paisim"
