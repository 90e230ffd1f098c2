"""The result of timing a sample, from which the JSON, the tables and the figures are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chipsim.chip.routes import SIDES
from chipsim.mapping import Mapping
from chipsim.timing import energy
from chipsim.timing.network.mesh import Int
from chipsim.timing.plan import Plan
from chipsim.timing.record import STATIC, Network, Work, between_routers
from chipsim.timing.tick import INCREMENTS, Mode

Float = npt.NDArray[np.float64]
INGRESS = "ingress"


@dataclass(frozen=True, slots=True)
class Link:
    """A link between two routers: the side by which flits leave the router at x, y, and flits per image."""

    x: int
    y: int
    side: str
    load: float


@dataclass(frozen=True, slots=True)
class CriticalCore:
    """The core of a layer that finishes last without contention; means per image."""

    id: int
    x: int
    y: int
    cycles: float  # until it had swept and handed out its last packet
    input_cycles: float  # T_in
    packets: float


def name_of(layers: Iterable[str], *, enters: bool) -> str:
    """Return the name of a tick, by the layers that are at work in it."""
    return " + ".join([*([INGRESS] if enters else []), *layers]) or "nothing"


@dataclass(frozen=True, slots=True)
class TickResult:
    """One tick of a frame that is alone on the chip; means per image."""

    number: int
    enters: bool  # whether a step of the frame enters
    layers: tuple[str, ...]
    cores: int
    cycles: float
    increments: dict[str, float]  # of `INCREMENTS`, adding up to the cycles
    packets: float
    hops: float
    core: CriticalCore | None  # None where no core is at work
    link: Link | None  # the busiest; None where no packet crosses one
    queue_peak: int  # most flits that an input of a router held, in any image
    queue_mean: float  # flits in the routers, mean over the tick
    stalls: float  # cycles in which a packet was ready and there was no credit for it

    @property
    def name(self) -> str:
        """Name of the tick: the ingress, while spikes enter, and its layers."""
        return name_of(self.layers, enters=self.enters)

    @property
    def bound(self) -> str:
        """The largest increment."""
        return max(INCREMENTS, key=lambda name: self.increments[name])


@dataclass(frozen=True, slots=True)
class Spread:
    """Summary of a quantity over images; ``ci95`` is half the width of the mean's 95 % interval, None for one image."""

    mean: float
    ci95: float | None
    p50: float
    p99: float

    @classmethod
    def of(cls, values: Int | Float) -> Spread:
        """Summarise; the interval is 1.96 standard errors to either side."""
        count = len(values)
        ci95 = 1.96 * float(np.std(values, ddof=1)) / count**0.5 if count > 1 else None
        p50, p99 = np.percentile(values, [50, 99]).tolist()
        return cls(float(np.mean(values)), ci95, p50, p99)

    def to_json(self) -> dict[str, float | None]:
        """Return its fields."""
        return {"mean": self.mean, "ci95": self.ci95, "p50": self.p50, "p99": self.p99}


@dataclass(frozen=True, eq=False)
class Profile:
    """Cycles and energy of a sample of a data set. Arrays by image are in the order of ``sample``."""

    plan: Plan
    mode: Mode
    sample: Int  # (images,): their numbers in the data set
    images_in_all: int
    models: Int  # (images, ticks, 6): nested models of each tick, chipsim.timing.tick
    stream_models: Int  # (images, 6): of the ticks of the stream, as many as a frame has steps
    networks: tuple[Network, ...]  # of each tick, over the sample
    work: Work
    seconds: float
    threads: int

    @property
    def mapping(self) -> Mapping:
        """The mapping that was timed."""
        return self.plan.mapping

    @property
    def images(self) -> int:
        """Size of the sample."""
        return len(self.sample)

    @property
    def tick_cycles(self) -> Int:
        """(images, ticks)."""
        return self.models[:, :, -1]

    @property
    def cycles(self) -> Int:
        """(images,): latency of a frame that is alone on the chip."""
        return np.asarray(self.tick_cycles.sum(axis=1))

    @property
    def chip_cycles(self) -> Int:
        """(images,): of the ticks after the ingress, in which no more spikes enter."""
        return np.asarray(self.tick_cycles[:, self.mapping.steps :].sum(axis=1))

    @property
    def interval_cycles(self) -> Int:
        """(images,): from a frame of the stream to the next, as many ticks as a frame has steps."""
        return self.stream_models[:, -1]

    @property
    def increments(self) -> Int:
        """(images, ticks, 6): what each of `INCREMENTS` adds."""
        return np.diff(self.models, axis=2, prepend=0)

    @property
    def stream_increments(self) -> Int:
        """(images, 6)."""
        return np.diff(self.stream_models, axis=1, prepend=0)

    @property
    def images_per_second(self) -> float:
        """Speed of the simulation, spikes, frames and stream together."""
        return self.images / self.seconds

    def seconds_of(self, cycles: float) -> float:
        """Cycles at the chip's clock."""
        return cycles / (self.plan.chip.clock_mhz * 1e6)

    @cached_property
    def ticks(self) -> tuple[TickResult, ...]:
        """Each tick of a frame, means per image."""
        return tuple(self._tick(number) for number in range(self.mapping.frame_ticks))

    @cached_property
    def busiest_link(self) -> Link | None:
        """The link with the most flits of a frame that cores sent; the host's packets are not among them."""
        return self.busiest(self.chip_links)

    @property
    def host_links(self) -> Int:
        """(R, 4): flits of the host's packets through each link over the sample."""
        return between_routers(self.work.entering, self.plan.mesh)

    @property
    def chip_links(self) -> Int:
        """(R, 4): flits of the cores' packets through each link over the sample."""
        return np.asarray(np.sum([network.links(self.plan.mesh) for network in self.networks], axis=0) - self.host_links)

    @property
    def stream_busiest_link(self) -> Link | None:
        """The link with the most flits in a tick of the stream, on average."""
        return self.busiest(np.asarray(np.sum([network.links(self.plan.mesh) for network in self.networks], axis=0)))

    def busiest(self, links: Int) -> Link | None:
        """The busiest link of loads (R, 4) over the sample."""
        if not links.size or not links.any():
            return None
        router, side = divmod(int(links.argmax()), links.shape[1])
        y, x = divmod(router, self.plan.mesh.width)
        return Link(x, y, SIDES[side], float(links[router, side]) / self.images)

    def _tick(self, number: int) -> TickResult:
        plan, network, n = self.plan, self.networks[number], self.images
        cores, steps = plan.at_work(number), plan.mapping.steps
        cycles = float(self.tick_cycles[:, number].mean())
        increments = self.increments[:, number].mean(axis=0).tolist()
        return TickResult(
            number=number,
            enters=number < steps,
            layers=tuple(layer.name for layer in plan.mapping.layers if layer.tick <= number < layer.tick + steps),
            cores=len(cores),
            cycles=cycles,
            increments=dict(zip(INCREMENTS, increments, strict=True)),
            packets=float(self.work.tick_packets[number]) / n,
            hops=float(self.work.tick_hops[number]) / n,
            core=self.critical_core(cores),
            link=self.busiest(network.links(plan.mesh)),
            queue_peak=int(network.queue_peak.max(initial=0)),
            queue_mean=float(network.queue_cycles.sum()) / max(1.0, cycles * n),
            stalls=float(network.stalls.sum()) / n,
        )

    def critical_core(self, cores: Int) -> CriticalCore | None:
        """Return the core that takes longest, on average over images and steps."""
        if not len(cores):
            return None
        work, n = self.work, self.images * self.mapping.steps
        core = int(cores[work.done_cycles[cores].argmax()])
        x, y = self.mapping.core_position[core].tolist()
        cycles, reading, packets = (int(of[core]) / n for of in (work.done_cycles, work.input_cycles, work.sent))
        return CriticalCore(core, x, y, cycles, reading, packets)

    @property
    def image_energy(self) -> Float:
        """(images, 8): picojoules by part of each image, alone on the chip."""
        return energy.spent(self.work.image, self.plan.chip)

    @property
    def parts(self) -> Float:
        """(8,): picojoules by part, the mean image, alone on the chip."""
        return energy.spent(self.work.image.sum(axis=0), self.plan.chip) / self.images

    @property
    def stream_parts(self) -> Float:
        """(8,): the same in a stream: static power for an interval only."""
        counts = self.work.image.sum(axis=0)
        counts[STATIC] = self.interval_cycles.sum()
        return energy.spent(counts, self.plan.chip) / self.images

    @property
    def core_energy(self) -> Float:
        """(C + 1, 8): picojoules per image by core, hops of its packets included; the host is last; no static energy."""
        return energy.spent(self.work.core, self.plan.chip) / self.images

    @property
    def layer_energy(self) -> Float:
        """(layers + 1, 8): the same by layer; the host's last."""
        owner = np.append(self.mapping.core_layer, len(self.mapping.layers))
        found = np.zeros((len(self.mapping.layers) + 1, 8))
        np.add.at(found, owner, self.core_energy)
        return found

    def by_image(self) -> dict[str, Int | Float]:
        """Return the arrays that ``--per-image`` adds, images in the order of the sample.

        ``timing_images`` are their numbers in the data set; ``increments`` (images, ticks, 6) those of each tick of a frame
        that is alone on the chip, in the order of `INCREMENTS`, adding up to its cycles; ``stream_increments`` (images, 6)
        those of the ticks of a stream; ``energy_pj`` (images, 8) the parts of `chipsim.timing.record.PARTS`.
        """
        return {
            "timing_images": self.sample,
            "increments": self.increments,
            "stream_increments": self.stream_increments,
            "energy_pj": self.image_energy,
        }
