"""Run command lines in forks of a process that has loaded their libraries, each with streams, environment and rights of its own.

``python -m support.fork_server`` reads one JSON request a line and answers with one JSON line: `run` in this file says what.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import signal
import sys
import time
from typing import Any

#: bytes of memory, and seconds, that a case may take
MEMORY, SECONDS = 2 << 30, 60.0
#: Linux: rights of root to read, search and write what is not its own
_DAC = (1 << 1) | (1 << 2)


def preload() -> None:

    import chipsim.cli
    import chipsim.crosscheck
    import chipsim.datasets.digits
    import chipsim.datasets.npz
    import chipsim.engine.compare
    import chipsim.engine.fast.native
    import chipsim.engine.paicore.compare
    import chipsim.engine.run
    import chipsim.engine.sweep
    import chipsim.onnx_runtime
    import chipsim.report.curves
    import chipsim.report.drawing
    import chipsim.report.figures
    import chipsim.report.pictures
    import chipsim.timing.history
    import chipsim.timing.network.alone
    import chipsim.timing.profile
    import qsnnc.cli
    import qsnnc.pipeline
    import qsnnc.verification  # noqa: F401

    chipsim.onnx_runtime.load()


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Fork a case and wait for it: exit code (negative: a signal), seconds, bytes of memory.

    A request holds the ``words`` of the command line (bytes as latin-1), ``environment``, ``folder`` to start in, ``gone``
    (the folder is removed then), ``encoding`` of the streams, files for ``stdout`` and ``stderr`` (None: closed), ``rights``
    (False: as a user to whom nothing else belongs), and ``signal`` with ``after`` seconds. With ``alone``, the beginning of a
    command, the fork becomes a process with a start of its own.
    """
    loaded, loads = os.pipe()  # what the child holds of it is closed where it begins; before that no handler is installed
    child = os.fork()
    if not child:
        _become(request, loads)
    os.close(loads)
    os.read(loaded, 1)
    os.close(loaded)
    begin, sent = time.monotonic(), False
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        spent = time.monotonic() - begin
        if done:
            return {"code": os.waitstatus_to_exitcode(status), "seconds": spent, "memory": used.ru_maxrss * 1024}
        if request["signal"] and not sent and spent >= request["after"]:
            sent = True
            os.kill(child, request["signal"])
        if spent > SECONDS:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def _become(request: dict[str, Any], loads: int) -> None:
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        if request["gone"]:
            os.rmdir(request["folder"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = _stream(1, request["stdout"], request["encoding"], "strict")
        sys.stderr = _stream(2, request["stderr"], request["encoding"], "backslashreplace")
        words = [word.encode("latin-1") for word in request["words"]]
        sys.argv = [os.fsdecode(word) for word in words]
        if not request["rights"] and "alone" not in request:  # an exec would give them back to root
            _drop()
        if "alone" in request:
            code = f"from {sys.argv[0]}.start import main; main()".encode()
            os.execvpe(request["alone"][0], [request["alone"][0], "-c", code, *words[1:]], os.environ)
        program = __import__(f"{sys.argv[0]}.start", fromlist=["main"])
        os.close(loads)
        program.main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
        _flush()
        os._exit(code)
    except BaseException:  # noqa: BLE001  # as the interpreter would show it
        import traceback

        traceback.print_exc()
        os._exit(99)
    os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os._exit(120)  # as the interpreter does


def _stream(number: int, path: str | None, encoding: str, errors: str) -> Any:
    os.close(number)
    if path is None:
        return None
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)
    os.set_inheritable(number, True)
    return io.TextIOWrapper(open(number, "wb", closefd=False), encoding=encoding, errors=errors)


def _drop() -> None:
    """Give up root's rights over what belongs to others; whoever is not root has none."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, data) == 0:
        for word in (0, 1, 2):
            data[word] &= ~_DAC & 0xFFFFFFFF
        libc.capset(header, data)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
