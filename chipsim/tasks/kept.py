"""Keep the results of tasks in a folder, as files named by the tasks' keys, so that what was computed once is not again.

A file is a line with the SHA-256 of the result, then the result. It is written atomically; one that is damaged counts as
missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from chipsim import paths
from chipsim.errors import InputError
from chipsim.files import write_atomically
from chipsim.tasks.executor import Executor, Outcome
from chipsim.tasks.task import Task

#: bytes of a result
MOST = 1 << 31


class Kept:
    """Compute tasks with an executor, and keep their results in a folder, which is looked into first.

    Parameters
    ----------
    executor : Executor
    folder : path or None
        None: nothing is kept.

    Raises
    ------
    InputError
        The folder cannot be written to.
    """

    def __init__(self, executor: Executor, folder: str | Path | None = None) -> None:
        self._executor = executor
        self._folder = None if folder is None else Path(folder)
        self.found = 0  # results that the folder held
        self.computed = 0  # results that it did not
        if self._folder is not None:
            paths.check_folder(self._folder, parents=True)
            paths.make_folder(self._folder, parents=True)

    @property
    def workers(self) -> int:
        """How many tasks are computed at a time, now."""
        return self._executor.workers

    def begin(self, task: Task) -> None:
        """Compute a task on every worker for what it leaves there: see `Executor`."""
        self._executor.begin(task)

    def outcomes(
        self, tasks: Iterable[Task], total: int, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[Outcome]:
        """Yield what became of each of ``total`` tasks, in order; ``progress`` is told of (tasks done, tasks in all)."""

        def known(task: Task) -> Task | Outcome:
            value = self._read(task)
            if value is None:
                return task
            self.found += 1
            say()
            return Outcome(task, value)

        def done(outcome: Outcome) -> None:
            if outcome.value is not None:
                self.computed += 1
                self._write(outcome.task, outcome.value)
            say()

        def say() -> None:
            if progress is not None:
                progress(self.found + self.computed, total)

        yield from self._executor.outcomes(map(known, tasks), done)

    def _path(self, task: Task) -> Path:
        assert self._folder is not None
        return self._folder / task.key[:2] / task.key

    def _read(self, task: Task) -> bytes | None:
        """Return the result that the folder holds, if it is whole."""
        if self._folder is None or not paths.is_stored(self._path(task)):
            return None
        try:
            head, _, value = paths.read(self._path(task), MOST, "file-unreadable").partition(b"\n")
        except InputError:
            return None
        return value if head.decode("ascii", "replace") == hashlib.sha256(value).hexdigest() else None

    def _write(self, task: Task, value: bytes) -> None:
        if self._folder is None:
            return
        path = self._path(task)
        paths.make_folder(path.parent)
        write_atomically(path, hashlib.sha256(value).hexdigest().encode() + b"\n" + value)
