"""The options that several functions share, as frozen values.

Each function takes them by keyword, as in ``chipsim.run(mapping, "mnist", limit=100)``, or as one value of the class that
stands beside it here; keywords take precedence over the fields of the value:

===============  =======================
`DataOptions`    `compare`, `history`
`EngineOptions`  `sweep`
`RunOptions`     `run`, `profile`
===============  =======================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, get_args

from chipsim import ranges
from chipsim.errors import UsageError

if TYPE_CHECKING:  # so that a command line starts quickly
    from pathlib import Path

    from chipsim.chip.avoid import Source as Avoid
    from chipsim.datasets import Split
    from chipsim.faults.spec import Source as Faults

EngineName = Literal["fast", "reference"]
#: kinds of faults, as keys of a file; `chipsim.faults` says what each is
FAULTS = (
    "noise", "dropped_packets", "dead_neurons", "stuck_synapses", "stuck_axons", "flipped_thresholds", "dead_cores",
    "dead_links",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images of a data set are used.

    Parameters
    ----------
    split : {"test", "train"}
    data_dir : path, optional
        Directory of the four MNIST files; by default they come from the cache or are downloaded.
    limit : int, optional
        Use at most this many images, the first of the data set; all by default.

    Raises
    ------
    UsageError
        An option is out of range.
    """

    split: Split = "test"
    data_dir: str | Path | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        from chipsim.datasets import check_limit, check_split

        check_split(self.split)
        check_limit(self.limit)


@dataclass(frozen=True, kw_only=True)
class EngineOptions(DataOptions):
    """How a data set is executed; none of the fields added here changes a result.

    Parameters
    ----------
    threads : int, optional
        Number of threads; all processors by default.
    batch : int, optional
        Images executed at a time; chosen by the engine by default.
    engine : {"fast", "reference"}
        ``reference`` is the cycle-by-cycle specification; ``fast`` gives the same results sooner.
    """

    threads: int | None = None
    batch: int | None = None
    engine: EngineName = "fast"

    def __post_init__(self) -> None:
        super().__post_init__()
        _count("--threads", self.threads, ranges.THREADS)
        _count("--batch", self.batch, ranges.BATCH)
        check_engine(self.engine)


@dataclass(frozen=True, kw_only=True)
class RunOptions(EngineOptions):
    """What is executed, and on which chip: healthy, noisy or broken.

    Parameters
    ----------
    noise : float
        Probability with which each encoder spike is lost.
    seed : int
        Seed of the noise, and of fault rates that specify none.
    faults : path, dict or Faults, optional
        Faults of the chip that the compiler did not know of: docs/faults.md.
    avoid : path or dict, optional
        Dead cores and links of the chip; a mapping that uses one of them is refused.
    """

    noise: float = 0.0
    seed: int = 0
    faults: Faults | None = None
    avoid: Avoid | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _in_range("--noise", 0.0 <= self.noise <= 1.0, self.noise, "0 to 1")
        check_seed(self.seed)


class DataKeywords(TypedDict, total=False):
    """The fields of `DataOptions` as keywords, for type checkers."""

    split: Split
    data_dir: str | Path | None
    limit: int | None


class EngineKeywords(DataKeywords, total=False):
    """The fields of `EngineOptions` as keywords, for type checkers."""

    threads: int | None
    batch: int | None
    engine: EngineName


class RunKeywords(EngineKeywords, total=False):
    """The fields of `RunOptions` as keywords, for type checkers."""

    noise: float
    seed: int
    faults: Faults | None
    avoid: Avoid | None


Options = TypeVar("Options", bound=DataOptions)


def merged(options: Options, keywords: Mapping[str, Any]) -> Options:
    """Return the options with the fields replaced that were given as keywords.

    Raises
    ------
    TypeError
        A keyword that is no option.
    UsageError
        A value is out of range.
    """
    return replace(options, **keywords)


def check_engine(name: str) -> None:
    """Refuse the name of an engine that does not exist."""
    names = get_args(EngineName)
    if name not in names:
        raise UsageError(
            "--engine", f"unknown engine {name!r}; expected {' or '.join(names)}", code="option-value", found=name
        )


def check_seed(seed: int) -> None:
    """Refuse a seed that is negative or larger than 63 bits."""
    _in_range("--seed", 0 <= seed < 1 << 63, seed, "0 to 2**63 - 1")


def _count(option: str, value: int | None, most: int) -> None:
    _in_range(option, value is None or 1 <= value <= most, value, f"1 to {most:,}")


def _in_range(option: str, good: bool, found: object, allowed: str) -> None:
    if not good:
        raise UsageError(option, f"is {found}; allowed: {allowed}", code="option-value", found=found, allowed=allowed)
