"""Errors of workers, as they are raised in the client."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from chipsim.codes import Code
from chipsim.errors import ReportedError


class WorkerCrash(RuntimeError):
    """An internal error in a worker; its notes hold the worker's traceback."""


def reported(module: str, name: str, subject: str, message: str, code: Code, fields: dict[str, Any]) -> ReportedError:
    """Return the error that a task raised in a worker, with its exit code."""
    kind = getattr(import_module(module), name, None) if module.split(".")[0] in ("chipsim", "qsnnc") else None
    if not (isinstance(kind, type) and issubclass(kind, ReportedError)):
        kind = ReportedError
    found = ReportedError.__new__(kind)
    ReportedError.__init__(found, subject, message, code=code, **fields)
    return found


def crash(label: str, text: str, trace: str) -> WorkerCrash:
    """Return an internal error of a worker."""
    found = WorkerCrash(f"{label}: {text}")
    found.add_note(trace)
    return found
