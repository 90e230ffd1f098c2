"""Compute something beside the main thread, which an interrupt does not wait for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

Value = TypeVar("Value")


def aside(compute: Callable[[], Value]) -> Callable[[], Value]:
    """Begin to compute a value, and return what waits for it and returns it, or raises what it raised."""
    found: Future[Value] = Future()

    def run() -> None:
        try:
            found.set_result(compute())
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            found.set_exception(error)

    Thread(target=run, daemon=True).start()
    return found.result
