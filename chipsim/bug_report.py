"""Write the report of an internal error: whole or not at all, whatever else is broken."""

from __future__ import annotations

import os
import sys


def write(error: Exception, program: str) -> str:
    """Write a report to a temporary file and say where it is, or why there is none.

    Nothing is raised: a directory that is full or missing, a name that is no text and a traceback that cannot be formatted
    each cost the report, or the part of it, not the line that says what happened.
    """
    try:
        content = "\n".join((_versions(program), " ".join(sys.argv), _traceback(error))).encode("utf-8", "backslashreplace")
        return f"with {_put(content, program)}"
    except Exception as reason:  # noqa: BLE001  # the last resort
        return f"(no report could be written: {type(reason).__name__})"


def _put(content: bytes, program: str) -> str:
    import tempfile

    handle, name = tempfile.mkstemp(prefix=f"{program}-", suffix=".txt")
    try:
        with open(handle, "wb") as file:
            file.write(content)
    except BaseException:
        os.unlink(name)
        raise
    return name


def _versions(program: str) -> str:
    import platform
    from importlib import metadata

    try:
        return f"{program} {metadata.version('qsnnc')}, Python {platform.python_version()}, {platform.platform()}"
    except Exception:  # noqa: BLE001  # no distribution, in a checkout that was not installed
        return program


def _traceback(error: Exception) -> str:
    import traceback

    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001  # an error that cannot be printed
        return type(error).__name__
