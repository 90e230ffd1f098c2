"""From a layer graph to the words of a PAICORE 2.5, or to all that stands against it."""

from __future__ import annotations

from dataclasses import dataclass

from chipsim.chip import AnyChip, PaicoreSpec
from chipsim.errors import UsageError
from chipsim.paicore import Program, validate_program
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreLayer
from qsnnc.ir.layers import Layer, LayerGraph
from qsnnc.lower.relays import depths
from qsnnc.lower.removal import potential_bounds
from qsnnc.targets.paicore25 import limits
from qsnnc.targets.paicore25.assemble import Placed, assemble, synapses
from qsnnc.targets.paicore25.build import Impossible, Known, build, can_be_words, components
from qsnnc.targets.paicore25.choose import choose
from qsnnc.targets.paicore25.connections import joined
from qsnnc.targets.paicore25.layout import Group, InputMap, NoLayout, groups
from qsnnc.targets.paicore25.plan import Filled, Network, TooLarge, banded, choose_layouts, equalised, fill
from qsnnc.targets.paicore25.routes import XY, place

#: how levels travel: one bit a thermometer neuron, one word a feature, or whichever takes fewer cores
CODINGS = ("auto", "thermometer", "value")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a network: its program, or the violations that stand against one."""

    layers: tuple[CoreLayer, ...]
    program: Program | None
    violations: tuple[Violation, ...]


def check_coding(coding: str, chip: AnyChip) -> None:
    """Refuse an unknown code, or one that the chip does not have.

    Raises
    ------
    UsageError
    """
    if coding not in CODINGS:
        text = f"unknown code {coding!r}; expected {', '.join(CODINGS)}"
        raise UsageError("--code", text, code="option-value", found=coding, allowed=list(CODINGS))
    if coding == "value" and not isinstance(chip, PaicoreSpec):
        text = f"chip {chip.name!r} sends one bit a neuron; allowed: thermometer, or a chip of kind paicore"
        raise UsageError("--code", text, code="option-value", found=coding, allowed="thermometer")


def compile_network(
    graph: LayerGraph,
    chip: PaicoreSpec,
    *,
    keep_dead: bool = False,
    coding: str = "auto",
) -> Outcome:
    """Lay out, allocate, place and write the words of a network.

    Parameters
    ----------
    keep_dead : bool
        Keep neurons that never fire, always fire or that nothing reads.
    """
    of_steps = limits.steps(graph, chip)
    if of_steps:
        return Outcome((), None, of_steps)
    graph = joined(graph)
    found = limits.ranges(graph, chip)
    too_many = limits.most_positions(graph, chip, coding)
    if too_many:  # millions of positions are not laid out to see that they do not fit
        return Outcome((), None, (*found, *too_many))
    # the rest is looked at as if weights had been narrowed, so that every limit is told at once
    network = _coded(limits.narrowed(graph, chip) if found else graph, chip, coding, keep_dead=keep_dead)
    graph = network.graph
    parts, more = _parts(network)
    found += more
    if any(violation.limit == "layout" for violation in more):
        return Outcome((), None, found)
    maps = equalised(parts, choose_layouts(network, parts), graph.layers)
    filled, more = _fill(network, parts, maps)
    found += more
    layers = tuple(_layer(network, filled, layer) for layer in graph.layers)
    found += limits.runs(parts, filled, chip)
    if sum(layer.cores for layer in layers) > chip.cores:
        found += (limits.cores(layers, parts, filled, chip),)
    if found:
        return Outcome(layers, None, found)
    places = _places(parts, filled, chip)
    if places is None:
        return Outcome(layers, None, (limits.cores(layers, parts, filled, chip),))
    placed = Placed(parts, filled, places, depths(graph), network.tables)
    program = assemble(network, placed, layers)
    validate_program(program)
    return Outcome(layers, program, ())


def _coded(graph: LayerGraph, chip: PaicoreSpec, coding: str, *, keep_dead: bool) -> Network:
    """The network with its levels as the option says; what cannot travel as a word stays a thermometer."""
    able = [] if coding == "thermometer" else [each for each in components(graph) if can_be_words(graph, chip, each)]
    impossible: set[str] = set()
    known = Known(potential_bounds(graph))

    def prepare(words: frozenset[str]) -> Network | None:
        try:
            return build(graph, chip, words, known, keep_dead=keep_dead)
        except Impossible as error:
            impossible.add(error.layer)
            return None

    while True:
        every = frozenset(name for component in able for name in component)
        network = prepare(every)
        if network is not None:
            break
        able = [component for component in able if not impossible & set(component)]
    if coding == "auto" and able:
        chosen = choose(graph, able, prepare)
        network = network if chosen == every else prepare(chosen)
    assert network is not None
    return network


def _parts(network: Network) -> tuple[list[Group], tuple[Violation, ...]]:
    """Groups of layers, cut into bands where that helps, and the maps that no core can hold."""
    found: list[Violation] = []
    cut: list[Group] = []
    for group in groups(network.graph):
        try:
            bands = banded(network, group)
        except NoLayout as error:
            found.append(limits.no_layout(error.layer))
            continue
        if isinstance(bands, TooLarge):
            found.append(limits.too_large(bands, network.chip))
            bands = [group]  # so that what else stands against the network is found too
        cut += bands
    return cut, tuple(found)


def _fill(network: Network, parts: list[Group], maps: list[InputMap]) -> tuple[list[list[Filled]], tuple[Violation, ...]]:
    filled: list[list[Filled]] = []
    found = []
    for number, group in enumerate(parts):
        filled.append([])
        for part in group.parts:
            one = fill(network, parts, number, part, maps)
            if isinstance(one, TooLarge):
                found.append(limits.too_large(one, network.chip))
            else:
                filled[-1].append(one)
    return filled, tuple(found)


def _places(parts: list[Group], filled: list[list[Filled]], chip: PaicoreSpec) -> list[list[XY]] | None:
    """A vertical run for each group that the chip feeds, any cores for the others."""
    sizes = [sum(len(each.cores) for each in group) for group in filled]
    runs = [number for number, group in enumerate(parts) if not group.fed]
    alone = [number for number, group in enumerate(parts) if group.fed]
    found = place([sizes[number] for number in runs], sum(sizes[number] for number in alone), chip)
    if found is None:
        return None
    places: list[list[XY]] = [[] for _ in parts]
    for number, run in zip(runs, found[0], strict=True):
        places[number] = run
    at = 0
    for number in alone:
        places[number] = found[1][at : at + sizes[number]]
        at += sizes[number]
    return places


def _layer(network: Network, filled: list[list[Filled]], layer: Layer) -> CoreLayer:
    """What became of a layer, for tables."""
    mine = [each for group in filled for each in group if each.part.layer is layer]
    widest, total = synapses(network, mine)
    return CoreLayer(
        layer=layer,
        tick=0,
        weight_bits=network.widths[layer.name][0],
        fan_in=widest,
        fold=max((piece.number for each in mine for n in each.neurons for piece in n.folds), default=0),
        neurons=sum(len(n.offset) for each in mine for n in each.neurons),
        removed=network.removed[layer.name],
        zero_rows=0,
        cores=sum(len(each.cores) for each in mine) if mine else 1,
        synapses=total,
        bound=sum(each.bound for each in mine) if mine else 1,  # no core can hold it: one at least
        limiting="rows",
    )
