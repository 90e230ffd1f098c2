"""Which images changes are chosen on, and which their accuracy is reported on: never the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chipsim.datasets import load_dataset
from chipsim.datasets.dataset import Dataset
from chipsim.errors import InputError
from chipsim.provenance import dataset_facts
from qsnnc.fitting.measure import Images


@dataclass(frozen=True, slots=True)
class Chosen:
    """Images to choose on and to report on, and how a report says which they are."""

    calibration: Images | None
    dataset: Images | None
    said: str
    facts: dict[str, Any] = field(default_factory=dict)  # of their provenance


def chosen_images(dataset: str | None, calibrate: str | None, data_dir: str | None, limit: int) -> Chosen:
    """Load the images.

    A data set with splits is chosen on by its train split and reported on by its test split. Of a file without splits the
    images of even number are chosen on and those of odd number reported on, unless ``calibrate`` names others.

    Raises
    ------
    InputError
        The data cannot be had or used, or a file has a single image.
    """
    source = calibrate or dataset
    if source is None:
        return Chosen(None, None, "chosen without images: accuracy is not known, give --dataset")
    halved = calibrate is None and source.endswith(".npz")
    split = "" if source.endswith(".npz") else " train"
    chosen = load_dataset(source, "train", _folder(source, data_dir), None if halved else limit)
    shown = None if dataset is None else load_dataset(dataset, "test", _folder(dataset, data_dir), None if halved else limit)
    if halved:
        assert shown is not None
        if len(shown) < 2:
            raise InputError(
                source, "has one image; at least two are needed: to choose on, to report on", code="data-no-images"
            )
        chosen, shown = (_part(shown, start, limit) for start in (0, 1))
    found = _images(chosen, f"{source}{split}" if not halved else f"{source} even")
    facts = {"calibrate": dataset_facts(chosen, source)}
    if shown is None:
        return Chosen(found, None, f"chosen on {len(found)} images of {found.name}", facts)
    name = str(dataset) + ("" if str(dataset).endswith(".npz") else " test") + (" odd" if halved else "")
    reported = _images(shown, name)
    said = f"chosen on {len(found)} images of {found.name}, reported on {len(reported)} of {reported.name}"
    return Chosen(found, reported, said, facts | {"dataset": dataset_facts(shown, str(dataset))})


def _folder(name: str, data_dir: str | None) -> str | None:
    return data_dir if name == "mnist" else None


def _part(data: Dataset, start: int, limit: int) -> Dataset:
    labels = None if data.labels is None else data.labels[start::2][:limit]
    return replace(data, images=np.asarray(data.images)[start::2][:limit], labels=labels)


def _images(data: Dataset, name: str) -> Images:
    return Images(name, np.asarray(data.images), data.labels)
