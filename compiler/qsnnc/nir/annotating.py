"""State what a NIR file means, in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chipsim import paths
from qsnnc.nir.network import PREFIX
from qsnnc.nir.reading import MOST_FILE_BYTES, read_nir
from qsnnc.nir.writing import annotated


def annotate(path: Path, keys: Mapping[str, str], node: str | None = None) -> bytes:
    """Return a copy of a file with keys of ours in its metadata, or in that of a node.

    Parameters
    ----------
    keys : mapping
        Names without the prefix, as `qsnnc.nir.semantics.Semantics` and `qsnnc.nir.options.NirOptions` have them.

    Raises
    ------
    ModelError
        The file cannot be read, or has no such node.
    """
    read_nir(path)  # only a file that can be read is changed
    content = paths.read(path, MOST_FILE_BYTES, "file-unreadable")
    return annotated(content, {PREFIX + name: text for name, text in keys.items()}, node, str(path))
