"""Compare the chip with the ONNX model: every level of every layer, then the scores, for each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
from threadpoolctl import ThreadpoolController

from chipsim.datasets import Dataset
from chipsim.engine.difference import Difference, levels_differ, scores_differ
from chipsim.engine.explained import Explained, Explanation, Tally
from chipsim.engine.host import Array, load_host
from chipsim.engine.machine import load
from chipsim.engine.protocol import Compiled
from chipsim.engine.reference import reference_outputs
from chipsim.engine.setup import of_one_step, open_dataset, open_mapping
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare
from chipsim.options import DataKeywords, DataOptions, merged
from chipsim.wording import agreement

#: images compared at a time
BATCH = 100


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison, with the first difference if there is one."""

    images: int
    populations: tuple[str, ...]  # compared level by level
    values: int  # levels and scores compared
    difference: Difference | None  # the first that float rounding does not explain; if ``strict`` the first of all
    largest_score_error: float
    explained: int = 0  # levels and scores that differ by float rounding of the model
    largest: float = 0.0  # the largest of these differences, in its own unit
    largest_in: str = ""  # the layer or output that it is in
    predictions_changed: int = 0
    accuracy: tuple[float, float] | None = None  # the model's and the chip's, fractions; None without labels
    left_out: int = 0  # neurons that the compiler left out: they are not compared, and cannot change the output

    def __str__(self) -> str:
        if self.difference is not None:
            return str(self.difference)
        what = ", ".join([*self.populations, "scores"])
        without = f"; left out: {self.left_out:,} neurons, which cannot change the output" if self.left_out else ""
        if self.equal:
            return (
                f"equal: {self.images:,} images, {self.values:,} levels and scores ({what}); "
                f"largest difference of a score {self.largest_score_error:g}{without}"
            )
        same = agreement(self.predictions_changed, self.images, *(self.accuracy or (None, None)))
        return (
            f"explained: {self.explained:,} of {self.values:,} levels and scores of {self.images:,} images ({what}) "
            "differ by float rounding at a threshold that qsnnc verify lists, "
            f"the largest by {self.largest:g} in {self.largest_in}; {same}{without}"
        )

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.passes and not self.explained

    @property
    def passes(self) -> bool:
        """Whether float rounding explains whatever differs."""
        return self.difference is None


def compare(
    mapping: Mapping | str | Path,
    model: str | Path,
    dataset: Dataset | str | Path,
    options: DataOptions | None = None,
    *,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[DataKeywords],
) -> Comparison:
    """Compare every level and score of a mapping with the ONNX model, image by image.

    Scores of a certified mapping must be equal to the bit; those of a tested one within float rounding. Where the mapping
    tells which decisions float rounding of the model can change, differences that follow from these are explained.

    Parameters
    ----------
    strict : bool
        Explain nothing.

    Raises
    ------
    InputError
        The model is not the one that was compiled.
    """
    mapping = open_mapping(mapping)
    of_one_step(mapping, "an ONNX model")
    dataset = open_dataset(dataset, merged(options or DataOptions(), keywords))
    machine, host, limits = load(mapping), load_host(mapping), ThreadpoolController()
    watched = [entry for entry in (mapping.encoder, *mapping.layers) if entry.tensor and entry.levels]
    reference = reference_outputs(mapping, Path(model), [entry.tensor for entry in watched])

    def execute(images: Array, expected: list[Array], first: int) -> tuple[Array, list[Difference | None]]:
        with limits.limit(limits=1, user_api="blas"):  # small products, which threads would make slower
            spikes, potentials = machine.step(host.spikes(images))
        differences = [
            levels_differ(mapping, spikes, entry, tensor, first) for entry, tensor in zip(watched, expected, strict=True)
        ]
        return host.scores(potentials), differences

    explain = None if strict or not mapping.tells_rounding else Explanation(machine, host, Path(model), watched)
    names = tuple(entry.name for entry in watched)
    found = in_batches(mapping, dataset, names, reference, execute, BATCH, progress, explain)
    return replace(found, left_out=sum(layer.removed for layer in mapping.layers))


def in_batches(
    compiled: Compiled,
    dataset: Dataset,
    names: tuple[str, ...],
    reference: Callable[[Array], list[Array]],
    execute: Callable[[Array, list[Array], int], tuple[Array, list[Difference | None]]],
    size: int,
    progress: Callable[[int, int], None] | None,
    explain: Callable[[Array, int], Explained] | None = None,
) -> Comparison:
    """Compare batch by batch, up to the first image with a difference that is not explained.

    Parameters
    ----------
    names : tuple of str
        Populations that are compared.
    reference : callable
        Returns the model's scores for a batch, then the tensor of each population.
    execute : callable
        Runs a batch, given the tensors and the number of its first image; returns scores, and the first difference of each
        population.
    size : int
        Images of a batch.
    explain : callable, optional
        Explains what differs in a batch, given the number of its first image; without it nothing is explained.
    """
    values, worst, tally = 0, 0.0, Tally()
    for first in range(0, len(dataset), size):
        images = prepare(dataset.images[first : first + size], compiled.input, dataset.name)
        wanted, *tensors = reference(images)
        scores, differences = execute(images, tensors, first)
        values += scores.size + sum(tensor.size for tensor in tensors)
        error, wrong_score = scores_differ(compiled, scores, wanted, first)
        worst = max(worst, error)
        tally.predict(wanted, scores, None if dataset.labels is None else np.asarray(dataset.labels[first : first + size]))
        found = [wrong for wrong in (*differences, wrong_score) if wrong is not None]
        if found:
            earliest = min(found, key=lambda wrong: wrong.image)  # of one image, the first layer
            said = Explained(0, difference=earliest) if explain is None else explain(images, first)
            if said.difference is not None:
                return Comparison(said.difference.image + 1, names, values, said.difference, worst)
            assert said.differences or not any(differences), "levels differ by layer if they differ at all"
            tally.add(said)
        if progress is not None:
            progress(min(first + size, len(dataset)), len(dataset))
    return Comparison(
        len(dataset), names, values, None, worst,
        tally.explained, tally.largest, tally.largest_in, tally.changed, tally.accuracy,
    )  # fmt: skip
