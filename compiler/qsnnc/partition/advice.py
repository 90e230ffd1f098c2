"""What would help a network that needs more cores than its chip has: each change with the cores that it leads to.

Every number comes from the same count as that of the network itself (`qsnnc.partition.layout.lay_out`), applied to the
changed network, so it is what ``qsnnc check`` says of that network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreLayer
from qsnnc.ir.layers import LayerGraph
from qsnnc.partition.estimate import sizes

#: largest levels of 4-bit and 2-bit activations
NARROWER = (15, 3)
#: widths that weights can be quantized to
WIDTHS = (2, 4, 8)
#: narrower weights alone are counted where they would have to save at most so many times what they can
HOPELESS = 4
#: largest side of a grid
MOST_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Counted:
    """How many cores a network takes."""

    cores: int  # of the layers that fit on a core
    estimated: bool
    beyond: int = 0  # layers that fit on no core


@dataclass(frozen=True, slots=True)
class Alternative:
    """A changed network or chip, and the cores that it takes."""

    levels: int | None  # largest level of every activation on the chip; None: unchanged
    weight_bits: int | None  # bits of all weights; None: unchanged
    cores: int
    estimated: bool
    beyond: int  # layers that fit on no core
    grid: tuple[int, int] | None  # columns and rows that hold it, where the chip does not; None: it fits, or none is known
    fits: bool

    @property
    def change(self) -> str:
        """What is changed, in words."""
        parts = []
        if self.levels is not None:
            parts.append(f"{self.levels} level{'s' if self.levels > 1 else ''}")
        if self.weight_bits is not None:
            parts.append(f"{self.weight_bits}-bit weights")
        return " and ".join(parts) or "a larger grid"

    def __str__(self) -> str:
        about = "about " if self.estimated else ""
        grid = f" (a grid of {self.grid[0]} x {self.grid[1]})" if self.grid else ""
        return f"{about}{self.cores:,} cores with {self.change}{grid}"


def alternatives(
    graph: LayerGraph,
    layers: tuple[CoreLayer, ...],
    chip: ChipSpec,
    now: Counted,
    changed: Callable[[int | None, int | None], Counted | None],
) -> Iterator[Alternative]:
    """Count what larger grids, fewer levels and narrower weights lead to, until a change fits.

    Parameters
    ----------
    graph, layers : LayerGraph, tuple of CoreLayer
        The network as it is, and what its layers take.
    now : Counted
        Its cores.
    changed : callable
        Counts the network with that largest level of every activation and that many bits of its weights; None where it
        cannot be changed so.
    """
    grid = holding(chip, now)
    if grid:
        yield Alternative(None, None, now.cores, now.estimated, 0, grid, fits=False)
    for group in _changes(graph, layers, chip, now):
        for levels, bits in group:
            found = changed(levels, bits)
            if found is None or (found.cores >= now.cores and found.beyond >= now.beyond):
                continue  # no help
            fits = not found.beyond and found.cores <= chip.cores
            wanted = None if fits else holding(chip, found)
            yield Alternative(levels, bits, found.cores, found.estimated, found.beyond, wanted, fits)
            if fits:
                return


def _changes(
    graph: LayerGraph, layers: tuple[CoreLayer, ...], chip: ChipSpec, now: Counted
) -> list[list[tuple[int | None, int | None]]]:
    """Changes to try, the smallest first: narrower weights, fewer levels, fewer levels and narrower weights.

    Weights are narrowed below those of the layer that takes most cores.
    """
    wide = max(layers, key=lambda entry: entry.cores).weight_bits
    bits = max((width for width in WIDTHS if width < wide and width in chip.weight_bits), default=None)
    most = max(entry.levels for entry in (graph.encoder, *graph.layers))
    found: list[list[tuple[int | None, int | None]]] = []
    if bits is not None and now.cores * bits <= HOPELESS * wide * chip.cores:
        found.append([(None, bits)])
    for levels in (count for count in NARROWER if count < most):
        found.append([(levels, None)] + ([] if bits is None else [(levels, bits)]))
    return found


def holding(chip: ChipSpec, wanted: Counted) -> tuple[int, int] | None:
    """Return the grid, no smaller than the chip's, that holds so many cores; None where a larger one does not help.

    Dead cores stay dead, and the sides differ as little as the chip's own permit.
    """
    if wanted.beyond or wanted.estimated or wanted.cores <= chip.cores:
        return None
    (columns, rows), dead = chip.grid, len(set(chip.dead_cores))
    while columns * rows - dead < wanted.cores:
        if columns <= rows:
            columns += 1
        else:
            rows += 1
    return (columns, rows) if max(columns, rows) <= MOST_SIDE else None


def with_alternatives(found: Violation, others: tuple[Alternative, ...], graph: LayerGraph, chip: ChipSpec) -> Violation:
    """Return the violation for too many cores with what would help."""
    grids = [each.grid for each in others if each.grid and _is_grid(each)]
    grid = f" A grid of {grids[0][0]} x {grids[0][1]} holds it." if grids else ""
    counted = [str(each) for each in others if not _is_grid(each) and not each.beyond]
    small = [
        f"with {each.change} {each.beyond} layer{'s fit' if each.beyond > 1 else ' fits'} on no core"
        for each in others
        if each.beyond
    ]
    first = f" Begin with the levels of {costliest(graph, chip)}." if any(each.levels for each in others) else ""
    numbers = f" It takes {'; '.join(counted)} (--levels, --weight-bits)." if counted else ""
    beyond = f" {'; '.join(small).capitalize()}." if small else ""
    return replace(found, advice=f"{found.advice}{grid}{numbers}{beyond}{first} qsnnc fit looks for the smallest change.")


def _is_grid(each: Alternative) -> bool:
    return each.levels is None and each.weight_bits is None


def costliest(graph: LayerGraph, chip: ChipSpec) -> str:
    """Return the activation of which fewer levels save the most cores, by shapes."""
    populations = [entry for entry in (graph.encoder, *graph.layers) if entry.levels]
    needs: dict[str, int] = {}
    for entry in populations:
        fewer = min(entry.levels, next((count for count in NARROWER if count < entry.levels), 1))
        needs[entry.name] = sum(sizes(graph, chip, tied(graph, entry.name, fewer)).values())
    return min(needs, key=lambda name: needs[name])


def tied(graph: LayerGraph, name: str, levels: int) -> dict[str, int]:
    """Return the levels of an activation and of the max pools that pass it on."""
    found = {name: levels}
    for layer in graph.layers:
        if layer.connections[0].level_wise and layer.connections[0].source in found:
            found[layer.name] = levels
    return found
