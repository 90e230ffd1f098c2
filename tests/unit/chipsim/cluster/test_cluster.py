"""Tasks on a real scheduler and real worker processes on the loopback; workers are killed by their own pid."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster_tasks import task

from chipsim.cluster import computing, parse_address, spread
from chipsim.errors import InputError, UsageError
from chipsim.tasks import Input, Kept, Task
from chipsim.tasks.versions import versions

pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def two(told: list[str]) -> Iterator[Kept]:
    with computing(parse_address("local:2"), tell=told.append) as kept:
        yield kept


def values(kept: Kept, tasks: list[Task]) -> list[bytes | None]:
    return [outcome.value for outcome in kept.outcomes(tasks, len(tasks))]


def workers() -> list[int]:
    """The processes of the workers that this process started."""
    below = psutil.Process().children(recursive=True)
    return [each.pid for each in below if "multiprocessing.forkserver" in " ".join(each.parent().cmdline())]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("local", "local"),
        ("local:3", "local"),
        ("127.0.0.1:8786", "address"),
        ("tls://host:1", "address"),
        ("tcp://[::1]:80", "address"),
    ],
)
def test_addresses(text: str, kind: str) -> None:
    found = parse_address(text)
    assert found.kind == kind
    assert kind != "local" or found.workers >= 1
    assert text != "local:3" or found.workers == 3


@pytest.mark.parametrize(
    "text", ["", "local:", "local:0", "local:x", "locall", "host", "http://host:1", "local:99999", "a b:1"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--cluster: is ") as error:
        parse_address(text)
    assert error.value.code == "option-value"


def test_a_scheduler_file_has_to_be_there() -> None:
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        parse_address("none.json")


def test_dask_is_loaded_only_for_a_cluster() -> None:
    code = "import sys, chipsim.cluster, chipsim.cli, qsnnc.cli; assert not {'dask', 'distributed'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@SLOW
def test_results_come_in_order_whatever_takes_longest(two: Kept) -> None:
    times = random.Random(0).sample(range(12), 12)
    tasks = [task("square", number=number, seconds=0.01 * slow) for number, slow in enumerate(times)]
    assert values(two, tasks) == [f"{number**2} []".encode() for number in range(12)]


@SLOW
def test_only_a_few_tasks_are_out(two: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first task waits, no more are drawn than results are held for."""
    monkeypatch.setattr(spread, "MOST_WAITING", 40)
    drawn = []

    def tasks() -> Iterator[Task]:
        yield task("wait", folder=str(tmp_path))
        for number in range(10_000):
            drawn.append(number)
            if number == spread.MOST_WAITING:
                (tmp_path / "go").touch()
            yield task("square", number=number)
            if number > spread.MOST_WAITING + 50:
                return

    most = 0
    for given, _ in enumerate(two.outcomes(tasks(), 1)):
        most = max(most, len(drawn) - given)
    assert most <= spread.MOST_WAITING + spread.AHEAD * 2 + 1


@SLOW
def test_nothing_listens_on_other_interfaces_and_nothing_serves_http(two: Kept) -> None:
    values(two, [task("square", number=1)])
    found = []
    for pid in (os.getpid(), *workers()):
        found += [each.laddr.ip for each in psutil.Process(pid).net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert found == ["127.0.0.1"] * len(found)
    assert len(found) == 1 + 2 + 2, "the scheduler, and each worker and its nanny: nobody serves HTTP"


@SLOW
def test_a_worker_computes_with_the_threads_it_was_given(two: Kept) -> None:
    assert values(two, [task("threads")]) == [b"1"]


@SLOW
def test_inputs_are_read_in_place_or_sent_once(two: Kept, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"1234")
    asked = []

    def content() -> bytes:
        asked.append(1)
        return b"1234"

    here = Input.of(b"1234").name
    found = Input(here, content, str(tmp_path / "here"), here)
    moved = Input("moved", content, str(tmp_path / "there"), here)
    for entry, times in ((found, 0), (moved, 1)):
        asked.clear()
        tasks = [Task("t", "support.cluster_tasks:square", {"number": number}, (entry,)) for number in range(8)]
        assert values(two, tasks) == [f"{number**2} [4]".encode() for number in range(8)]
        assert len(asked) == times
    (tmp_path / "here").write_bytes(b"12345")  # no longer what the hash says: the content is sent
    assert values(two, [Task("t", "support.cluster_tasks:square", {"number": 99}, (found,))]) == [b"9801 [4]"]


@SLOW
def test_errors_and_lines_of_a_task_arrive(two: Kept, told: list[str]) -> None:
    with pytest.raises(InputError, match="images: are no images") as error:
        values(two, [task("refuse")])
    assert (error.value.code, error.value.fields["found"], error.value.exit_code) == ("data-shape", 3, 3)
    with pytest.raises(RuntimeError, match="the seventh: ZeroDivisionError"):
        values(two, [task("crash", "the seventh")])
    values(two, [task("remark", number=number) for number in range(3)])
    assert told == ["something to know"]


@SLOW
def test_a_worker_that_is_killed_three_times_loses_nothing(two: Kept, tmp_path: Path) -> None:
    def kill() -> None:
        dead: set[str] = set()
        while len(dead) < 3:
            time.sleep(0.01)
            for path in set(tmp_path.glob("pid-*")) - {tmp_path / name for name in dead}:
                os.kill(int(path.name[4:]), signal.SIGKILL)
                dead.add(path.name)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    tasks = [task("wait", folder=str(tmp_path)), *(task("square", number=number, again=1) for number in range(6))]
    found = values(two, tasks)
    killer.join()
    assert found == [b"went", *(f"{number**2} []".encode() for number in range(6))]


@SLOW
def test_a_task_that_ends_every_worker_is_named_and_the_rest_is_done(two: Kept, tmp_path: Path) -> None:
    kept = Kept(two._executor, tmp_path)
    tasks = [
        task("square", number=1),
        task("die", "the fatal one"),
        *(task("square", number=number, third=1) for number in range(4)),
    ]
    found = list(kept.outcomes(tasks, len(tasks)))
    assert [outcome.value for outcome in found] == [b"1 []", None, *(f"{number**2} []".encode() for number in range(4))]
    assert found[1].task.label == "the fatal one"
    assert "ended every worker" in found[1].failure
    assert kept.computed == 5


@SLOW
def test_a_worker_with_other_versions_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """First one of two, then all of them, on a scheduler that existed before."""
    from distributed import Client, LocalCluster

    def pretend() -> None:
        from chipsim.cluster import worker
        from chipsim.tasks import versions as module

        other = {**module.versions(), "numpy": "0.1"}
        module.versions.cache_clear()
        module._version = lambda name: "0.1" if name == "numpy" else other[name]
        assert worker.versions()["numpy"] == "0.1"

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", local_directory=tmp_path
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.write_scheduler_file(str(tmp_path / "scheduler.json"))
        first, second = client.nthreads()
        client.run(pretend, workers=[first])
        told: list[str] = []
        with computing(parse_address(cluster.scheduler_address), tell=told.append) as kept:
            assert values(kept, [task("square", number=number) for number in range(9)]) == [
                f"{n**2} []".encode() for n in range(9)
            ]
        (line,) = told
        assert line.startswith(f"worker {first}: refused, because it has numpy 0.1 (here {versions()['numpy']})")
        client.run(pretend, workers=[second])
        with (
            pytest.raises(InputError, match="no worker has the versions") as error,
            computing(parse_address(str(tmp_path / "scheduler.json"))),
        ):
            pass
        assert error.value.code == "cluster-unavailable"


@SLOW
@pytest.mark.parametrize(
    ("address", "config", "said"),
    [
        ("tls://127.0.0.1:1", {}, "names no certificates"),
        ("tcp://127.0.0.1:1", {"distributed.comm.require-encryption": True}, "use tls://"),
    ],
)
def test_an_address_that_does_not_go_with_the_configuration(address: str, config: dict[str, bool], said: str) -> None:
    import dask
    import distributed  # noqa: F401  # its defaults

    with (
        dask.config.set(config),
        pytest.raises(InputError, match=f"no scheduler can be reached there .*{said}"),
        computing(parse_address(address)),
    ):
        pass


@SLOW
def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chipsim.cluster.opened.CONNECT", 1)
    with (
        pytest.raises(InputError, match="no scheduler can be reached there") as error,
        computing(parse_address("127.0.0.1:1")),
    ):
        pass
    assert error.value.code == "cluster-unavailable"


def test_a_scheduler_that_goes_away_is_one_line() -> None:
    from distributed.comm import CommClosedError

    class Gone:
        """A client whose scheduler went away between two questions."""

        status = "running"

        def nthreads(self) -> dict[str, int]:
            raise CommClosedError("in <TCP (closed)>: Stream is closed")

    with pytest.raises(InputError, match="the scheduler is gone; finished tasks are kept with --resume"):
        spread.Spread(Gone(), print)  # type: ignore[arg-type]
