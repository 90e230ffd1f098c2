"""Compare the integer network of a NIR file with the file in floats, under the same semantics, without a chip."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.errors import InputError
from chipsim.mapping.pixels import prepare
from qsnnc.nir.layers import Agreement, SpikingNetwork, agreement, random_frames
from qsnnc.options import FrontendKeywords, FrontendOptions, merged
from qsnnc.reading import spiking_front
from qsnnc.stages import Stages

#: random frames, where no data are given
RANDOM_FRAMES = 100


@dataclass(frozen=True, slots=True, eq=False)
class SpikingVerification:
    """The result: what was compared, and what differs."""

    model_sha256: str
    steps: int
    rounded: dict[str, Any]  # layers whose weights were rounded on request
    found: Agreement

    @property
    def equal(self) -> bool:
        """Whether every spike, and every potential that is read out, is equal."""
        return self.found.equal

    def passes(self, *, strict: bool = False) -> bool:
        """Return whether nothing differs that nobody asked for: rounded weights change spikes."""
        return self.equal or (bool(self.rounded) and not strict)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "schema": "qsnnc-verify-spikes/1",
            "model_sha256": self.model_sha256,
            "equal": self.equal,
            "steps": self.steps,
            "samples": self.found.frames,
            "differences": sum(self.found.differences.values()),
            "layers": {
                name: {"differences": count, "agreement": self.found.layers[name]}
                for name, count in self.found.differences.items()
            },
            "predictions_changed": round((1 - self.found.predictions) * self.found.frames),
            "accuracy": {"model": self.found.model, "integer": self.found.integer},
            "weight_bits": {name: asdict(each) for name, each in self.rounded.items()} or None,
        }

    def lines(self, name: str) -> list[str]:
        """Say what was compared, layer by layer where something differs."""
        found = self.found
        compared = f"{found.frames:,} frames of {name}, {self.steps} steps, {', '.join(found.layers)}"
        if self.equal:
            lines = [f"equal: every spike of {compared}"]
        else:
            shares = ", ".join(f"{layer} {100 * share:.3f} %" for layer, share in found.layers.items())
            lines = [f"different: {compared}; equal entries: {shares}; equal predictions: {100 * found.predictions:.2f} %"]
        if found.model is not None and found.integer is not None:
            lines.append(f"accuracy: {100 * found.model:.2f} % in floats, {100 * found.integer:.2f} % in integers")
        return lines


def verify_spiking(
    path: str,
    data: Dataset | None = None,
    *,
    limit: int = RANDOM_FRAMES,
    seed: int = 0,
    options: FrontendOptions | None = None,
    **keywords: Unpack[FrontendKeywords],
) -> SpikingVerification:
    """Compare a NIR file in floats with its integer network.

    Parameters
    ----------
    data : Dataset, optional
        Images, spikes or events; without it random spikes enter.
    limit, seed : int
        Number and seed of the random frames.

    Raises
    ------
    ModelError, UsageError, InputError
    """
    network = spiking_front(path, merged(options or FrontendOptions(), keywords), Stages())
    frames = random_frames(network, limit, seed) if data is None else _frames(network, data)
    labels = None if data is None else data.labels
    integers = network.integers
    return SpikingVerification(
        network.graph.model_sha256, network.graph.steps, dict(integers.rounded), agreement(network, frames, labels)
    )


def _frames(network: SpikingNetwork, data: Dataset) -> npt.NDArray[np.integer[Any]]:
    """Return what enters the chip for each image of a data set."""
    graph = network.graph
    given = prepare(data.images[: len(data)], graph.input, data.name, graph.steps, range(len(data)))
    if graph.encoder_onnx is not None:
        from qsnnc.frontend.model.reference import session

        given = np.asarray(session(graph.encoder_onnx).run(["levels"], {graph.input.name: given})[0])
    if not np.isin(given, (0, 1)).all():
        raise InputError(data.name, "spikes must be 0 or 1", code="data-spikes")
    return given
