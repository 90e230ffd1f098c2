"""What made a run or a sweep, from the values in memory: its provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipsim.datasets import Dataset
from chipsim.mapping import Mapping
from chipsim.options import EngineOptions
from chipsim.provenance import dataset_facts, file_sha256, made_by

if TYPE_CHECKING:
    from chipsim.paicore import Program


def origin(
    mapping: Mapping | Program | str | Path,
    dataset: Dataset | str | Path,
    images: Dataset,
    options: EngineOptions,
    **facts: object,
) -> Callable[[], dict[str, Any]]:
    """Return what tells the provenance; it is fixed now, but for the hash of a mapping in memory, which takes a while.

    Parameters
    ----------
    mapping, dataset
        As given: a file is hashed as it is.
    images : Dataset
        The images that were used.
    options : EngineOptions
        As given.
    **facts
        What else made the result, such as ``engine``.
    """
    source = "" if isinstance(dataset, Dataset) else str(dataset)
    made = made_by(options, **facts, dataset=dataset_facts(images, source))
    if isinstance(mapping, str | Path):
        return partial(dict, made | {"map_sha256": file_sha256(mapping)})
    return partial(_with_hash, made, mapping)


def _with_hash(made: dict[str, Any], mapping: Mapping | Program) -> dict[str, Any]:
    """Add the hash of the file that the mapping would be written as."""
    if isinstance(mapping, Mapping):
        from chipsim.mapping.write import to_bytes

        content = to_bytes(mapping)
    else:
        from chipsim.paicore.file import to_bytes as program_bytes  # importing PAICORE takes a while

        content = program_bytes(mapping)
    return made | {"map_sha256": hashlib.sha256(content).hexdigest()}
