"""Results of compiling a network: `Compilation` if it fits the chip, `FailedCompilation` if it does not; `Estimate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chipsim.chip import AnyChip
from chipsim.mapping import Mapping as ChipMapping
from chipsim.mapping.write import Ahead
from chipsim.mapping.write import to_bytes as map_bytes
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreLayer
from qsnnc.ir.layers import LayerGraph
from qsnnc.lower.codes import Code
from qsnnc.lower.neurons import NeuronLayer
from qsnnc.partition.advice import Alternative
from qsnnc.place.positions import Placement

if TYPE_CHECKING:
    from chipsim.paicore import Program
    from qsnnc.nir.integerize import Rounded
    from qsnnc.nir.layers import Agreement


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CheckResult:
    """What is known of a network on a chip, whether it fits or not."""

    chip: AnyChip
    graph: LayerGraph
    neurons: tuple[NeuronLayer, ...]  # empty where cores are estimated
    layers: tuple[CoreLayer, ...]
    seconds: dict[str, float]  # by stage
    code: Code | None = None  # of the image's pixels, where they enter the chip
    rounded: Mapping[str, Rounded] = field(default_factory=dict)  # layers of a NIR file whose weights were rounded
    agreement: Agreement | None = None  # what that does to the spikes, on random frames

    @property
    def cores(self) -> int:
        """Number of cores; a layer that was not laid out counts with its lower bound."""
        return sum(entry.cores for entry in self.layers)

    @property
    def cores_bound(self) -> int:
        """Sum of the layers' lower bounds."""
        return sum(entry.bound for entry in self.layers)

    @property
    def fits(self) -> bool:
        """Whether the network fits the chip."""
        return not self.violations

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Limits of the chip that are exceeded, root causes first: none if it fits."""
        return ()

    @property
    def estimated(self) -> bool:
        """Whether cores follow from shapes and level ranges, because the network is very large."""
        return False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Compilation(CheckResult):
    """A network on a chip: its mapping, and where its cores are.

    ``chipsim.write_mapping(compilation.mapping, "lenet.map")`` writes it.
    """

    mapping: ChipMapping | Program  # a chip of kind paicore takes a `Program`: its configuration words
    placement: Placement | None  # None where cores have no positions to choose by traffic
    ahead: Ahead | None = None  # of the mapping, what was deflated while cores were placed

    def to_bytes(self) -> bytes:
        """Return the file: a ``.map``, or a ``.paicore``."""
        if isinstance(self.mapping, ChipMapping):
            return map_bytes(self.mapping, self.ahead)
        from chipsim.paicore import to_bytes as paicore_bytes

        return paicore_bytes(self.mapping)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Estimate(CheckResult):
    """A network that seems to fit a chip, and is too large to be laid out only to be counted: its cores are estimated."""

    @property
    def estimated(self) -> bool:
        """Whether cores follow from shapes and level ranges: they do."""
        return True


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FailedCompilation(CheckResult):
    """A network that does not fit a chip: every limit that it exceeds, root causes first."""

    violations: tuple[Violation, ...]
    estimated: bool = False
    alternatives: tuple[Alternative, ...] = ()  # what fewer levels, narrower weights and a larger grid would take
