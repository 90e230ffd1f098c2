"""Explore a space of chips: a row for each network and chip, computed by tasks that share what chips have in common."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from chipsim import paths
from chipsim.datasets import Dataset, load_dataset
from chipsim.datasets.slices import whole
from chipsim.tasks import Input, Kept, Task, file_input
from chipsim.timing.area import memory_bits
from chipsim.timing.profile import evenly
from qsnnc.explore.shared import cores_key, places_key
from qsnnc.explore.space import TIMED, Candidate, Space
from qsnnc.frontend.importer.parse import external_files
from qsnnc.nir.reading import is_nir
from qsnnc.options import FrontendOptions
from qsnnc.pipeline import read_layers

#: chips of a task at most, and into how many tasks at least chips are cut before a task has several
TOGETHER, TASKS = 16, 64
#: the order of chips in which `smallest` bisects
SIZES: dict[str, Callable[[Candidate], int]] = {
    "cores": lambda chip: chip.spec.cores,
    "bits": lambda chip: chip.spec.cores * sum(memory_bits(chip.spec).values()),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A network on a chip."""

    model: str
    chip: Candidate
    figures: dict[str, Any]  # as `evaluate.measure` returns them; empty where the task ended every worker


@dataclass(frozen=True, slots=True, eq=False)
class Exploration:
    """All rows, in the order of models and chips."""

    space: Space
    rows: tuple[Row, ...]
    failed: tuple[str, ...]  # labels of tasks that ended every worker


@dataclass(frozen=True, slots=True, eq=False)
class Explorer:
    """Networks, a space and images, and who computes."""

    models: tuple[tuple[str, Input], ...]  # name and layer graph
    space: Space
    images: Input | None  # None: no cycles
    kept: Kept

    def explore(self, chips: Sequence[Candidate], progress: Callable[[int, int], None] | None = None) -> Exploration:
        """Compile for each of the chips and measure."""
        groups = list(_groups(chips))
        planned = [(name, graph, group) for name, graph in self.models for group in groups]
        tasks = (self._task(name, graph, group) for name, graph, group in planned)
        rows, failed = [], []
        for (name, _, group), outcome in zip(planned, self.kept.outcomes(tasks, len(planned), progress), strict=True):
            found = [{}] * len(group) if outcome.value is None else json.loads(outcome.value)
            failed += [outcome.task.label] if outcome.value is None else []
            rows += [Row(name, chip, row) for chip, row in zip(group, found, strict=True)]
        order = {chip.name: number for number, chip in enumerate(chips)}
        names = [name for name, _ in self.models]
        rows.sort(key=lambda row: (names.index(row.model), order[row.chip.name]))
        return Exploration(self.space, tuple(rows), tuple(failed))

    def smallest(self, by: str) -> tuple[Candidate | None, Exploration]:
        """Find the first chip that holds every network, by bisection over the chips ordered by size, then as in the space.

        Returns
        -------
        chip : Candidate or None
            The one before it in the order does not hold every network; None: the last one does not either. It is the
            smallest of all if no smaller chip holds what a larger one does not, as where chips differ in their grid alone.
        seen : Exploration
            The rows of the chips that were looked at.
        """
        ordered = sorted(self.space.chips, key=SIZES[by])
        seen: list[Exploration] = []

        def holds(number: int) -> bool:
            seen.append(self.explore([ordered[number]]))
            return all(row.figures.get("fits") for row in seen[-1].rows)

        low, high = 0, len(ordered)  # those before low do not, those from high on do
        if not holds(len(ordered) - 1):
            low = high
        else:
            high = len(ordered) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        chip = ordered[low] if low < len(ordered) else None
        rows = tuple(row for each in seen for row in each.rows)
        return chip, Exploration(self.space, rows, tuple(label for each in seen for label in each.failed))

    def _task(self, name: str, graph: Input, group: Sequence[Candidate]) -> Task:
        label = f"{name} on {group[0].name}" + (f" and {len(group) - 1} more chips" if len(group) > 1 else "")
        timing = None if self.images is None else self.space.file.timing
        arguments = {"base": self.space.base, "chips": [chip.values for chip in group], "timing": timing}
        inputs = (graph,) if self.images is None else (graph, self.images)
        return Task(label, "qsnnc.explore.evaluate:measure", arguments, inputs)


def _groups(chips: Sequence[Candidate]) -> Iterator[Sequence[Candidate]]:
    """Yield a few chips at a time, in an order in which those that share most follow one another.

    The groups depend on the chips alone, so that results that were kept are good for any cluster. Of chips with the same
    cores the largest comes first: what it has room for is laid out for all of them.
    """
    keys = {chip.name: (cores_key(chip.spec), places_key(chip.spec)) for chip in chips}
    ordered = sorted(chips, key=lambda chip: (keys[chip.name][0], -chip.spec.cores, keys[chip.name][1]))
    size = max(1, min(TOGETHER, len(chips) // TASKS))
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]


def model_graph(path: str, options: FrontendOptions | None = None) -> Input:
    """Return the layer graph of a model as an input, read and integerized once if needed.

    It is named by the model's files and by the options with which it is read.
    """
    given = options or FrontendOptions()

    @cache
    def content() -> bytes:
        return pickle.dumps(read_layers(path, given), protocol=5)

    others = [] if is_nir(path) else external_files(path)
    digests = [file_input(each).sha256 for each in (path, *others)]
    made_of = ["layer graph", digests, asdict(given)]
    return Input(hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest(), content)


def timed_images(name: str, space: Space, split: str, data_dir: str | None) -> Input:
    """Return the images that are timed, evenly spaced over a data set."""
    data = load_dataset(name, split, data_dir)  # type: ignore[arg-type]  # checked
    numbers = evenly(space.file.images, len(data)).tolist()
    chosen = np.concatenate([np.asarray(data.images[number : number + 1]) for number in numbers])
    digest, content = whole(Dataset(data.name, data.split, chosen))
    return Input(digest, lambda: content)


def model_names(models: Sequence[str]) -> tuple[str, ...]:
    """Name each model by its file, with the folder where two have the same."""
    short = [paths.stem(path) for path in models]
    return tuple(path if short.count(name) > 1 else name for path, name in zip(models, short, strict=True))


__all__ = ["SIZES", "TIMED", "Exploration", "Explorer", "Row", "model_graph", "model_names", "timed_images"]
