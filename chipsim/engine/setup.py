"""What a run starts from: a mapping on the chip at hand, with what is broken there and the host's two ends; and its data."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from chipsim.chip.avoid import Source as Broken
from chipsim.chip.avoid import without
from chipsim.datasets import Dataset, load_dataset
from chipsim.engine.host import Host, load_host
from chipsim.errors import InputError, UsageError
from chipsim.faults import Damage, inflict
from chipsim.faults.spec import Source
from chipsim.mapping import Mapping, read_mapping, validate_mapping


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """A mapping that is ready to be run, and to be timed."""

    mapping: Mapping  # as it was compiled
    damage: Damage  # as it is on this chip
    host: Host
    noise: float  # probability with which each encoder spike is lost
    seed: int  # of that noise
    faulty: bool  # whether somebody asked for faults
    seconds: float  # that it took


def set_up(
    mapping: Mapping | str | Path,
    *,
    noise: float = 0.0,
    seed: int = 0,
    faults: Source | None = None,
    avoid: Broken | None = None,
) -> Setup:
    """Open a mapping, break what is broken, load the host's ends; parameters are those of `chipsim.run`.

    Raises
    ------
    UsageError, InputError, MappingError
    """
    start = time.perf_counter()
    opened = open_mapping(mapping, avoid)
    damage = inflict(opened, faults, seed)
    noise, seed = _encoder_noise(damage, noise, seed)
    host = load_host(opened)
    return Setup(opened, damage, host, noise, seed, faults is not None, time.perf_counter() - start)


def _encoder_noise(damage: Damage, noise: float, seed: int) -> tuple[float, int]:
    """Rate and seed of the encoder's noise: the faults' or the options', not both."""
    if damage.encoder_noise is None:
        return noise, seed
    if noise:
        raise UsageError("--noise", "the faults have noise of the encoder too; give one of them", code="noise-twice")
    return damage.encoder_noise


def open_mapping(mapping: Mapping | str | Path, avoid: Broken | None = None) -> Mapping:
    """Read a mapping, or check one that was made in memory: nothing runs that breaks a rule of the format.

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


def open_dataset(dataset: Dataset | str | Path, split: str, data_dir: str | Path | None, limit: int | None) -> Dataset:
    """Load a data set, or the first images of one that is loaded; never an empty one."""
    if limit is not None and limit < 1:
        raise UsageError("--limit", f"{limit} is below 1", code="limit-invalid", found=limit, allowed=">= 1")
    if not isinstance(dataset, Dataset):
        dataset = load_dataset(dataset, split, data_dir)
    dataset = dataset.head(limit)
    if not len(dataset):
        raise InputError(dataset.name, "holds no images; at least one is needed", code="data-empty")
    if dataset.labels is not None and dataset.labels.shape != (len(dataset),):
        raise InputError(
            dataset.name, f"labels have shape {dataset.labels.shape}; needed: ({len(dataset)},)", code="data-labels"
        )
    return dataset


def check_options(threads: int | None, batch: int | None, noise: float, seed: int) -> None:
    """Refuse options that mean nothing."""
    limits = (
        ("--threads", threads is None or threads >= 1, threads, ">= 1"),
        ("--batch", batch is None or batch >= 1, batch, ">= 1"),
        ("--noise", 0.0 <= noise <= 1.0, noise, "0 to 1"),
        ("--seed", 0 <= seed < 1 << 63, seed, "0 to 2**63 - 1"),
    )
    for option, good, found, allowed in limits:
        if not good:
            raise UsageError(option, f"is {found}; allowed: {allowed}", code="option-range", found=found, allowed=allowed)
