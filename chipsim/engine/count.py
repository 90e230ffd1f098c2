"""Count spikes, SOPs and events; every count is linear in how often each source fired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from chipsim.mapping import Mapping
from chipsim.mapping.totals import axon_sops

Int = npt.NDArray[np.int64]
Counts32 = npt.NDArray[np.int32]
Latch = Callable[[slice], npt.NDArray[np.integer]]
#: sources whose spikes are held as floats at a time
SHARE = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Totals over a run."""

    encoder_spikes: int
    paper_sops: int | None  # None where no source drives a convolution
    packets: int
    core_spikes: Int  # (cores,)
    core_sops: Int
    core_events: Int


@dataclass(frozen=True, slots=True, eq=False)
class ImageCounts:
    """Counts of each image of a batch."""

    encoder_spikes: Int  # (images,)
    paper_sops: Int  # (images,)
    spikes: Counts32  # (images, cores)
    sops: Counts32
    events: Counts32

    def silenced(self, silent: npt.NDArray[np.bool_]) -> ImageCounts:
        """The same, but for cores, (cores,), whose spikes and SOPs are in no count of the network."""
        self.spikes[:, silent], self.sops[:, silent] = 0, 0
        return self

    def arrays(self) -> dict[str, npt.NDArray[np.integer]]:
        """All of them, a row for each image."""
        return {name: getattr(self, name) for name in IMAGE_COUNTS}

    def sent(self) -> Int:
        """Spikes of each image, (images,), with those of the encoder."""
        return np.asarray(self.encoder_spikes + self.spikes.sum(axis=1, dtype=np.int64))

    def of(self, kind: str, images: slice) -> Counts32:
        """``spikes``, ``sops`` or ``events`` of some images, (images, cores)."""
        return np.asarray(getattr(self, kind)[images])

    def whole(self) -> ImageCounts:
        """All that is asked for: itself."""
        return self


IMAGE_COUNTS = tuple(entry.name for entry in fields(ImageCounts))


def count(m: Mapping, totals: Int, arrivals: Int | None = None) -> Counts:
    """Count a run from how often each source fired and, if spikes are lost, how often each axon was set."""
    arrivals = totals[m.axon_source] if arrivals is None else arrivals
    paper = m.dense_fanout.astype(np.int64)
    return Counts(
        encoder_spikes=int(totals[: m.encoder_neurons].sum()),
        paper_sops=2 * int(totals @ paper) if paper.any() else None,
        packets=int(totals @ np.diff(m.target_offset)),
        core_spikes=sums(totals[m.encoder_neurons :], m.neuron_offset),
        core_sops=sums(arrivals * sops_per_spike(m), m.axon_offset),
        core_events=sums(arrivals, m.axon_offset),
    )


def count_images(m: Mapping, spikes: npt.NDArray[np.integer], latch: Latch | None = None) -> ImageCounts:
    """Count each image from the spikes (sources, images), core by core; ``latch`` returns the bits of some axons.

    Spikes and bits of several steps are added up: how often each source fired in a frame, how often each bit was set.
    """
    images = spikes.shape[1]
    fired, sops, events = (np.zeros((images, m.cores), np.int32) for _ in range(3))
    weight = sops_per_spike(m).astype(np.int32)
    for core in range(m.cores):
        neurons = slice(*(m.encoder_neurons + m.neuron_offset[core : core + 2]).tolist())
        axons = slice(*m.axon_offset[core : core + 2].tolist())
        arrived = (spikes[m.axon_source[axons]] if latch is None else latch(axons)).astype(np.int32)
        fired[:, core] = spikes[neurons].sum(axis=0)
        sops[:, core] = weight[axons] @ arrived
        events[:, core] = arrived.sum(axis=0)
    encoder = spikes[: m.encoder_neurons].sum(axis=0, dtype=np.int64)
    return ImageCounts(encoder, paper_sops(m.dense_fanout, spikes), fired, sops, events)


def paper_sops(fanout: npt.NDArray[np.int32] | Int, fired: npt.NDArray[np.integer]) -> Int:
    """Count the paper SOPs of each image, some of the sources (or values) at a time."""
    paper = np.zeros(fired.shape[1])
    for start in range(0, len(fired), SHARE):
        part = slice(start, start + SHARE)
        paper += fanout[part].astype(np.float64) @ fired[part].astype(np.float64)
    return np.asarray(2 * paper.astype(np.int64))


def sops_per_spike(m: Mapping) -> Int:
    """Count the SOPs of one spike on each axon of a mapping, (A,)."""
    rows = np.concatenate([axon_sops(m.crossbar(k)) for k in range(len(m.crossbar_shape))])
    first = np.concatenate([[0], np.cumsum(m.crossbar_shape[:, 0])])[m.core_crossbar]
    core = np.repeat(np.arange(m.cores), np.diff(m.axon_offset))
    return np.asarray(rows[np.arange(len(m.axon_source)) - m.axon_offset[core] + first[core]], np.int64)


def sums(values: Int, offset: Int) -> Int:
    """Sum the values between consecutive offsets; an empty range gives 0."""
    return np.asarray(np.diff(np.concatenate([[0], np.cumsum(values)])[offset]), np.int64)
