"""Write the three logs of the authors' evaluation script: one line per batch of 200 images.

Zou et al. 2021, doi 10.3389/fnins.2021.694170: accuracy.txt holds how many images of the batch were right, spike_num.txt
the spikes of the batch, the encoder's included, and sop_num.txt its synaptic operations by the paper's count.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from chipsim import paths
from chipsim.datasets import Dataset
from chipsim.engine.result import RunResult
from chipsim.errors import InputError
from chipsim.files import write_atomically

BATCH = 200


def batch_logs(result: RunResult) -> dict[str, list[int]]:
    """Return the numbers of each log by file name, from a run with labels and counts per image."""
    assert result.labels is not None
    assert result.image_spikes is not None
    assert result.image_paper_sops is not None
    right = (result.predictions == result.labels).astype(np.int64)

    def sums(values: npt.NDArray[np.int64]) -> list[int]:
        return [int(values[first : first + BATCH].sum()) for first in range(0, len(values), BATCH)]

    return {
        "accuracy.txt": sums(right),
        "spike_num.txt": sums(result.image_spikes),
        "sop_num.txt": sums(result.image_paper_sops),
    }


def check_labels(dataset: Dataset) -> None:
    """Refuse images without labels."""
    if dataset.labels is None:
        raise InputError(dataset.name, "has no labels, which accuracy.txt needs; omit --logs", code="data-labels")


def write(result: RunResult, directory: str | Path) -> None:
    """Write the three files; the directory is created if it does not exist."""
    contents = batch_logs(result)
    paths.make_folder(directory)
    for name, numbers in contents.items():
        write_atomically(paths.join(directory, name), "".join(f"{number}\n" for number in numbers).encode())
