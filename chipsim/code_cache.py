"""Machine code for this processor: the compiler's target, and what was compiled or found, in a directory of the user."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import Any

from chipsim.errors import InputError
from chipsim.files import write_atomically

#: the directory is emptied of what was used longest ago when it holds more than this
CACHE_BYTES = 256 << 20


def processor() -> tuple[str, str]:
    """Return this machine's processor as LLVM describes it: its name, and its features ("+avx2,-avx512f,...")."""
    import llvmlite.binding as llvm

    try:
        features = str(llvm.get_host_cpu_features().flatten())
    except RuntimeError:  # not known for every processor
        features = ""
    return llvm.get_host_cpu_name(), features


def target_machine(cpu: str, features: str, effort: int) -> Any:
    """Return LLVM's code generator for a processor, whose code runs in this process; ``effort`` is 0 to 3."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=effort, jit=True)


def cache_directory() -> Path | None:
    """Return the directory of the user's compiled code; None for a user who has no home."""
    try:
        return _cache_directory()
    except RuntimeError:
        return None


def _cache_directory() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home())
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "chipsim" / "code"


class CodeCache:
    """Compiled code and the like, by content; if the directory cannot be used, it is made again without a message."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory if directory is not None and _ours(directory) else None

    def get(self, key: str) -> bytes | None:
        """Return what was put under the key, if it is there and whole."""
        if self.directory is None:
            return None
        path = self.directory / key
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        digest, code = content[:32], content[32:]
        return code if hashlib.sha256(code).digest() == digest else None

    def put(self, key: str, code: bytes) -> None:
        """Keep code, if it can be kept."""
        if self.directory is None:
            return
        try:
            write_atomically(self.directory / key, hashlib.sha256(code).digest() + code)
            self._prune()
        except (OSError, InputError):
            return

    def _prune(self) -> None:
        assert self.directory is not None
        files = sorted(((path, path.stat()) for path in self.directory.iterdir()), key=lambda one: -one[1].st_mtime)
        total = 0
        for path, status in files:
            total += status.st_size
            if total > CACHE_BYTES:
                path.unlink(missing_ok=True)


def _ours(directory: Path) -> bool:
    """Whether code in a directory can be trusted: it belongs to this user, and only they can write there."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except (OSError, RuntimeError):  # no home directory
        return False
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
