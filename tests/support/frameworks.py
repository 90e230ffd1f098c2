"""The NIR files and spike trains that the frameworks wrote: tests/frameworks/make.py."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).parents[1] / "frameworks"
STEPS = 16


@dataclass(frozen=True, slots=True)
class Example:
    """A file, and what has to be said of it."""

    name: str
    semantics: str
    settings: dict[str, object] = field(default_factory=dict)
    many: bool = False  # several spikes a step, which is refused

    def write(self, directory: Path) -> Path:
        """Write the NIR file."""
        path = directory / f"{self.name}.nir"
        path.write_bytes(gzip.decompress((DIRECTORY / f"{self.name}.nir.gz").read_bytes()))
        return path

    def trains(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """The input's spikes and those of each layer, uint8 (N, steps, ...)."""
        with np.load(DIRECTORY / f"{self.name}.npz") as file:
            return file["spikes"], [file[f"layer_{i}"] for i in range(2)]


EXAMPLES = (
    Example("snntorch_mlp", "snntorch"),
    Example("snntorch_mlp_leak", "snntorch"),
    Example("snntorch_mlp_zero", "snntorch-zero"),
    Example("snntorch_mlp_none", "snntorch", {"reset": "none"}),
    Example("snntorch_mlp_at_once", "snntorch", {"reset": "subtract"}),
    Example("snntorch_cnn", "snntorch"),
    Example("snntorch_cnn_leak", "snntorch"),
    Example("sinabs_mlp", "sinabs-single"),
    Example("sinabs_mlp_leak", "sinabs-single", {"gain_lif": "one"}),
    Example("sinabs_mlp_leak_normed", "sinabs-single", {"gain_lif": "leak"}),
    Example("sinabs_cnn", "sinabs-single"),
    Example("sinabs_cnn_leak", "sinabs-single", {"gain_lif": "one"}),
    Example("sinabs_mlp_bounded", "sinabs"),
    Example("sinabs_mlp_many", "sinabs", many=True),
    Example("norse_mlp", "norse"),
    Example("norse_mlp_leak", "norse"),
    Example("norse_cnn", "norse"),
    Example("norse_cnn_leak", "norse"),
    Example("spikingjelly_mlp", "spikingjelly"),
    Example("spikingjelly_mlp_reset", "spikingjelly"),
    Example("spikingjelly_mlp_leak", "spikingjelly"),
    Example("spikingjelly_mlp_leak_full", "spikingjelly"),
    Example("spikingjelly_cnn", "spikingjelly"),
    Example("spikingjelly_cnn_leak", "spikingjelly"),
    Example("rockpool_mlp_leak", "rockpool", {"dt": 1e-3}),
    Example("rockpool_mlp_many", "rockpool", {"dt": 1e-3}, many=True),
    Example("spyx_mlp", "spyx"),
    Example("spyx_mlp_leak", "spyx"),
    Example("spyx_cnn", "spyx"),
    Example("spyx_cnn_leak", "spyx"),
)
