"""Export a mapping as NIR."""

from __future__ import annotations

from pathlib import Path

from chipsim.errors import InputError, MappingError
from chipsim.mapping import read_mapping
from qsnnc.ir.stored import of_mapping
from qsnnc.nir.export import NotExpressible, export
from qsnnc.nir.writing import to_bytes


def export_mapping(path: str | Path) -> bytes:
    """Return the integer network of a mapping as a NIR file.

    Raises
    ------
    InputError
        The mapping cannot be read, holds no network, or holds one that NIR cannot express.
    ModelError
        h5py is not installed.
    """
    try:
        graph = of_mapping(read_mapping(path))
    except ValueError as error:
        raise MappingError(str(path), f"network.json is damaged ({error}); compile it again", code="map-damaged") from None
    if graph is None:
        raise InputError(
            str(path),
            "holds no network besides its cores (no network.json): another program or an earlier version wrote it; compile "
            "the model again",
            code="nir-none",
        )
    try:
        return to_bytes(export(graph))
    except NotExpressible as error:
        raise InputError(str(path), f"cannot be written as NIR. {error}", code="nir-none") from None
