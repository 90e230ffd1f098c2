"""What the commands of this folder share: options that are checked, errors of one line, exit codes as README.md has them."""

from __future__ import annotations

import argparse
import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from chipsim.errors import InputError, UsageError
from chipsim.files import write_atomically
from chipsim.paths import check_output
from chipsim.terminal import run_program

#: the extra of setup.cfg that installs a package
EXTRAS = {
    "torch": "train",
    "matplotlib": "plot",
    "brevitas": "exporters",
    "qonnx": "exporters",
    "onnxoptimizer": "exporters",
    "onnxscript": "exporters",
}


class Parser(argparse.ArgumentParser):
    """Options of ``python -m models.NAME``; a wrong one is a `UsageError`."""

    def __init__(self, name: str, description: str | None) -> None:
        """Describe a command by the docstring of its module."""
        super().__init__(
            prog=f"python -m models.{name}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line."""
        raise UsageError(self.prog, f"{message}. Try --help.", code="usage")


def run(name: str, main: Callable[[], object]) -> NoReturn:
    """Run the command ``python -m models.NAME`` and exit: 0 ok, 2 usage, 3 bad input, 4 does not fit, 70 internal error."""

    def with_packages() -> object:
        try:
            return main()
        except ModuleNotFoundError as error:
            raise not_installed(error) from None

    run_program(with_packages, f"models.{name}")


def not_installed(error: ModuleNotFoundError) -> Exception:
    """Say which extra installs a missing package; the error itself if no extra does."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return error
    advice = f"pip install -e '.[{EXTRAS[package]}]'"
    return InputError(package, f"is not installed, and this needs it; {advice}", code="package-missing", found=package)


@contextlib.contextmanager
def packages(module: str, name: str) -> Iterator[None]:
    """Import packages that may be missing; where ``module`` is the command models.NAME itself, say so in one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        if module != "__main__":
            raise
        missing = error
        run(name, lambda: _throw(missing))


def _throw(error: Exception) -> NoReturn:
    raise error


def export(name: str, description: str | None, write: Callable[[str], None], arguments: list[str] | None = None) -> None:
    """Run a command that takes the ONNX file to write, and puts it in place whole or not at all."""
    p = Parser(name, description)
    p.add_argument("file", metavar="OUT.onnx", help="the file to write")
    path = p.parse_args(arguments).file
    check_output(path)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "network.onnx")
        write(str(made))
        write_atomically(path, made.read_bytes())


def whole(least: int) -> Callable[[str], int]:
    """Return the type of an option that takes whole numbers from ``least`` on."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return value

    return convert


def real(least: float, most: float = math.inf) -> Callable[[str], float]:
    """Return the type of an option that takes finite numbers from ``least`` to ``most``."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value):
            wanted = f"from {least:g} on" if math.isinf(most) else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {wanted}")
        return value

    return convert


def check_new(path: str | Path, option: str) -> None:
    """Refuse an output that exists; ``option`` is what lets it be replaced."""
    if Path(path).exists():
        raise InputError(str(path), f"exists already; {option} replaces it", code="output-exists")
