"""Which of two kinds of file somebody gives: a ``.paicore``, or a ``.map`` for crossbar chips."""

from __future__ import annotations

import zipfile
from pathlib import Path

from chipsim import paths

#: a member that a ``.paicore`` has and a ``.map`` has not
MEMBER = "arrays/words.npy"


def is_program(path: str | Path) -> bool:
    """Whether a file is a ``.paicore``: by what it holds, or, where that cannot be read, by its name."""
    if paths.is_stored(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return MEMBER in archive.namelist()
        except Exception:  # noqa: BLE001  # damaged in one of many ways; who reads it says what is wrong with it
            pass
    return str(path).endswith(".paicore")
