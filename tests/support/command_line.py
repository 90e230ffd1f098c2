"""Both command lines, called in this process: the same ``main``, exit code and streams as in one of their own, without its start.

What only a process shows (interrupts, closed pipes, what an import loads) is tested with `subprocess` where it matters.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import signal
import subprocess
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import AnyStr, NoReturn
from unittest import mock

#: a command line as a process of its own
PROCESS = {name: [sys.executable, "-c", f"from {name}.cli import main; main()"] for name in ("qsnnc", "chipsim")}


def _interrupted(code: int) -> NoReturn:
    """Raise what the command line made an exit of: an interrupt ends the test run, not its process."""
    raise KeyboardInterrupt(code)


def call(program: str, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run ``qsnnc`` or ``chipsim``; exit code, standard output and standard error as of a process."""
    main = importlib.import_module(f"{program}.cli").main
    arguments = [program, *map(str, words)]
    out, errors = io.BytesIO(), io.BytesIO()
    handler = signal.getsignal(signal.SIGINT)
    with (
        chdir(cwd or Path.cwd()),
        redirect_stdout(io.TextIOWrapper(out, encoding="utf-8", write_through=True)),
        redirect_stderr(io.TextIOWrapper(errors, encoding="utf-8", write_through=True)),
        mock.patch.object(sys, "argv", arguments),
        mock.patch.object(os, "_exit", _interrupted),
        warnings.catch_warnings(),
    ):
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
        finally:
            if signal.getsignal(signal.SIGINT) is not handler:
                signal.signal(signal.SIGINT, handler)
            given = [stream.getvalue() for stream in (out, errors)]
    return subprocess.CompletedProcess(arguments, int(code), *given)


def call_text(program: str, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Like `call`, with text in place of bytes."""
    done = call(program, *words, cwd=cwd)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def qsnnc(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return call_text("qsnnc", *arguments, cwd=cwd)


def unlabelled(said: AnyStr) -> AnyStr:
    """What stands behind ``error[CODE]: ``, which has to be there."""
    label, text = said.split(": " if isinstance(said, str) else b": ", 1)
    assert re.fullmatch(r"error\[[a-z0-9-]+\]", label if isinstance(label, str) else label.decode()), said
    return text


def refused(done: subprocess.CompletedProcess[str], code: int, start: str) -> str:
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith(("still working: ", "next: "))]
    assert len(lines) == 1, done.stderr
    line = unlabelled(lines[0])
    assert line.startswith(start), line
    assert "Traceback" not in done.stderr
    return line
