"""Exit codes, one-line errors, output files and progress of both command lines."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NoReturn

from chipsim.environment import tame_environment
from chipsim.errors import InputError, ReportedError, ReportedWarning, labelled, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer

INTERNAL, INTERRUPTED = 70, 130
LONGEST = 400  # characters of what a usage error quotes
WIDEST = 500  # characters of a table's line; a terminal that is narrower breaks the line, and no number is cut short


def run_app(app: typer.Typer, program: str) -> NoReturn:
    """Run a command line of Typer's and exit with the documented code."""
    import typer

    run_program(lambda: typer.main.get_command(app)(prog_name=program, standalone_mode=False), program)


def run_program(main: Callable[[], object], program: str) -> NoReturn:
    """Run a program and exit with the documented code: its result if that is an integer, or that of its error.

    0 ok, 1 a check failed, 2 usage, 3 bad input, 4 does not fit, 70 internal error, 130 interrupted.
    """
    import warnings

    said: list[str] = []  # told when the command is done: an error is the only line on standard error
    quiet_libraries()
    if not sys.warnoptions:  # python -W shows them: standard error is for what a user can mend
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ReportedWarning)
        warnings.showwarning = lambda message, *_, **__: said.append(str(message))
    _open_streams()
    interrupts = Interrupts()
    try:
        code = _outcome(main, program, said, interrupts)
        interrupts.leave_at_once()
    except KeyboardInterrupt:  # it struck before an error could be told
        code = INTERRUPTED
    if code == INTERRUPTED:
        interrupts.leave()  # worker threads may still be in a long product
    sys.exit(code)


def _outcome(main: Callable[[], object], program: str, said: list[str], interrupts: Interrupts) -> int:
    """Run a program, tell what it ``said`` or its error, and return its code."""
    import typer

    code = 0
    try:
        result = main()
        code = result if isinstance(result, int) else 0
        if sys.stdout is not None:
            sys.stdout.flush()
        for line in said:
            _tell(line)
    except ReportedError as error:
        interrupts.tell(error.shown())
        code = error.exit_code
    except typer.Exit as error:
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
    except SystemExit as error:  # click's own: shell completion, or 1 where the reader of a pipe went away
        code = error.code if isinstance(error.code, int) else 0
        if isinstance(error.__context__, BrokenPipeError):
            code = 0
            _drop_stdout()
    except Exception as error:  # noqa: BLE001  # the last resort: an internal error
        if interrupts.seen:
            return INTERRUPTED
        code = _usage(error, interrupts.tell) or _full(error, interrupts.tell) or _internal(error, program, interrupts.tell)
    return code


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP end a command alike: what it was writing is removed, one line is printed, the code is 130.

    The first is raised as KeyboardInterrupt in the main thread. It is also noted, since one that strikes while a library is
    loading surfaces as that library's own error. A second one, or one while the interpreter shuts down, ends the process
    there and then; so does one that strikes in a destructor, where Python would print it and go on, and an error in the
    destructor of what the first has left half made. An error that is being told is the one line. Signals that whoever
    started the process had ignored (nohup) stay ignored.
    """

    def __init__(self) -> None:
        self.seen = self.told = False
        self._unraisable = sys.unraisablehook
        sys.unraisablehook = self._lost
        self._set(self._note)

    def _note(self, number: int, frame: object) -> NoReturn:
        if self.seen or self.told:
            self.leave()
        self.seen = True
        raise KeyboardInterrupt

    def _lost(self, lost: sys.UnraisableHookArgs) -> None:
        if self.seen or isinstance(lost.exc_value, KeyboardInterrupt):
            self.leave()
        self._unraisable(lost)

    def leave_at_once(self) -> None:
        """From here on the process ends with the first signal."""
        sys.unraisablehook = self._unraisable
        self._set(lambda number, frame: self.leave())

    def tell(self, line: str) -> None:
        """Print the line of an error; from here on the process ends with the first signal, and no other line."""
        self.told = True
        _tell(line)

    def leave(self) -> NoReturn:
        """End an interrupted process at once: no temporary file stays, one line is printed."""
        from chipsim.files import abandon

        abandon()
        if not self.told:
            _tell("interrupted")
        os._exit(INTERRUPTED)

    def _set(self, handler: Callable[[int, Any], object]) -> None:
        import threading

        from chipsim.environment import SIGNALS

        if threading.current_thread() is not threading.main_thread():
            return
        for name in SIGNALS:
            if signal.getsignal(name) not in (signal.SIG_IGN, None):
                signal.signal(name, handler)


def quiet_libraries() -> None:
    """No line of another library stands before ours: they log what a user of these commands can do nothing about."""
    import logging

    logging.getLogger().addHandler(logging.NullHandler())
    tame_environment()


def _drop_stdout() -> None:
    """Nobody reads standard output any more: let what is still buffered go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _open_streams() -> None:
    """Make both streams safe to use.

    Where one was closed by whoever started us, no file that is opened later may come to be in its place. What its encoding
    cannot show is escaped.
    """
    if sys.stdout is None or sys.stderr is None:
        while os.open(os.devnull, os.O_RDWR) < 3:
            pass
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # or print would take standard output
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _tell(line: str) -> None:
    """Print a line on standard error, if it can be had."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed meanwhile
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def _full(error: Exception, tell: Callable[[str], None]) -> int:
    """Say that there is no room left, on a disk or in memory; 0 if it is another error."""
    import errno

    if isinstance(error, MemoryError):
        text = "memory: is exhausted; use fewer or smaller images, a smaller batch, fewer threads, or more memory"
        tell(text)
        return InputError.exit_code

    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return 0
    _drop_stdout()
    text = (
        f"standard output or a temporary file: cannot be written: {error.strerror}; free some space, or choose another path"
    )
    tell(labelled("output-unwritable", text))
    return InputError.exit_code


def _usage(error: Exception, tell: Callable[[str], None]) -> int:
    """Print a usage error of whichever click the command line was built with; 0 if it is none."""
    show = getattr(error, "format_message", None)
    if show is None or not hasattr(error, "exit_code"):
        return 0
    context = getattr(error, "ctx", None)
    path = f"{context.command_path}: " if context else ""
    text = printable(" ".join(show().split()))
    if text:  # none where all of the help was shown
        text = text.rstrip(".") if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        tell(labelled("usage", f"{path}{text}{'' if text[-1] in '?.' else '.'} Try --help."))
    return int(error.exit_code)


def _internal(error: Exception, program: str, tell: Callable[[str], None]) -> int:
    """Report an internal error; whatever else is broken, one line is printed."""
    from chipsim import bug_report

    text = printable(" ".join(_words(error).split())[:120])
    tell(f"{program}: internal error: {type(error).__name__}: {text}; please report it {bug_report.write(error, program)}")
    return INTERNAL


def _words(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # of a foreign class
        return "no text"


def write_output(path: str, content: bytes) -> None:
    """Write an output to a file atomically, or to standard output for '-'."""
    from chipsim.files import write_atomically

    if path == "-":
        _standard_output().write(content)
        _standard_output().flush()
    else:
        write_atomically(path, content)


def write_stream(path: str, write: Callable[[IO[bytes]], object]) -> None:
    """Like `write_output`, for an output that is not held in memory as a whole."""
    from chipsim.files import stream_atomically

    if path == "-":
        write(_standard_output())
        _standard_output().flush()
    else:
        stream_atomically(path, write)


def _standard_output() -> IO[bytes]:
    """Standard output for bytes."""
    if sys.stdout is None:
        raise InputError("standard output", "is closed; write to a file", code="output-unwritable")
    return sys.stdout.buffer


def write_json(path: str, value: Any) -> None:
    """Write JSON to a file or '-'."""
    import json

    write_output(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def show(*tables: Any) -> None:
    """Print tables and lines on standard output; tables are never cut to the width of the terminal."""
    from rich.console import Console
    from rich.segment import Segment, Segments

    if sys.stdout is None:  # closed: nobody wants to see them
        return
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, width=None if terminal else 200)
    for table in tables:
        if isinstance(table, str):
            console.print(printable(table, "\n"), soft_wrap=not terminal)
            continue
        wanted = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
        pieces = console.render(table, console.options.update(max_width=max(console.width, wanted)))
        # a model may have put a terminal's commands into its names
        console.print(Segments([Segment(printable(text, "\n"), style) for text, style, _ in pieces]), end="", soft_wrap=True)


@contextlib.contextmanager
def progress(what: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on standard error, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


#: seconds after which a command says what it is doing, and how often it says it again
PATIENCE, REPEAT = 2.0, 30.0


@contextlib.contextmanager
def watched(*, quiet: bool = False, verbose: bool = False) -> Iterator[Callable[[str], None]]:
    """Say on standard error what takes long, and with ``verbose`` what was changed in the model that was read.

    Yields a function that is told what is being done. The first line comes after `PATIENCE` seconds.
    """
    import logging
    import threading
    import time

    doing, done, start = [""], threading.Event(), time.monotonic()

    def tell() -> None:
        wait = PATIENCE
        while not done.wait(wait):
            if doing[0]:
                wait = REPEAT
                _tell(f"still working: {doing[0]}, {time.monotonic() - start:.0f} s so far")

    notes = logging.StreamHandler(sys.stderr)
    logger, level = logging.getLogger("chipsim"), logging.getLogger("chipsim").level
    if verbose:
        logger.addHandler(notes)
        logger.setLevel(logging.INFO)
    if not quiet:
        threading.Thread(target=tell, daemon=True).start()
    try:
        yield lambda text: doing.__setitem__(0, text)
    finally:
        done.set()
        logger.removeHandler(notes)
        logger.setLevel(level)
