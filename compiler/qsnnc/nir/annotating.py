"""State what a NIR file means, in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qsnnc.nir.network import PREFIX
from qsnnc.nir.reading import read_nir
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
    return annotated(path.read_bytes(), {PREFIX + name: text for name, text in keys.items()}, node, str(path))
