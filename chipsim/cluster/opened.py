"""Open a cluster, and close it again: what was started here ends, what existed before goes on."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chipsim.cluster import forks
from chipsim.cluster.address import Address
from chipsim.errors import InputError, UsageError
from chipsim.tasks import Executor, Here, Kept

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

#: seconds to reach a scheduler, and to wait for its first worker
CONNECT, FIRST_WORKER = 15, 60
#: deaths of a worker after which a task is held to be the cause
DEATHS = 3
#: for a cluster that is started here: nothing is served over HTTP, nothing is encrypted on the loopback, nothing is logged,
#: and no time goes into profiles and histories of the workers, which nobody sees
LOCAL = {
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.preload": [],
    "distributed.worker.preload": [],
    "distributed.scheduler.preload": [],
    "distributed.comm.require-encryption": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.worker.multiprocessing-method": "forkserver" if forks.FORKS else "spawn",
    "distributed.logging": {"distributed": "critical", "tornado": "critical", "asyncio": "critical"},
}


def expect(cluster: Address | None, threads: int, module: str) -> None:
    """Begin to start what `computing` will open, and to import what its tasks need; nothing is waited for."""
    if cluster is not None and cluster.kind == "local":
        forks.start(threads, module)


@contextlib.contextmanager
def computing(
    cluster: Address | None, folder: str | None = None, *, threads: int = 1, tell: Callable[[str], None] | None = None
) -> Iterator[Kept]:
    """Yield what computes tasks: on a cluster, or in this process.

    Parameters
    ----------
    cluster : Address, optional
    folder : path, optional
        Results are kept there, and those that are there already are used.
    threads : int
        Threads that a task uses; a worker that is started here computes one task at a time.
    tell : callable, optional
        Is told what the user should know, in one line; by default it is printed on standard error.

    Raises
    ------
    UsageError
        Dask is not installed.
    InputError
        The scheduler cannot be reached or has no worker, or the folder cannot be written to.
    """
    if cluster is None:
        yield Kept(Here(tell or _print), folder)
        return
    with _spread(cluster, tell or _print, threads) as executor:
        yield Kept(executor, folder)


def _print(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


@contextlib.contextmanager
def _spread(address: Address, tell: Callable[[str], None], threads: int) -> Iterator[Executor]:
    """Open a cluster and yield what computes tasks on it."""
    try:
        import dask
        import distributed  # noqa: F401
    except ImportError:
        text = "dask.distributed is not installed; run pip install 'qsnnc[cluster]'"
        raise UsageError("--cluster", text, code="library-missing") from None
    from chipsim.cluster.spread import Spread

    for name in ("distributed", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of large tasks, of ports in use, of clients that go away
        if address.kind == "local":
            environment = {"distributed.nanny.pre-spawn-environ": forks.settings(threads)}
            stack.enter_context(dask.config.set(LOCAL | environment))
            forks.start(threads)
            client = stack.enter_context(_local(address))
        else:
            client = stack.enter_context(_existing(address))
        yield stack.enter_context(contextlib.closing(Spread(client, tell)))


@contextlib.contextmanager
def _local(address: Address) -> Iterator[Client]:
    from distributed import Client, LocalCluster
    from distributed.security import Security

    with (
        _without_main(),
        tempfile.TemporaryDirectory(prefix="chipsim-cluster-", ignore_cleanup_errors=True) as folder,
        LocalCluster(
            n_workers=address.workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            security=Security(require_encryption=False),
            local_directory=folder,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        silence(cluster, client)
        yield client


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the program that called: workers need nothing of it, and multiprocessing would run a script again in each."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def silence(cluster: LocalCluster, client: Client) -> None:
    """Close the HTTP servers of scheduler and workers, which Dask always opens; also those of workers that start later."""
    from distributed import WorkerPlugin

    class NoHTTP(WorkerPlugin):  # Dask sends it by value: a worker needs nothing of this package to close a port
        def setup(self, worker: Any) -> None:
            worker.http_server.stop()

    async def stop() -> None:
        if cluster.scheduler is not None:
            cluster.scheduler.http_server.stop()

    cluster.sync(stop)
    client.register_plugin(NoHTTP(), name="no-http")


@contextlib.contextmanager
def _existing(address: Address) -> Iterator[Client]:
    from distributed import Client

    where: dict[str, Any] = {"scheduler_file": address.text} if address.kind == "file" else {"address": address.text}
    try:
        if address.kind == "address":
            _check_encryption(address.text)
            _knock(address.text)
        client = Client(**where, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        said = " ".join(str(error).split())[:160] or type(error).__name__
        text = f"no scheduler can be reached there ({said}); start dask scheduler, or use --cluster local"
        raise InputError(f"--cluster {address.text}", text, code="cluster-unavailable") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER)
        except TimeoutError:
            text = f"the scheduler has no worker after {FIRST_WORKER} s; start dask worker {address.text}"
            raise InputError(f"--cluster {address.text}", text, code="cluster-unavailable") from None
        yield client


def _check_encryption(address: str) -> None:
    """Raise ValueError where Dask's configuration does not go with an address: its client would hang for half a minute."""
    from distributed.security import Security

    security, protocol = Security(), address.rpartition("://")[0] or "tcp"
    if protocol == "tls" and security.get_connection_args("client").get("ssl_context") is None:
        raise ValueError("Dask's configuration names no certificates, distributed.comm.tls.client")
    if protocol == "tcp" and security.require_encryption:
        raise ValueError("Dask's configuration has distributed.comm.require-encryption; use tls://")


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Dask would try again until its time is out."""
    protocol, _, place = address.rpartition("://")
    if protocol in ("", "tcp", "tls"):
        host, _, port = place.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()
