"""Compare the chip with spike trains that something else recorded: a framework, or another simulator."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.datasets.npz import UNREADABLE
from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.engine.part import layer_trains
from chipsim.engine.setup import open_dataset, open_mapping
from chipsim.errors import InputError
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare
from chipsim.options import DataKeywords, DataOptions, merged

#: images compared at a time
BATCH = 50
#: what the arrays of trains are called, before the name of the layer
PREFIX = "spikes_"

Trains = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TrainDifference:
    """The first spike that one has and the other has not: of the earliest image and step, in the first layer."""

    image: int
    layer: str
    step: int
    element: int  # of the layer
    expected: int
    found: int

    def __str__(self) -> str:
        said = ("no spike", "a spike")
        return (
            f"{self.layer}: image {self.image}, step {self.step}, element {self.element}: the file has "
            f"{said[self.expected]}, the chip {said[self.found]}"
        )


@dataclass(frozen=True, slots=True)
class TrainComparison:
    """The result of a comparison, with the first difference if there is one."""

    images: int
    populations: tuple[str, ...]
    values: int  # spikes and silences compared
    difference: TrainDifference | None

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.difference is None


def compare_trains(
    mapping: Mapping | str | Path,
    trains: str | Path,
    dataset: Dataset | str | Path,
    options: DataOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[DataKeywords],
) -> TrainComparison:
    """Compare what every layer sends in every step with recorded trains, image by image.

    Parameters
    ----------
    trains : path of an npz file
        ``spikes_LAYER``, 0 or 1, (N, steps, ...), of the encoder or any layers by their names in the mapping, as
        ``chipsim run --outputs FILE.npz --trains`` writes them. Removed neurons are not there to compare: compile with
        ``--keep-dead``.

    Raises
    ------
    InputError
        The file cannot be read, names a layer that there is not, or has another shape.
    """
    mapping = open_mapping(mapping)
    dataset = open_dataset(dataset, merged(options or DataOptions(), keywords))
    known = _read(Path(trains), mapping, len(dataset))
    machine, host = load(mapping), load_host(mapping)
    values = 0
    for first in range(0, len(dataset), BATCH):
        images = dataset.images[first : first + BATCH]
        numbers = range(first, first + len(images))
        sent, _ = machine.run(host.frames(prepare(images, mapping.input, dataset.name, mapping.steps, numbers)))
        found = layer_trains(mapping, sent)
        expected = {name: part[first : first + len(images)] for name, part in known.items()}
        values += sum(part.size for part in expected.values())
        difference = _first(mapping, expected, found, first)
        if difference is not None:
            return TrainComparison(difference.image + 1, tuple(known), values, difference)
        if progress is not None:
            progress(first + len(images), len(dataset))
    return TrainComparison(len(dataset), tuple(known), values, None)


def _first(mapping: Mapping, expected: Trains, found: Trains, first: int) -> TrainDifference | None:
    """The first difference of a batch."""
    best: tuple[int, int, int, TrainDifference] | None = None
    for number, name in enumerate(expected):
        flat = expected[name].reshape(len(expected[name]), mapping.steps, -1)
        mine = found[name].reshape(flat.shape)
        bad = np.argwhere(flat != mine)
        if len(bad):
            image, step, element = bad[0].tolist()
            said = int(flat[image, step, element]), int(mine[image, step, element])
            here = TrainDifference(first + image, name, step, element, *said)
            best = min(best or (image, step, number, here), (image, step, number, here), key=lambda entry: entry[:3])
    return None if best is None else best[3]


def _read(path: Path, m: Mapping, images: int) -> Trains:
    """Trains of the mapping's populations, in its order."""
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name.removeprefix(PREFIX): file[name] for name in file.files if name.startswith(PREFIX)}
    except FileNotFoundError:
        raise InputError(str(path), "there is no such file", code="data-missing") from None
    except (*UNREADABLE, zipfile.BadZipFile) as error:
        said = str(error).split("\n")[0][:120] or "damaged"
        raise InputError(str(path), f"is not a readable npz file ({said})", code="data-corrupt") from None
    sizes = {
        entry.name: (m.steps, int(np.prod(entry.shape)) * entry.levels) for entry in (m.encoder, *m.layers) if entry.levels
    }
    if not held or set(held) - set(sizes):
        wrong = ", ".join(sorted(set(held) - set(sizes)))[:100] or "none"
        raise InputError(
            str(path), f"holds trains of: {wrong}; allowed: spikes_LAYER of {', '.join(sizes)}", code="layer-unknown"
        )
    for name, train in held.items():
        steps, size = sizes[name]
        if train.ndim < 2 or len(train) < images or train.shape[1] != steps or int(np.prod(train.shape[2:])) != size:
            text = f"spikes_{name} has shape {train.shape}; expected: at least {images} images of {steps} steps of {size}"
            raise InputError(str(path), text, code="data-shape", found=list(train.shape), allowed=[images, steps, size])
        if train.dtype.kind not in "buif" or not ((train == 0) | (train == 1)).all():
            raise InputError(str(path), f"spikes_{name} holds other values than 0 and 1", code="data-spikes")
    return {name: held[name][:images].astype(np.uint8) for name in sizes if name in held}
