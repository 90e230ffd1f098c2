"""A Python package of another licence, in an environment and a process of its own.

`interpreter` finds or makes the environment, `run` starts one of the programs in ``runners/`` there. Arrays go in and come
back as npz files; nothing of the package is imported here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from chipsim import paths
from chipsim.crosscheck import unavailable
from chipsim.errors import InputError

RUNNERS = Path(__file__).with_name("runners")
#: seconds that an interpreter may take to say what it has
PATIENCE = 60
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Package:
    """A simulator on PyPI, and what else its environment gets."""

    name: str
    version: str
    others: tuple[str, ...] = ()  # with versions

    @property
    def wanted(self) -> tuple[str, ...]:
        """What pip is asked for."""
        return (f"{self.name}=={self.version}", *self.others)


def interpreter(package: Package, python: str | None, tell: Callable[[str], None]) -> Path:
    """Return a Python that has the package.

    Parameters
    ----------
    python : str, optional
        Take this one, whatever version of the package it has. Without it one is made in the user's cache, once.
    tell : callable
        Told in one line before something is downloaded.

    Raises
    ------
    InputError
        ``python`` has no such package, or the environment cannot be made.
    """
    if python is not None:
        _check(package, python)
        return Path(python)
    home = cache_directory() / f"{package.name}-{package.version}-py{sys.version_info.major}.{sys.version_info.minor}"
    if not paths.is_stored(_python(home)):
        tell(f"{package.name}: installing {', '.join(package.wanted)} in {home}, once")
        _make(package, home)
    return _python(home)


def cache_directory() -> Path:
    """Return where this user's environments are kept."""
    import pooch  # type: ignore[import-untyped]

    return Path(pooch.os_cache("chipsim")) / "crosscheck"


def _python(home: Path) -> Path:
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _check(package: Package, python: str) -> None:
    """Refuse an interpreter that is none, or that lacks the package."""
    ask = f"from importlib.metadata import version; version({package.name!r})"
    try:
        found = subprocess.run([python, "-c", ask], capture_output=True, timeout=PATIENCE, env=_environment(), check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise unavailable(package.name, f"{python} cannot be run ({reason})", "give --python an interpreter") from None
    if found.returncode:
        raise unavailable(
            package.name, f"{python} does not have it", f"install it there ({python} -m pip install {package.wanted[0]})"
        )


def _make(package: Package, home: Path) -> None:
    """Make the environment beside its place and move it there, so that half of one is never taken for one."""
    import shutil
    import venv

    advice = (
        f"connect to a package index, or install {' '.join(package.wanted)} in an environment of its own "
        "and name its interpreter with --python"
    )
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=home.parent, prefix=".new-"))
    except OSError as error:
        raise unavailable(package.name, f"{home.parent} cannot be written: {error.strerror}", advice) from None
    try:
        venv.create(temporary, with_pip=True, symlinks=sys.platform != "win32")
        reason = _install(_python(temporary), package.wanted)
        if reason:
            raise unavailable(package.name, f"pip cannot install it ({reason})", advice)
        if not paths.is_folder(home):
            temporary.rename(home)
    except (OSError, subprocess.SubprocessError) as error:
        reason = " ".join(str(error).split())[:120]
        raise unavailable(package.name, f"an environment cannot be made ({reason})", advice) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _install(python: Path, wanted: tuple[str, ...]) -> str:
    """Install packages; return the last line of what pip says where it cannot."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=_environment(), check=False)
    if not done.returncode:
        return ""
    return (done.stderr.strip().splitlines() or ["it does not say why"])[-1][:160]


def _environment() -> dict[str, str]:
    """This process's environment without what would mix our packages with theirs."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


def run(
    python: Path,
    runner: str,
    given: Mapping[str, npt.NDArray[Any]],
    progress: Callable[[int, int], None] | None = None,
) -> Arrays:
    """Run one of the programs in ``runners/`` and return what it found.

    Raises
    ------
    InputError
        It stopped with an error; the last line of it.
    """
    with tempfile.TemporaryDirectory(prefix="chipsim-") as folder:
        source, target = os.path.join(folder, "given.npz"), os.path.join(folder, "found.npz")
        np.savez(source, **given)  # type: ignore[arg-type]
        command = [str(python), "-B", str(RUNNERS / runner), source, target]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", env=_environment()
        ) as process:
            assert process.stderr is not None
            try:
                last = _follow(process.stderr, progress)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            reason = last or f"exit code {process.returncode}"
            raise InputError(runner.removesuffix(".py"), f"stopped with {reason}", code="crosscheck-unavailable")
        with np.load(target, allow_pickle=False) as file:
            return dict(file)


def _follow(lines: IO[str], progress: Callable[[int, int], None] | None) -> str:
    """Read a program's standard error to its end: progress, and the last line that is none."""
    last = ""
    for line in lines:
        words = line.split()
        if words[:1] == ["progress"] and len(words) == 3:
            if progress is not None:
                progress(int(words[1]), int(words[2]))
        elif words:
            last = " ".join(words)[:200]
    return last
