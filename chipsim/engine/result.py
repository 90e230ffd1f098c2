"""The result of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import ImageCounts, Int
from chipsim.engine.shared_counts import SharedCounts


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Counts of one layer over the run."""

    name: str
    neurons: int
    cores: int
    spikes: int
    sops: int
    rate: float  # spikes of a neuron in a step, on average


@dataclass(frozen=True, slots=True)
class CoreCount:
    """Counts of one core over the run."""

    id: int
    x: int
    y: int
    layer: str
    spikes: int
    sops: int
    axon_events: int


@dataclass(frozen=True, slots=True)
class Exceeded:
    """Images for which the model has a level beyond the highest that the user left an activation (--levels)."""

    images: int  # in one population or more
    layers: dict[str, int]  # for each population that is watched

    @staticmethod
    def of(names: tuple[str, ...], found: npt.NDArray[np.bool_]) -> Exceeded:
        """Count (images, populations)."""
        return Exceeded(int(found.any(axis=1).sum()), dict(zip(names, found.sum(axis=0).tolist(), strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """The result of a run, from which the JSON, the tables and the files are made; counts are totals."""

    model_sha256: str
    chip: str
    images: int
    accuracy: float | None
    ticks_per_image: int
    spikes: int
    encoder_spikes: int
    paper_sops: int | None
    sops: int
    axon_events: int
    column_operations: int
    packets: int
    relay_spikes: int
    relay_sops: int
    run_seconds: float
    load_seconds: float
    threads: int
    layers: tuple[LayerCount, ...]
    cores: tuple[CoreCount, ...]
    predictions: Int
    scores: npt.NDArray[np.float32]
    potentials: Int
    labels: Int | None
    engine: str = "reference"
    readout: str = "chip"  # who computes the last linear layer: ``chip`` or ``host``
    output_packets: int = 0  # spikes handed to the host, where it reads levels; they are among the packets
    faults: dict[str, Any] | None = None  # what was broken; None: nobody asked
    floorplan: dict[str, Any] | None = None  # grid, ports, dead cores and links of the chip
    counted_by_image: ImageCounts | SharedCounts | None = None  # where asked for: what `by_image` is made of
    image_spikes: Int | None = None  # (images,), the encoder's included, relays' not; where asked for
    steps: int = 1  # of a frame
    readout_of: str = "potential"  # what `potentials` are: of the last step, the largest of all steps, or counts of spikes
    exceeded: Exceeded | None = None  # None: no activation is limited, or the chip has faults
    unwatched: tuple[str, ...] = ()  # limited activations of which a run cannot tell where the model exceeds the limit
    missing_images: tuple[tuple[int, int], ...] = ()  # first and last of those that no worker could run: in no count
    trains: dict[str, npt.NDArray[np.uint8]] | None = None  # by population, (images, steps, *shape); where asked for
    made: Callable[[], dict[str, Any]] | None = None  # tells the provenance

    @property
    def by_image(self) -> ImageCounts | None:
        """Counts of each image, if requested; large arrays are kept in temporary files."""
        return None if self.counted_by_image is None else self.counted_by_image.whole()

    @property
    def image_paper_sops(self) -> Int | None:
        """Paper SOPs of each image, if requested."""
        return None if self.counted_by_image is None else self.counted_by_image.paper_sops

    @property
    def images_per_second(self) -> float:
        """Throughput from the encoder to the counters, without loading."""
        return self.images / self.run_seconds

    @property
    def provenance(self) -> dict[str, Any] | None:
        """What made the result: version, hashes, data set, options, time; None where a part of a run was put together."""
        return None if self.made is None else self.made()

    def to_json(self) -> dict[str, Any]:
        """Return the run's JSON: means per image, totals per core."""
        return {**self.figures(), **({} if self.made is None else {"provenance": self.provenance})}

    def figures(self) -> dict[str, Any]:
        """Return the run's JSON without its provenance."""
        from dataclasses import asdict

        n = self.images
        return {
            "schema": "chipsim-run/1",
            "model_sha256": self.model_sha256,
            "chip": self.chip,
            "images": n,
            "accuracy": self.accuracy,
            "ticks_per_image": self.ticks_per_image,
            "steps": self.steps,
            "readout_of": self.readout_of,
            "spikes_per_image": self.spikes / n,
            "encoder_spikes_per_image": self.encoder_spikes / n,
            "paper_spikes_per_image": (self.spikes + self.encoder_spikes) / n,
            "sops_per_image": self.sops / n,
            "spikes_per_step": self.spikes / n / self.steps,
            "sops_per_step": self.sops / n / self.steps,
            "paper_sops_per_image": None if self.paper_sops is None else self.paper_sops / n,
            "axon_events_per_image": self.axon_events / n,
            "column_operations_per_image": self.column_operations / n,
            "packets_per_image": self.packets / n,
            "relay_spikes_per_image": self.relay_spikes / n,
            "relay_sops_per_image": self.relay_sops / n,
            "images_per_second": self.images_per_second,
            "load_seconds": self.load_seconds,
            "threads": self.threads,
            "engine": self.engine,
            "readout": self.readout,
            "output_packets_per_image": self.output_packets / n,
            "levels_exceeded": None if self.exceeded is None else asdict(self.exceeded),
            "levels_unwatched": list(self.unwatched),
            "faults": self.faults,
            **({"missing_images": [list(each) for each in self.missing_images]} if self.missing_images else {}),
            **self._outcomes(),
            "timing": None,  # a run has no time: chipsim.timing.profile
            "energy": None,
            "floorplan": self.floorplan,
            "layers": [asdict(layer) for layer in self.layers],
            "cores": [asdict(core) for core in self.cores],
        }

    def _outcomes(self) -> dict[str, Any]:
        """Return the confusion matrix and the worst images; None without labels."""
        if self.labels is None:
            return {"confusion": None, "worst_images": None}
        from chipsim.engine.outcomes import confusion, worst

        return {
            "confusion": confusion(self.labels, self.predictions),
            "worst_images": worst(self.labels, self.predictions, self.scores),
        }
