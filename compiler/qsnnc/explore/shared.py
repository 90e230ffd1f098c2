"""Compile for chip after chip, and make what they have in common once.

The cores of a network, and what they send, are the same on chips that differ in grid, ports and dead places, or in
`UNCOMPILED`; their positions are the same on chips that differ in `UNCOMPILED` alone; and the packets where multicast is the
same too. What was made last is kept, so chips that share much are best asked for one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.datasets import Dataset
from chipsim.mapping import Mapping
from chipsim.tasks import Recent
from chipsim.timing.plan import Plan, plan, replanned
from qsnnc.compilation import Compilation, FailedCompilation
from qsnnc.ir.layers import LayerGraph, verify_layers
from qsnnc.options import BackendOptions
from qsnnc.partition.layout import Layout, lay_out, lay_out_again, least, may_be_short, short_of
from qsnnc.pipeline import place_layout
from qsnnc.stages import Stages

#: sections and keys of a chip that the compiler does not look at
UNCOMPILED = ("timing", "energy", "clock_mhz", "name", "description", "hypothetical", "provenance")
#: those that matter only where cores are placed; of the grid its size matters before
PLACED = ("grid", "ports", "dead_cores", "dead_links")


def cores_key(chip: ChipSpec) -> str:
    """Return what determines the cores of a network on a chip, if there are enough of them."""
    return chip.model_dump_json(exclude={*UNCOMPILED, *PLACED})


def places_key(chip: ChipSpec) -> str:
    """Return what determines a mapping."""
    return chip.model_dump_json(exclude={*UNCOMPILED})


@dataclass(slots=True)
class _Cores:
    """The cores of a network, for all chips that have such cores."""

    chip: ChipSpec  # that they were laid out for
    layout: Layout
    seconds: dict[str, float]
    mapping: Mapping | None = None  # on some grid
    spikes: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)  # by the name of the images


@dataclass(slots=True)
class _Places:
    """The compilation for chips that differ in `UNCOMPILED` alone, and what is sent in it, by whether it is multicast."""

    found: Compilation | FailedCompilation
    cores: _Cores
    plans: dict[bool, Plan] = field(default_factory=dict)


class Shared:
    """Compilations of networks, which are named by hashes, for one chip after the other."""

    def __init__(self) -> None:
        self._verified: Recent[None] = Recent(2)
        self._least: Recent[tuple[Layout, dict[str, float]]] = Recent(2)
        self._cores: Recent[_Cores] = Recent(2)
        self._places: Recent[_Places] = Recent(2)

    def compiled(self, name: str, graph: LayerGraph, chip: ChipSpec) -> Compilation | FailedCompilation:
        """Return what `qsnnc.pipeline.check_layers` returns; seconds of what was made before are counted for each chip.

        A chip that has too few cores by the lower bounds of a large network is refused without laying it out: cores are
        then the bounds, and a layer whose neurons have too many targets is not found.
        """
        found = self._short(name, graph, chip) or self._placed(name, graph, chip).found
        if isinstance(found, FailedCompilation):
            return replace(found, chip=chip)
        assert isinstance(found.mapping, Mapping)
        return replace(found, chip=chip, mapping=replace(found.mapping, chip=chip))

    def spikes(self, name: str, graph: LayerGraph, chip: ChipSpec, images: Dataset, digest: str) -> npt.NDArray[np.uint8]:
        """Return what the mapping for a chip sends in some images, as `chipsim.timing.profile.recorded`."""
        from chipsim.timing.profile import recorded

        cores = self._placed(name, graph, chip).cores
        if digest not in cores.spikes:
            assert cores.mapping is not None, "it was compiled"
            cores.spikes = {digest: recorded(cores.mapping, images)}
        return cores.spikes[digest]

    def plan(self, name: str, graph: LayerGraph, chip: ChipSpec) -> Plan:
        """Return the packets of the mapping for a chip: what `chipsim.timing.plan.plan` returns.

        Raises
        ------
        InputError
            The chip cannot be timed.
        """
        places = self._placed(name, graph, chip)
        mapping = places.found.mapping if isinstance(places.found, Compilation) else None
        assert isinstance(mapping, Mapping), "it fits"
        multicast = chip.timing is not None and chip.timing.multicast
        if multicast not in places.plans:
            places.plans[multicast] = plan(replace(mapping, chip=chip))
        return replanned(places.plans[multicast], chip)

    def _short(self, name: str, graph: LayerGraph, chip: ChipSpec) -> FailedCompilation | None:
        """Refuse a chip that is far too small for a large network; whatever was made before, the answer is the same."""
        self._verified.get(name, lambda: verify_layers(graph))
        if not may_be_short(graph, chip):
            return None

        def bound() -> tuple[Layout, dict[str, float]]:
            stages = Stages()
            with stages.stage("bound"):
                return least(graph, chip), stages.seconds

        bounds, seconds = self._least.get((name, cores_key(chip)), bound)
        layout = short_of(bounds, chip)
        if layout is None:
            return None
        return FailedCompilation(
            chip=chip, graph=graph, neurons=(), layers=layout.layers, seconds=dict(seconds), violations=layout.violations
        )

    def _placed(self, name: str, graph: LayerGraph, chip: ChipSpec) -> _Places:
        def place() -> _Places:
            cores = self._cores.get((name, cores_key(chip)), lambda: _lay_out(graph, chip))
            again = lay_out_again(cores.layout, cores.chip, chip)
            if again is None:  # for the chips before there were too few cores to write them out
                cores = self._cores.put((name, cores_key(chip)), _lay_out(graph, chip))
                again = cores.layout
            stages = Stages(dict(cores.seconds))
            found = place_layout(again, chip, BackendOptions(), stages, cores.mapping)
            if isinstance(found, Compilation):
                assert isinstance(found.mapping, Mapping), "of a crossbar chip"
                cores.mapping = found.mapping
            return _Places(found, cores)

        return self._places.get((name, places_key(chip)), place)


def _lay_out(graph: LayerGraph, chip: ChipSpec) -> _Cores:
    stages = Stages()
    return _Cores(chip, lay_out(graph, chip, stage=stages.stage), stages.seconds)
