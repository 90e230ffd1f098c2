"""Tasks for tests of clusters: workers find them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chipsim.errors import InputError
from chipsim.tasks import Given, Task


def task(function: str, label: str = "a task", **arguments: Any) -> Task:
    return Task(label, f"support.cluster_tasks:{function}", arguments)


def square(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """The square of a number, after some time, and the lengths of the inputs."""
    time.sleep(arguments.get("seconds", 0))
    sizes = [len(given.read()) for given in inputs]
    return f"{arguments['number'] ** 2} {sizes}".encode()


def wait(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """Leave a file named by this process, and wait for the file ``go``."""
    folder = Path(arguments["folder"])
    (folder / f"pid-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    return b"went"


def die(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """End the worker, as a fault in machine code would."""
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def refuse(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    raise InputError("images", "are no images", code="data-shape", found=3)


def crash(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    raise ZeroDivisionError("a defect")


def remark(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    tell("something to know")
    return b""


def threads(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    return os.environ["OMP_NUM_THREADS"].encode()
