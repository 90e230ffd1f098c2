"""The part of a run's result that the pictures of its chip show, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

#: x, y of a router or core
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Core:
    """A core in use."""

    id: int
    at: Place
    layer: str
    sops: float  # an image; synapses, where nothing was run


@dataclass(frozen=True, slots=True)
class Link:
    """A link by the side at which flits leave a router, with flits per image."""

    at: Place
    side: str
    flits: float  # of the packets that cores send
    ingress: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Cycles per image of one tick, by increment."""

    layer: str
    increments: tuple[float, ...]

    @property
    def cycles(self) -> float:
        """Sum of the increments."""
        return sum(self.increments)


@dataclass(frozen=True, slots=True)
class Run:
    """A run on its chip; links and ticks are None without timing."""

    title: str
    images: int
    timing: str  # of what the timing is
    grid: tuple[int, int]  # columns, rows
    ports: tuple[Place, ...]
    dead_cores: tuple[Place, ...]
    dead_links: tuple[tuple[Place, Place], ...]
    cores: tuple[Core, ...]
    links: tuple[Link, ...] | None
    ticks: tuple[Tick, ...] | None
    clock_mhz: float | None
    conditions: str = ""  # noise, faults, a limit: what tells it from a run on a healthy chip
    made: str = ""  # what made it: versions, hashes, data set, engine, time
    quantity: str = "SOPs"  # of a core: SOPs of a run, or synapses or rows of a mapping that was not run
