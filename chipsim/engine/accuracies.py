"""The accuracy of a mapping under many faults: a task for each, on all images."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from chipsim.datasets import Dataset, load_dataset
from chipsim.datasets.slices import whole
from chipsim.engine.run import execute
from chipsim.engine.setup import open_dataset, set_up
from chipsim.mapping import Mapping as ChipMapping
from chipsim.mapping import read_mapping
from chipsim.mapping.write import to_bytes
from chipsim.options import EngineOptions, RunOptions
from chipsim.tasks import Given, Input, Kept, Recent, Task, file_input


def accuracies(
    mapping: ChipMapping | str,
    data: Dataset | str,
    broken: Mapping[str, dict[str, Any] | None],
    options: EngineOptions,
    kept: Kept,
    progress: Callable[[int, int], None] | None = None,
) -> list[float | None]:
    """Return the accuracy under each of the faults; None where the run ended every worker.

    Parameters
    ----------
    mapping : Mapping or path
    data : Dataset or path
        Images with labels; of a file the first ``options.limit`` are used.
    broken : mapping of str to dict or None
        Content of a faults file by the label of the task.

    Raises
    ------
    InputError, MappingError
    """
    inputs = (
        file_input(mapping) if isinstance(mapping, str) else Input.of(to_bytes(mapping)),
        file_input(data) if isinstance(data, str) else _sent(data),
    )
    arguments = {
        "limit": options.limit,
        "batch": options.batch,
        "engine": options.engine,
    }
    function, threads = "chipsim.engine.accuracies:accuracy", {"threads": options.threads}
    tasks = (Task(label, function, {**arguments, "faults": faults}, inputs, threads) for label, faults in broken.items())
    outcomes = kept.outcomes(tasks, len(broken), progress)
    return [None if outcome.value is None else json.loads(outcome.value) for outcome in outcomes]


def _sent(data: Dataset) -> Input:
    """Return a data set as an input; it is named by its arrays, not by how they are packed."""
    name, content = whole(data)
    return Input(name, lambda: content)


_MAPPING: Recent[ChipMapping] = Recent(1)
_DATA: Recent[Dataset] = Recent(1)


def accuracy(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """Compute a task of `accuracies`."""
    mapping, data = inputs

    def read() -> ChipMapping:
        with mapping.file() as path:
            return read_mapping(path)

    def load() -> Dataset:
        with data.file(".npz") as path:
            return load_dataset(path)

    options = RunOptions(**{name: arguments[name] for name in ("limit", "batch", "engine", "faults", "threads")})
    images = open_dataset(_DATA.get(data.name, load), options)
    found = execute(set_up(_MAPPING.get(mapping.name, read), options), images, options, warn=tell)
    return json.dumps(found.accuracy).encode()
