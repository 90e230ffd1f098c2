"""Compute tasks and return their results in order; `Here` does it in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from chipsim.tasks.task import Given, Task, resolve


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: its result, or why there is none."""

    task: Task
    value: bytes | None
    failure: str = ""  # where there is no value


class Executor(Protocol):
    """Who computes tasks."""

    @property
    def workers(self) -> int:
        """How many tasks are computed at a time, now."""

    def begin(self, task: Task) -> None:
        """Compute a task on every worker, if there are others than this process, for what it leaves in their memory.

        Nothing is waited for, and no error is told: the tasks that come after it have the same.
        """

    def outcomes(self, items: Iterable[Task | Outcome], done: Callable[[Outcome], None]) -> Iterator[Outcome]:
        """Yield what became of each task, in the order of the items, which are drawn as they are needed.

        An outcome among the items is known already, and passed on. ``done`` is told of every other one as soon as it is
        known, in any order.

        Raises
        ------
        ReportedError
            That of the first task that raised one.
        """


class Here:
    """This process, one task after the other."""

    workers = 1

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = once(tell)

    def begin(self, task: Task) -> None:
        """Do nothing: see `Executor`."""

    def outcomes(self, items: Iterable[Task | Outcome], done: Callable[[Outcome], None]) -> Iterator[Outcome]:
        """Yield what became of each task: see `Executor`."""
        for task in items:
            if isinstance(task, Outcome):
                yield task
                continue
            inputs = [_in_process(entry.name, entry.path, entry.sha256, entry.content) for entry in task.inputs]
            found = Outcome(task, resolve(task.function)({**task.arguments, **task.unkeyed}, inputs, self._tell))
            done(found)
            yield found


def _in_process(name: str, path: str | None, sha256: str, content: Callable[[], bytes]) -> Given:
    """A file was hashed by this process and is read in place."""
    return Given(name, path=path, sha256=sha256) if path is not None else Given(name, content())


def once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Pass each line on once."""
    told: set[str] = set()

    def say(text: str) -> None:
        if text not in told:
            told.add(text)
            tell(text)

    return say
