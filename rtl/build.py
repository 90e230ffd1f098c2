"""Build the SystemVerilog into a program with Verilator; one that was built from the same sources is used again."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent
#: built programs, by what they were built from
CACHE = ROOT / "build"


class BuildError(Exception):
    """Verilator or the C++ compiler refuses the sources; the text is what they print."""


def version() -> str | None:
    """Return Verilator's version, such as ``Verilator 5.006``; None where it is not installed."""
    if shutil.which("verilator") is None:
        return None
    text = subprocess.run(["verilator", "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join(text.split()[:2])


def lint(top: str, parameters: Mapping[str, int], sources: Path = ROOT) -> str:
    """Return what ``verilator --lint-only -Wall`` prints of a module; nothing is as it should be."""
    words = ["verilator", "--lint-only", "-Wall", *_module(top, parameters, sources)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stderr


def build(
    top: str,
    main: str,
    parameters: Mapping[str, int],
    define: Mapping[str, int],
    sources: Path = ROOT,
    optimise: str = "-O0",
) -> Path:
    """Return a program that simulates a module.

    Parameters
    ----------
    top : str
        The module, in the file of its name.
    main : str
        The C++ file of ``tb/`` that has ``main``.
    parameters, define : mapping of str to int
        Parameters of the module, and macros of the C++.
    sources : Path
        Directory of the SystemVerilog.
    optimise : str
        Option of the C++ compiler. Most of a short run is the compiler's work, hence the default.

    Raises
    ------
    BuildError
    """
    words = _module(top, parameters, sources)
    if top != "mesh":  # what cores do is told by a module that is bound into them
        words.append(str(ROOT / "tb" / "trace.sv"))
    if top == "tile":
        words.append(str(ROOT / "tb" / "tile.sv"))
    macros = [f"-D{name}={value}" for name, value in sorted(define.items())]
    files = [Path(word) for word in words if word.endswith(".sv")]
    files += [ROOT / "tb" / f"{main}.cpp", *sorted((ROOT / "tb").glob("*.h"))]
    content = b"\0".join([*(file.read_bytes() for file in files), repr((parameters, main, macros, version())).encode()])
    name = f"{top}-{hashlib.sha256(content).hexdigest()[:16]}"
    program = CACHE / name / main
    if program.exists():
        return program
    folder = CACHE / f"{name}.{os.getpid()}"  # another process may be at the same
    folder.mkdir(parents=True)
    generate = [
        "verilator", "--cc", "--exe", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal",
        "-CFLAGS", " ".join(["-std=c++17", *macros]), "--Mdir", str(folder), "-o", main,
        *words, str(ROOT / "tb" / f"{main}.cpp"),
    ]  # fmt: skip
    compile_all = ["make", "-C", str(folder), "-f", f"V{top}.mk", "-j2", f"OPT_FAST={optimise}", "OPT_SLOW=-O0"]
    try:
        _call(generate)
        _with_runtime(folder, optimise, compile_all)
        if not program.exists():
            shutil.rmtree(program.parent, ignore_errors=True)
            folder.rename(program.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return program


def _with_runtime(folder: Path, optimise: str, command: list[str]) -> None:
    """Compile a model; Verilator's own library, most of the work for a small one, is compiled once and kept."""
    kept = CACHE / f"runtime{optimise}"
    for file in kept.glob("*.o"):
        shutil.copy(file, folder)
    _call(command)
    kept.mkdir(exist_ok=True)
    for file in folder.glob("verilated*.o"):
        if not (kept / file.name).exists():
            shutil.copy(file, folder / "kept")
            (folder / "kept").rename(kept / file.name)


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(done.stdout + done.stderr)


def _module(top: str, parameters: Mapping[str, int], sources: Path) -> list[str]:
    files = sorted(str(file) for file in sources.glob("*.sv"))
    return ["--top-module", top, *(f"-G{name}={value}" for name, value in sorted(parameters.items())), *files]
