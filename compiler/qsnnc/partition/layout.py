"""Lay a network out on the cores of a chip, or estimate its cores where it is far too large: the one count of cores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreGraph, CoreLayer, verify_cores
from qsnnc.ir.layers import LayerGraph, verify_layers
from qsnnc.lower.codes import Code
from qsnnc.lower.neurons import NeuronLayer, lower, verify_neurons
from qsnnc.lower.ranges import ranges
from qsnnc.partition.advice import Counted
from qsnnc.partition.cores import bounded, most_written, partition, too_many
from qsnnc.partition.estimate import cores_violation, costly, mostly_removed, sizes, too_large, too_many_neurons, violations
from qsnnc.partition.image import choose


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A network on cores that have no positions yet, or all that stands against one, or what is estimated of it."""

    graph: LayerGraph  # with the image in its code, where it enters the chip
    code: Code | None
    neurons: tuple[NeuronLayer, ...]  # empty where cores are estimated
    layers: tuple[CoreLayer, ...]
    cores: CoreGraph | None  # None if it does not fit, or is estimated
    violations: tuple[Violation, ...]  # root causes first
    estimated: bool = False

    @property
    def counted(self) -> Counted:
        """How many cores it takes."""
        beyond = sum(not entry.fold for entry in self.layers)
        return Counted(sum(entry.cores for entry in self.layers), self.estimated, beyond)


def lay_out(
    graph: LayerGraph,
    chip: ChipSpec,
    *,
    keep_dead: bool = False,
    whole: bool = True,
    stage: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    tell: Callable[[str], None] = lambda _: None,
) -> Layout:
    """Lay out a network; one that is far too large is estimated instead.

    Parameters
    ----------
    keep_dead : bool
        Keep neurons and axons that have no effect.
    whole : bool
        Lay out what may fit the chip, however large. If not, a network beyond `MOST_CORES` cores is estimated.
    stage : callable
        Times the stage of that name.
    tell : callable
        Is told which layer is being done.
    """
    code = None
    if graph.image_on_chip:
        with stage("encoder"):
            graph, code = choose(graph, chip)
            verify_layers(graph)
    with stage("estimate"):  # hundreds of millions of neurons are not written out to see that they do not fit
        estimated = too_large(graph, chip, whole=whole)
    if estimated is not None:
        found = (*(v for layer in graph.layers for v in ranges(layer, chip, graph.steps)), *violations(estimated, chip))
        if not found and mostly_removed(graph, estimated):
            found = (too_many_neurons(graph),)
        return Layout(graph, code, (), estimated, None, _causes(found, estimated), estimated=True)
    with stage("lower"):
        neurons, found = lower(graph, chip, keep_dead=keep_dead)
        verify_neurons(neurons, graph, chip)
    with stage("partition"):
        cores, layers, more = partition(graph, neurons, chip, keep_dead=keep_dead, tell=tell)
        found += more
        if cores is not None and not found:
            verify_cores(cores, chip)
    return Layout(graph, code, neurons, layers, None if found else cores, _causes(found, layers))


def may_be_short(graph: LayerGraph, chip: ChipSpec) -> bool:
    """Whether it is worth the time to look at `least` before a network is laid out on a chip, or estimated."""
    if graph.image_on_chip or not costly(graph) or sum(sizes(graph, chip).values()) <= chip.cores:
        return False
    return too_large(graph, chip) is None


def least(graph: LayerGraph, chip: ChipSpec) -> Layout:
    """Bound the cores of a network from below without filling any, whatever the grid; see `short_of`."""
    neurons, found = lower(graph, chip)
    layers, more = bounded(graph, neurons, chip)
    return Layout(graph, None, (), layers, None, _causes((*found, *more), layers))


def short_of(bounds: Layout, chip: ChipSpec) -> Layout | None:
    """Return the result of `least` with the violation that a chip has too few cores; None if it may have enough."""
    if sum(entry.cores for entry in bounds.layers) <= chip.cores:
        return None
    return replace(bounds, violations=(*bounds.violations, cores_violation(bounds.layers, chip, "at least")))


def lay_out_again(laid: Layout, before: ChipSpec, chip: ChipSpec) -> Layout | None:
    """Return what `lay_out` returns for a chip that differs in grid, ports and dead places, from its layout on ``before``.

    Positions play no part in a layout, and the size of the grid only in whether there are enough cores. None where more has
    to be done: cores were not written out because there were too few of them.
    """
    if most_written(before) != most_written(chip):
        return None
    others = tuple(violation for violation in laid.violations if violation.code != "cores")
    again = violations(laid.layers, chip) if laid.estimated else too_many(laid.layers, chip)
    found = (*others, *(violation for violation in again if violation.code == "cores"))
    if not found and laid.cores is None:
        return None
    return replace(laid, cores=None if found else laid.cores, violations=_causes(found, laid.layers))


def _causes(found: tuple[Violation, ...], layers: tuple[CoreLayer, ...]) -> tuple[Violation, ...]:
    """Sort violations by layer, and a lack of cores, which the others cause, last."""
    order = [entry.layer.name for entry in layers]
    return tuple(sorted(found, key=lambda v: (v.code == "cores", order.index(v.layer))))
