"""What is the same wherever a task is computed: this program, its chips, and the libraries whose numbers enter a result."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable

#: distributions whose numbers enter a result
LIBRARIES = ("numpy", "onnxruntime")


@cache
def versions() -> dict[str, str]:
    """Return the versions of this program and of the libraries, and hashes of the sources and of the chips' files."""
    found = {name: _version(name) for name in ("qsnnc", *LIBRARIES)}
    for package in ("chipsim", "qsnnc"):
        found[f"sources of {package}"] = _digest(package, ".py")
    found["chip files"] = _digest("chipsim", ".yaml", "chip")
    return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _digest(package: str, suffix: str, folder: str = "") -> str:
    """Hash the names and the content of a package's files, as they are installed."""
    try:
        top = resources.files(package)
    except ModuleNotFoundError:
        return "missing"
    found = hashlib.sha256()
    for name, entry in _files(top / folder if folder else top, suffix):
        content = entry.read_bytes()
        found.update(f"{name} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:12]


def _files(folder: Traversable, suffix: str, above: str = "") -> list[tuple[str, Traversable]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.name.endswith(suffix):
            found.append((above + entry.name, entry))
        elif "." not in entry.name and entry.name != "__pycache__":
            try:
                found += _files(entry, suffix, f"{above}{entry.name}/")
            except NotADirectoryError:
                continue
    return found


def differences(theirs: dict[str, str]) -> str:
    """Say what another process has in another version: ``numpy 1.26.4 (here 2.4.6)``; empty if nothing."""
    mine = versions()
    return ", ".join(
        f"{name} {theirs.get(name, 'missing')} (here {value})" for name, value in mine.items() if theirs.get(name) != value
    )
