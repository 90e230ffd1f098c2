"""Compute tasks on the workers of a Dask cluster: a bounded number is out at a time, and results come in order.

A task that was on a worker when that died runs again. Dask counts the deaths of each task, innocent ones that waited on the
same worker included, and gives up after some. Such a task then runs alone, while nothing else is out: only one that ends its
workers again is held to be the cause.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from chipsim.cluster.replies import crash, reported
from chipsim.cluster.worker import Reply, Wanted, compute, hold
from chipsim.errors import InputError
from chipsim.tasks.executor import Outcome, once
from chipsim.tasks.task import Input, Task
from chipsim.tasks.versions import differences, versions

if TYPE_CHECKING:
    from distributed import Client, Future

#: tasks that are out for each thread of a worker
AHEAD = 3
#: results that wait for an earlier one: bytes, and how many
MOST_BYTES, MOST_WAITING = 64 << 20, 1000
#: results that are fetched at a time
AT_ONCE = 64
#: how the keys of held inputs begin, and how often one is held anew
HELD, MOST_LOST = "input-", 8
#: seconds between two looks at the cluster while nothing arrives, and for which it may have no worker
LOOK, PATIENCE = 1.0, 120.0


@dataclass(slots=True)
class _Out:
    """A task that is out."""

    number: int
    task: Task
    alone: bool = False  # nothing else is out
    workers: tuple[str, ...] = ()  # where it may run; empty: anywhere


class Spread:
    """An executor on a Dask cluster: see `chipsim.tasks.Executor`."""

    def __init__(self, client: Client, tell: Callable[[str], None]) -> None:
        self._client, self._tell = client, once(tell)
        self._ready: SimpleQueue[Future] = SimpleQueue()
        self._out: dict[Future, _Out] = {}
        self._suspects: deque[_Out] = deque()
        self._held: dict[str, Future] = {}  # shared inputs, by name
        self._lost: Counter[str] = Counter()  # how often the workers of a held input died
        self._unseen: set[str] = set()  # files that some worker does not see
        self._refused: set[str] = set()  # workers with other versions
        self._attempts = count()
        self._begun: list[Future] = []
        self._threads = 0
        self._silence = 0.0  # seconds without a worker
        self._largest = MOST_BYTES // 4  # bytes of a result, until some are known
        self._look()
        self._check_versions()

    @property
    def workers(self) -> int:
        """How many tasks are computed at a time, now."""
        return max(1, self._threads)

    def close(self) -> None:
        """Cancel what is out."""
        out = [*self._out, *self._held.values(), *self._begun]
        self._out.clear()
        self._begun.clear()
        self._held.clear()
        if out and self._client.status == "running":
            with suppress(OSError):  # the scheduler is gone, and so is what is out
                self._client.cancel(out, force=True)

    def begin(self, task: Task) -> None:
        """Compute a task on every worker, before all others: see `Executor`."""
        self._begun = [self._sent_to(task, (worker,)) for worker in self._alive() if worker not in self._refused]

    def outcomes(self, items: Iterable[Task | Outcome], done: Callable[[Outcome], None]) -> Iterator[Outcome]:
        """Yield what became of each task: see `Executor`."""
        source, waiting = iter(items), dict[int, Outcome]()
        drawn, given, more = 0, 0, True
        while more or given < drawn:
            while more and self._room(waiting):
                item = next(source, None)
                if item is None:
                    more = False
                    break
                if isinstance(item, Outcome):
                    waiting[drawn] = item
                else:
                    self._submit(_Out(drawn, item))
                drawn += 1
            if self._suspects and not self._out:
                self._submit(self._suspects.popleft())
            while given in waiting:
                yield waiting.pop(given)
                given += 1
            if self._out:
                for number, outcome in self._arrived():
                    done(outcome)
                    waiting[number] = outcome

    def _room(self, waiting: dict[int, Outcome]) -> bool:
        """Whether another task may go out: not while suspects wait to run alone, nor while much waits for an earlier one."""
        if self._suspects or len(self._out) >= AHEAD * self.workers or len(waiting) >= MOST_WAITING:
            return False
        return sum(len(outcome.value or b"") for outcome in waiting.values()) < MOST_BYTES

    def _submit(self, out: _Out) -> None:
        """Send a task to the cluster."""
        if self._refused:
            out.workers = tuple(worker for worker in self._alive() if worker not in self._refused)
        future = self._sent_to(out.task, out.workers)
        self._out[future] = out
        future.add_done_callback(self._ready.put)

    def _sent_to(self, task: Task, workers: tuple[str, ...]) -> Future:
        """Send a task to some of the workers, or to any."""
        sent = [self._sent(entry) for entry in task.inputs]
        wanted = [Wanted(entry.name, entry.path, entry.sha256, entry.identity) for entry in task.inputs]
        return self._client.submit(
            compute, task.function, {**task.arguments, **task.unkeyed}, wanted, versions(), *sent,
            key=f"{task.function.partition(':')[2]}-{task.key}-{next(self._attempts)}", pure=False,
            workers=list(workers) or None,
        )  # fmt: skip

    def _sent(self, entry: Input) -> Future | bytes | None:
        """What goes with a task for one of its inputs: nothing, if it is read in place."""
        if entry.path is not None and entry.path not in self._unseen:
            return None
        if not entry.shared:
            return entry.content()
        if entry.name not in self._held:  # in the graph, not scattered: it is made again if every worker that has it dies
            key = f"{HELD}{entry.name}-{self._lost[entry.name]}"
            self._held[entry.name] = self._client.submit(hold, entry.content(), key=key)
        return self._held[entry.name]

    def _arrived(self) -> list[tuple[int, Outcome]]:
        """Wait for tasks and return what became of them; those that go out again are not among them."""
        futures = self._take()
        finished = [future for future in futures if future.status == "finished"]
        with _asking():
            replies: dict[Future, Reply] = dict(zip(finished, self._client.gather(finished, errors="skip"), strict=False))
        self._largest = max([self._largest, *(len(reply.value) for reply in replies.values())])
        if len(replies) < len(finished):  # a result was lost on its way
            replies = {}
        found = []
        for future in futures:
            out = self._out.pop(future)
            outcome = self._reply(out, replies[future]) if future in replies else self._failure(out, future)
            if outcome is not None:
                found.append((out.number, outcome))
            future.release()
        return found

    def _take(self) -> list[Future]:
        """Return the futures that are done, one at least, or none after a look at the cluster."""
        try:
            futures = [self._ready.get(timeout=LOOK)]
        except Empty:
            self._look()
            self._restart_stranded()
            return []
        while len(futures) < min(AT_ONCE, max(1, MOST_BYTES // self._largest)):
            try:
                futures.append(self._ready.get_nowait())
            except Empty:
                break
        return [future for future in futures if future in self._out]

    def _reply(self, out: _Out, reply: Reply) -> Outcome | None:
        """Return what a worker replied; None where the task goes out again."""
        for line in reply.notes:
            self._tell(line)
        if reply.kind == "done":
            return Outcome(out.task, reply.value)
        if reply.kind == "absent":
            self._unseen.add(reply.details)
        elif reply.kind == "refused":
            self._refuse(*reply.details)
        elif reply.kind == "reported":
            raise reported(*reply.details)
        else:
            raise crash(out.task.label, *reply.details)
        self._submit(_Out(out.number, out.task, out.alone))
        return None

    def _failure(self, out: _Out, future: Future) -> Outcome | None:
        """Handle a task that did not return: run it again, alone if its workers died, or give it up."""
        from distributed import KilledWorker

        error = future.exception() if future.status == "error" else None
        if error is None:  # cancelled or lost
            self._submit(_Out(out.number, out.task, out.alone))
        elif not isinstance(error, KilledWorker):
            raise crash(out.task.label, f"{type(error).__name__}: {error}", "")
        elif self._held_again(str(error.task)):
            self._submit(_Out(out.number, out.task, out.alone))
        elif out.alone:
            return Outcome(out.task, None, "ended every worker that ran it")
        else:
            self._suspects.append(_Out(out.number, out.task, alone=True))
        return None

    def _held_again(self, key: str) -> bool:
        """Whether it was an input whose workers died, which can be held anew: no fault of the task that waited for it."""
        if not key.startswith(HELD):
            return False
        name = key.removeprefix(HELD).rpartition("-")[0]
        future = self._held.get(name)
        if future is not None and future.status == "error":  # the first of the tasks that waited for it
            self._lost[name] += 1
            if self._lost[name] > MOST_LOST:  # too large for the memory of a worker, perhaps
                return False
            self._held.pop(name).release()
        return True

    def _look(self) -> None:
        """Count the threads of the workers; give up where there has been none for long.

        Raises
        ------
        InputError
        """
        if self._client.status != "running":
            raise _gone()
        threads = self._alive()
        self._threads = sum(threads[worker] for worker in threads if worker not in self._refused)
        self._silence = 0.0 if self._threads else self._silence + LOOK
        if self._silence > PATIENCE:
            text = f"has had no worker for {PATIENCE:g} s; finished tasks are kept with --resume"
            raise InputError("cluster", text, code="cluster-unavailable")

    def _alive(self) -> dict[str, int]:
        """Threads of each worker there is."""
        with _asking():
            found: dict[str, int] = self._client.nthreads()
        return found

    def _restart_stranded(self) -> None:
        """Send again what may only run on workers that are gone."""
        if not self._refused:
            return
        alive = set(self._alive())
        for future, out in list(self._out.items()):
            if out.workers and not alive & set(out.workers):
                del self._out[future]
                self._client.cancel([future], force=True)
                self._submit(_Out(out.number, out.task, out.alone))

    def _check_versions(self) -> None:
        """Refuse workers with other versions.

        Raises
        ------
        InputError
            No worker is left.
        """
        found: dict[str, Any] = self._client.run(versions, on_error="return")
        for worker, theirs in found.items():
            if theirs != versions():
                self._refuse(worker, theirs)

    def _refuse(self, worker: str, theirs: dict[str, str] | Exception) -> None:
        said = differences(theirs) if isinstance(theirs, dict) else f"{type(theirs).__name__}: {theirs}"
        line = f"worker {worker}: refused, because it has {said}; start it with the versions of the client"
        self._refused.add(worker)
        self._tell(line)
        self._look()
        if not self._threads:
            raise InputError("cluster", f"no worker has the versions of the client; {line}", code="cluster-unavailable")


@contextmanager
def _asking() -> Iterator[None]:
    """Say of a scheduler that does not answer that it is gone."""
    try:
        yield
    except OSError as error:  # of Dask, where a connection is closed or cannot be made in time
        raise _gone() from error


def _gone() -> InputError:
    return InputError("cluster", "the scheduler is gone; finished tasks are kept with --resume", code="cluster-unavailable")
