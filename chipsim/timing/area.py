"""Compute the memory of a core and how much of it a mapping uses.

A core of a chip has, in bits:

- crossbar: axons * columns
- table: ``targets`` entries of (core, axon, delay)
- state: a potential and a threshold for each column, a partial potential where neurons are folded
- ring: (max_delay + 1) banks of max_fold * axons axon bits
- fifos: buffer_flits entries of the target table, which are what a flit carries, at each of its router's five inputs; none
  where the chip says nothing of its timing
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.engine.setup import open_mapping
from chipsim.mapping import Mapping

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

#: memories of a core
MEMORIES = ("crossbar", "table", "state", "ring", "fifos")
#: what may be full
LIMITS = ("axons", "columns", "targets")


def entry_bits(chip: ChipSpec) -> int:
    """Return the bits of a target table entry: core, axon at the widest fold, and delay."""
    sizes = (chip.grid[0] * chip.grid[1], chip.max_fold * chip.axons, chip.max_delay + 1)
    return sum((size - 1).bit_length() for size in sizes)


def memory_bits(chip: ChipSpec) -> dict[str, int]:
    """Return the bits of each of `MEMORIES` in a core of a chip."""
    return {
        "crossbar": chip.axons * chip.columns,
        "table": chip.targets * entry_bits(chip),
        "state": chip.columns * (chip.potential_bits + chip.threshold_bits),
        "ring": (chip.max_delay + 1) * chip.max_fold * chip.axons,
        "fifos": 5 * chip.timing.buffer_flits * entry_bits(chip) if chip.timing else 0,
    }


@dataclass(frozen=True, slots=True)
class LayerArea:
    """Utilisation of a layer's cores, 0 to 1: means over the cores, and of the fullest core."""

    name: str
    cores: int
    axons: float
    columns: float
    targets: float
    limiting: str  # the fullest of `LIMITS`, on the mean
    fullest: float  # its largest utilisation in a core
    replication: float  # axons for each source that the layer hears
    bits: int  # in use, all memories


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Memory and utilisation of a mapping on its chip."""

    mapping: Mapping
    used: Float  # (C, 3): share of `LIMITS` that each core uses
    bits: Int  # (C, 5): bits of `MEMORIES` that each core uses; the FIFOs are every packet's
    replication: float  # axons for each source that any core hears

    @property
    def limiting(self) -> list[str]:
        """The bottleneck among `LIMITS` of each core."""
        return [LIMITS[int(i)] for i in self.used.argmax(axis=1)]

    @property
    def layers(self) -> tuple[LayerArea, ...]:
        """Utilisation of each layer."""
        m = self.mapping
        layer_of_axon = np.repeat(m.core_layer, np.diff(m.axon_offset))
        found = []
        for number, layer in enumerate(m.layers):
            mine = m.core_layer == number
            mean = self.used[mine].mean(axis=0)
            most, (axons, columns, targets) = int(mean.argmax()), mean.tolist()
            heard = m.axon_source[layer_of_axon == number]
            found.append(
                LayerArea(
                    layer.name,
                    int(mine.sum()),
                    axons,
                    columns,
                    targets,
                    LIMITS[most],
                    float(self.used[mine, most].max()),
                    _replication(heard),
                    int(self.bits[mine].sum()),
                )
            )
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of ``chipsim area``."""
        m = self.mapping
        each = memory_bits(m.chip)
        cores = zip(m.core_layer.tolist(), self.used.tolist(), self.bits.tolist(), self.limiting, strict=True)
        return {
            "schema": "chipsim-area/1",
            "model_sha256": m.model_sha256,
            "chip": m.chip.name,
            "cores": m.cores,
            "cores_available": m.chip.cores,
            "bits_per_core": {**each, "entry": entry_bits(m.chip), "all": sum(each.values())},
            "bits_used": {**dict(zip(MEMORIES, self.bits.sum(axis=0).tolist(), strict=True)), "all": int(self.bits.sum())},
            "utilisation": dict(zip(LIMITS, self.used.mean(axis=0).tolist(), strict=True)),
            "replication": self.replication,
            "layers": [asdict(layer) for layer in self.layers],
            "per_core": [
                {
                    "id": number,
                    "layer": m.layers[layer].name,
                    **dict(zip(LIMITS, used, strict=True)),
                    "limiting": limiting,
                    "bits": dict(zip(MEMORIES, bits, strict=True)),
                }
                for number, (layer, used, bits, limiting) in enumerate(cores)
            ],
        }


def area(mapping: Mapping | str | Path) -> Area:
    """Report how much of each core's memory a mapping uses.

    Raises
    ------
    InputError, MappingError
    """
    m = open_mapping(mapping)
    chip = m.chip
    fold, bits = m.core_fold.astype(np.int64), m.core_weight_bits.astype(np.int64)
    axons, neurons = np.diff(m.axon_offset), np.diff(m.neuron_offset)
    entries = np.diff(m.target_offset[m.encoder_neurons + m.neuron_offset])
    columns = neurons * fold * bits
    used = np.stack([axons / (fold * chip.axons), columns / chip.columns, entries / chip.targets], axis=1)
    memory = np.stack(
        [
            axons * neurons * bits,
            entries * entry_bits(chip),
            neurons * (fold * bits * chip.potential_bits + chip.threshold_bits),
            axons * (chip.max_delay + 1),
            np.full(m.cores, memory_bits(chip)["fifos"]),
        ],
        axis=1,
    )
    return Area(m, used, memory.astype(np.int64), _replication(m.axon_source))


def _replication(heard: npt.NDArray[Any]) -> float:
    return len(heard) / max(1, len(np.unique(heard)))
