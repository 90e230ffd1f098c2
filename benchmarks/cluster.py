"""What a task costs on a cluster of local workers, and which bytes go over the wire: the figures of docs/scale.md.

python benchmarks/cluster.py [WORKERS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from chipsim.cluster import computing, parse_address
from chipsim.tasks import Given, Input, Kept, Task

TASKS, CONTENT = 1000, 16 << 20


def nothing(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """The shortest of tasks."""
    return b""


def measure(kept: Kept, tasks: list[Task]) -> tuple[float, int]:
    """Seconds, and bytes over the loopback: from and to the client, the scheduler and the workers."""
    before, start = psutil.net_io_counters(pernic=True)["lo"].bytes_sent, time.perf_counter()
    for outcome in kept.outcomes(tasks, len(tasks)):
        assert outcome.value == b""
    return time.perf_counter() - start, psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before


def main() -> None:
    """Print the figures."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    sys.path.append(str(Path(__file__).parents[1]))  # where workers find the task below
    start = time.perf_counter()
    with computing(parse_address(f"local:{workers}")) as kept:
        print(f"{workers} workers are there after {time.perf_counter() - start:.2f} s")
        function = "benchmarks.cluster:nothing"
        measure(kept, [Task("first", function, {"first": number}) for number in range(2 * workers)])
        seconds, sent = measure(kept, [Task("", function, {"number": number}) for number in range(TASKS)])
        print(f"{TASKS:,} tasks of no work: {1e3 * seconds / TASKS:.2f} ms and {sent / TASKS:,.0f} bytes a task")
        shared = Input("shared", lambda: bytes(CONTENT))
        _, sent = measure(kept, [Task("", function, {"with": number}, (shared,)) for number in range(200)])
        print(f"200 tasks that share {CONTENT >> 20} MiB: {sent / CONTENT:.2f} times its bytes in all")


if __name__ == "__main__":
    main()
