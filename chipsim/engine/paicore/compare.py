"""A ``.paicore`` against the ONNX model: every level of every layer, then the scores, on every image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.engine.compare import Comparison, in_batches
from chipsim.engine.difference import Difference, exceeding
from chipsim.engine.host import Array
from chipsim.engine.paicore.cores import Core, load_cores
from chipsim.engine.paicore.crossbars import outputs_of
from chipsim.engine.paicore.engines import BATCH, frame
from chipsim.engine.paicore.host import load_host
from chipsim.engine.paicore.machine import Fired, Values
from chipsim.engine.paicore.run import open_program
from chipsim.engine.reference import reference_outputs
from chipsim.engine.setup import open_dataset
from chipsim.options import DataKeywords, DataOptions, merged
from chipsim.paicore import Program
from chipsim.paicore.fields import Int
from chipsim.paicore.program import THERMOMETER, Signal


def compare_program(
    program: Program | str | Path,
    model: str | Path,
    dataset: Dataset | str | Path,
    options: DataOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[DataKeywords],
) -> Comparison:
    """Run both and compare, image by image, in the order of the layers; see `chipsim.compare`.

    Raises
    ------
    InputError
        The model is not the one that was compiled.
    """
    program = open_program(program)
    dataset = open_dataset(dataset, merged(options or DataOptions(), keywords))
    cores = load_cores(program.words)
    host = load_host(program, cores)
    watched = [entry for entry in (program.encoder, *program.layers) if entry.tensor and entry.levels]
    reference = reference_outputs(program, Path(model), [entry.tensor for entry in watched])

    def execute(images: Array, expected: list[Array], first: int) -> tuple[Array, list[Difference | None]]:
        sent = host.values(images)
        fired = list(frame(program, cores, host, sent))
        levels = [_levels(entry, tensor) for entry, tensor in zip(watched, expected, strict=True)]
        differences = [
            _differs(program, cores, sent, fired, entry, level, first) for entry, level in zip(watched, levels, strict=True)
        ]
        return host.scores(_potentials(program, cores, fired, len(images))), differences

    return in_batches(program, dataset, tuple(entry.name for entry in watched), reference, execute, BATCH, progress)


def _potentials(program: Program, cores: tuple[Core, ...], fired: list[Fired], images: int) -> Int:
    found = np.zeros((images, sum(len(core.host) for core in cores)), np.int64)
    for entry in fired:
        core = cores[entry.core]
        found[:, outputs_of(program, core)] = entry.potentials[core.host].T
    return found


def _levels(entry: Signal, tensor: npt.NDArray[Any]) -> Int:
    """Return a tensor's levels, int64 (features, images)."""
    flat = tensor.reshape(len(tensor), -1).astype(np.float64)
    return np.round(flat / entry.scale - entry.zero_point).astype(np.int64).T


def _expected(entry: Signal, element: Int, levels: Int) -> Int:
    """Return what the neurons of some elements send, given the levels."""
    if entry.code != THERMOMETER:
        return levels[element]
    return (levels[element // entry.levels] > (element % entry.levels)[:, None]).astype(np.int64)


def _differs(
    program: Program,
    cores: tuple[Core, ...],
    sent: Values,
    fired: list[Fired],
    entry: Signal,
    levels: Int,
    first: int,
) -> Difference | None:
    """Find the first value of a population that differs: of the encoder's inputs, or of the neurons of its cores."""
    beyond = exceeding(entry, levels.T, first)
    if beyond is not None:
        return beyond
    if entry is program.encoder:
        return _first(entry, np.arange(len(sent)), sent, levels, first, None, None)
    start = np.concatenate([[0], np.cumsum([core.neurons for core in cores])])
    found = []
    for one in fired:
        if program.layers[program.cores[one.core].layer] is entry:
            element = program.neuron_element[start[one.core] : start[one.core + 1]].astype(np.int64)
            found.append(_first(entry, element, one.values, levels, first, one, cores[one.core]))
    return min((wrong for wrong in found if wrong is not None), key=lambda wrong: (wrong.image, wrong.element), default=None)


def _first(
    entry: Signal, element: Int, values: Values, levels: Int, first: int, one: Fired | None, core: Core | None
) -> Difference | None:
    expected = _expected(entry, element, levels)
    bad = values != expected
    if not bad.any():
        return None
    image = int(np.flatnonzero(bad.any(axis=0))[0])
    candidates = np.flatnonzero(bad[:, image])
    at = int(candidates[np.argmin(element[candidates])])
    feature = int(element[at]) // (entry.levels if entry.code == THERMOMETER else 1)
    level = int(levels[feature, image])
    # the level that the chip has: one beside the model's where it is a neuron of the thermometer that differs
    found = (
        int(values[at, image]) if entry.code != THERMOMETER else level + int(values[at, image]) - int(expected[at, image])
    )
    if one is None or core is None:
        return Difference(first + image, entry.name, feature, float(level), float(found))
    return Difference(
        first + image, entry.name, feature, float(level), float(found), one.core, at,
        int(one.potentials[at, image]), int(core.threshold[at]),
    )  # fmt: skip
