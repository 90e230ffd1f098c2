"""One process that imports what a worker needs, from which the workers of ``local`` are forked.

Importing Dask, NumPy and the engine takes a worker a second and more of processor time. Here it happens once, and begins
while the client reads its own files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec

#: how many threads libraries of numbers use
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: Dask has workers give all memory back at once, so that every batch gets new pages from the system: a tenth of the time
MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
#: the first path of a process that starts is the folder that the user is in, whose files are no modules of ours; and who is
#: interrupted leaves what the system cleans up
STARTING = {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore::UserWarning:multiprocessing.resource_tracker"}
#: elsewhere the system's own libraries do not bear a fork, or there is none
FORKS = sys.platform == "linux"


def settings(threads: int) -> dict[str, str]:
    """Return the environment of a worker: libraries and the memory allocator read it once, when its process begins."""
    return {name: str(threads) for name in THREADS} | MEMORY


def start(threads: int, *modules: str) -> None:
    """Start the process from which workers are forked, once; does not wait for it. It ends with this one.

    Parameters
    ----------
    threads : int
        Threads that a task uses.
    *modules : str
        What the tasks need beside Dask.
    """
    if not FORKS or find_spec("distributed") is None:
        return
    from multiprocessing import forkserver, resource_tracker

    forkserver.set_forkserver_preload([*modules, "chipsim.cluster.forked"])
    with _environment(settings(threads) | STARTING):
        resource_tracker.ensure_running()  # first, as it lets interrupts through again
        with _without_interrupts():
            forkserver.ensure_running()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Have Ctrl-C in a terminal leave processes alone that start meanwhile, which their parent ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
