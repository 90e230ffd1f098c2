"""Run the tests under every Python version that ``setup.cfg`` names and this machine has.

``python .ci/pythons.py ARGUMENTS`` looks for ``python3.N`` on PATH and among pyenv's versions, keeps a virtual environment
for each in ``.venvs/3.N/``, and runs ``pytest ARGUMENTS`` in it. The last lines say of each version whether it passed,
failed or is missing. Exits 1 if any failed, or if none was found.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venvs"
#: pyenv's shims exist for versions that are not active, and Debian's Python may lack ensurepip: each candidate is tried
PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def versions(text: str) -> list[str]:
    """The minor versions that the classifiers of a ``setup.cfg`` name."""
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(text)
    return re.findall(r"Programming Language :: Python :: (3\.\d+)\s*$", config["metadata"]["classifiers"], re.MULTILINE)


def candidates(version: str) -> Iterator[Path]:
    """Files that may be this version's interpreter: on PATH first, then pyenv's, the newest patch release first."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(folder or ".") / f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(pyenv.glob(f"{version}.*/bin/python{version}"), key=_patch, reverse=True)


def _patch(path: Path) -> int:
    found = re.match(r"\d+\.\d+\.(\d+)", path.parents[1].name)
    return int(found[1]) if found else -1


def interpreter(version: str) -> Path | None:
    """An interpreter of this version that can make virtual environments, or None."""
    for path in candidates(version):
        if path.is_file() and os.access(path, os.X_OK):
            done = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.strip() == version:
                return path
    return None


def environment(version: str, python: Path) -> Path:
    """Python of the virtual environment of a version, made or brought up to date where ``setup.cfg`` is newer."""
    folder = FOLDER / version
    mine, stamp = folder / "bin" / "python", folder / "installed"
    sources = [ROOT / "setup.cfg", ROOT / "pyproject.toml"]
    if not stamp.exists() or stamp.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        subprocess.run([python, "-m", "venv", folder], check=True)
        install = [mine, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", ".[test]"]
        subprocess.run(install, cwd=ROOT, check=True)
        stamp.touch()
    return mine


def tried(version: str, arguments: list[str]) -> str:
    """What became of a version: ``passed``, ``failed ...`` or ``missing``."""
    python = interpreter(version)
    if python is None:
        return "missing on this machine"
    print(f"Python {version}: {python}", flush=True)
    try:
        subprocess.run([environment(version, python), "-m", "pytest", *arguments], cwd=ROOT, check=True)
    except subprocess.CalledProcessError as error:
        return f"failed: {' '.join(map(str, error.cmd[1:4]))} exited with {error.returncode}"
    return "passed"


def main() -> int:
    """Try every version; 1 if one failed or none was found."""
    found = {version: tried(version, sys.argv[1:]) for version in versions((ROOT / "setup.cfg").read_text())}
    for version, outcome in found.items():
        print(f"Python {version}: {outcome}")
    failed = any(outcome.startswith("failed") for outcome in found.values())
    return 1 if failed or "passed" not in found.values() else 0


if __name__ == "__main__":
    sys.exit(main())
