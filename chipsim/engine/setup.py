"""Load what a run needs: the mapping with the faults of its chip, the host's models, and the data."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chipsim.chip.avoid import Source as Broken
from chipsim.chip.avoid import without
from chipsim.datasets import Dataset, load_dataset
from chipsim.engine.host import Host, load_host
from chipsim.errors import InputError, UsageError
from chipsim.faults import Damage, inflict
from chipsim.mapping import Mapping, read_mapping, validate_mapping
from chipsim.options import DataOptions, RunOptions


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """A mapping that is ready to be executed and timed."""

    mapping: Mapping  # as it was compiled
    damage: Damage  # as it is on this chip
    host: Host
    noise: float  # probability with which each encoder spike is lost
    seed: int  # of that noise
    faulty: bool  # whether somebody asked for faults
    seconds: float  # that it took


def set_up(mapping: Mapping | str | Path, options: RunOptions) -> Setup:
    """Open a mapping, apply the faults of the options and load the host's models.

    Raises
    ------
    UsageError, InputError, MappingError
    """
    start = time.perf_counter()
    opened = open_mapping(mapping, options.avoid)
    damage = inflict(opened, options.faults, options.seed)
    noise, seed = _encoder_noise(damage, options.noise, options.seed)
    host = load_host(opened)
    return Setup(opened, damage, host, noise, seed, options.faults is not None, time.perf_counter() - start)


def _encoder_noise(damage: Damage, noise: float, seed: int) -> tuple[float, int]:
    """Rate and seed of the encoder's noise: the faults' or the options', not both."""
    if damage.encoder_noise is None:
        return noise, seed
    if noise:
        raise UsageError(
            "--noise", "the faults file specifies encoder noise too; use one of the two", code="options-conflict"
        )
    return damage.encoder_noise


def open_mapping(mapping: Mapping | str | Path, avoid: Broken | None = None) -> Mapping:
    """Read a mapping, or validate one that was made in memory.

    Raises
    ------
    MappingError
        It breaks a rule; or it uses a core that ``avoid`` says is dead, or that dead links cut off.
    """
    if not isinstance(mapping, Mapping):
        mapping = read_mapping(mapping)
    else:
        validate_mapping(mapping)
    if avoid is None:
        return mapping
    mapping = replace(mapping, chip=without(mapping.chip, avoid))
    validate_mapping(mapping)
    return mapping


def check_labels(dataset: Dataset, classes: int) -> None:
    """Refuse labels that the network cannot answer; a single output is no choice between classes.

    Raises
    ------
    InputError
    """
    if dataset.labels is None or classes < 2:
        return
    wrong = (dataset.labels < 0) | (dataset.labels >= classes)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            dataset.name,
            f"labels has {dataset.labels[at]} at image {at}; allowed: 0 to {classes - 1}, the network's {classes} outputs",
            code="data-labels",
            found=int(dataset.labels[at]),
            allowed=[0, classes - 1],
        )


def of_one_step(mapping: Mapping, who: str) -> None:
    """Refuse a mapping whose frames have several steps, or whose neurons have a model, where ``who`` covers neither.

    Raises
    ------
    InputError
    """
    if mapping.steps > 1 or mapping.stateful:
        model = next((layer.name for layer in mapping.layers if layer.neuron), "none")
        raise InputError(
            "mapping",
            f"has frames of {mapping.steps} steps (first layer with a neuron model: {model}); "
            f"{who} covers frames of one step without; chipsim compare takes recorded trains (--model TRAINS.npz)",
            code="map-rule",
            found=mapping.steps,
            allowed=1,
        )


def open_dataset(dataset: Dataset | str | Path, options: DataOptions) -> Dataset:
    """Load the images that the options select; at least one.

    Raises
    ------
    UsageError, InputError
    """
    if not isinstance(dataset, Dataset):
        dataset = load_dataset(dataset, options.split, options.data_dir)
    dataset = dataset.head(options.limit)
    if not len(dataset):
        raise InputError(dataset.name, "contains no images; at least one is required", code="data-no-images")
    if dataset.labels is not None and dataset.labels.shape != (len(dataset),):
        raise InputError(
            dataset.name, f"labels have shape {dataset.labels.shape}; expected: ({len(dataset)},)", code="data-labels"
        )
    return dataset
