"""Find the cores, axons, neurons and bits of a mapping that a list of places or a rate of faults hits.

Places are those of the silicon, used by the mapping or not: a fault in what nobody uses does nothing, and a place that the
chip does not have is an error. Each function gives what of it the mapping uses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip.avoid import check_link, check_place
from chipsim.chip.routes import router
from chipsim.document import Document
from chipsim.errors import InputError
from chipsim.faults.draws import below, draw, stream
from chipsim.faults.spec import AxonPlace, Faults, NeuronPlace, Rate, SynapseBit
from chipsim.mapping import Mapping
from chipsim.wording import path

Int = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Link = tuple[tuple[int, int], tuple[int, int]]
#: by place, what a list has said of it first: the number of the element, and the value
Said = dict[tuple[object, ...], tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Looks up places of a faults file in a mapping."""

    mapping: Mapping
    faults: Document[Faults]
    seed: int  # of rates that have none, where the file has none either

    def seed_of(self, rate: Rate) -> int:
        """The rate's, else the file's, else the run's."""
        own = self.faults.content.seed if rate.seed is None else rate.seed
        return self.seed if own is None else own

    def block(self, core: int) -> int:
        """A core's place on the grid, y * columns + x."""
        x, y = self.mapping.core_position[core].tolist()
        return router(self.mapping.chip, (x, y))

    def dead_cores(self) -> Bools:
        """Which cores of the mapping are dead, (cores,)."""
        m, entry = self.mapping, self.faults.content.dead_cores
        if isinstance(entry, Rate):
            hit = below(draw(self.seed_of(entry), stream("dead_cores"), m.chip.grid[0] * m.chip.grid[1]), entry.rate)
            return np.array([hit[self.block(core)] for core in range(m.cores)], bool)
        for number, place in enumerate(entry or ()):
            check_place(m.chip, place, self.faults.at("dead_cores", number))
        dead = set(entry or ())
        return np.array([tuple(place) in dead for place in m.core_position.tolist()], bool)

    def dead_links(self) -> list[Link]:
        """Links of the chip that do not work."""
        m, entry = self.mapping, self.faults.content.dead_links
        if isinstance(entry, Rate):
            links = all_links(m.chip.grid)
            hit = below(draw(self.seed_of(entry), stream("dead_links"), len(links)), entry.rate)
            return [links[n] for n in np.flatnonzero(hit).tolist()]
        for number, link in enumerate(entry or ()):
            check_link(m.chip, link, self.faults.at("dead_links", number))
        return list(entry or ())

    def axons(self, kind: str, hit: Callable[[int, Int], None]) -> None:
        """Call ``hit(at, axons)`` with axons, numbered over all cores, of `dropped_packets` or `stuck_axons`."""
        m, entry = self.mapping, getattr(self.faults.content, kind)
        if isinstance(entry, Rate):
            for core, numbers in self._drawn(entry, kind, np.diff(m.axon_offset)):
                hit(getattr(entry, "at", 0), m.axon_offset[core] + np.flatnonzero(below(numbers, entry.rate)))
            return
        said: Said = {}
        for number, place in enumerate(entry or ()):
            own, at = self._core(place, (kind, number)), getattr(place, "at", 0)
            self._agrees(said, (self._where(place), place.axon), at, (kind, number))
            if own is not None and self._axon(place, own, (kind, number)):
                hit(at, np.array([m.axon_offset[own] + place.axon], np.int64))

    def neurons(self) -> Bools:
        """Which neurons are dead, (neurons,)."""
        m, entry = self.mapping, self.faults.content.dead_neurons
        dead = np.zeros(m.neurons, bool)
        if isinstance(entry, Rate):
            for core, numbers in self._drawn(entry, "dead_neurons", np.diff(m.neuron_offset)):
                dead[m.neuron_offset[core] : m.neuron_offset[core + 1]] = below(numbers, entry.rate)
            return dead
        for number, place in enumerate(entry or ()):
            one = self._neuron(place, ("dead_neurons", number))
            if one is not None:
                dead[one] = True
        return dead

    def threshold_bits(self) -> Int:
        """Bits of each neuron's threshold that are turned over, as a number, (neurons,); read-out neurons have none."""
        m, entry, bits = self.mapping, self.faults.content.flipped_thresholds, self.mapping.chip.threshold_bits
        mask = np.zeros(m.neurons, np.int64)
        if isinstance(entry, Rate):
            for core, numbers in self._drawn(entry, "flipped_thresholds", np.diff(m.neuron_offset) * bits):
                flipped = below(numbers, entry.rate).reshape(-1, bits)
                mask[m.neuron_offset[core] : m.neuron_offset[core + 1]] = flipped @ (1 << np.arange(bits))
        else:
            for number, place in enumerate(entry or ()):
                where = ("flipped_thresholds", number)
                found = self._neuron(place, where)
                self._at_most("bit", place.bit, bits, "bits of a threshold", where)
                if found is not None and mask[found] >> place.bit & 1:
                    raise InputError(
                        self.faults.at(*where),
                        f"{path(where)} flips a bit that is listed already; remove one of the two",
                        code="faults-contradiction",
                    )
                if found is not None:
                    mask[found] |= 1 << place.bit
        core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
        mute = np.array([e.levels == 0 for e in m.layers])[m.core_layer][core_of]
        return np.where(mute, 0, mask)

    def synapse_bits(self) -> Iterator[tuple[int, list[tuple[Int, Int, Int, Int]]]]:
        """Cores with (axon, neuron, bit, value) of the bits of their weights that are stuck."""
        entry = self.faults.content.stuck_synapses
        if isinstance(entry, Rate):
            for core in range(self.mapping.cores):
                axon, neuron, bit = self._stuck(core, entry)
                if len(axon):
                    yield core, [(axon, neuron, bit, np.full(len(axon), getattr(entry, "at", 0)))]
            return
        of_core: dict[int, list[tuple[Int, Int, Int, Int]]] = defaultdict(list)
        said: Said = {}
        for number, place in enumerate(entry or ()):
            where = ("stuck_synapses", number)
            own = self._core(place, where)
            self._agrees(said, (self._where(place), place.axon, place.neuron, place.bit), place.at, where)
            if own is not None and self._bit(place, own, where):
                values = (place.axon, place.neuron, place.bit, place.at)
                of_core[own].append(tuple(np.array([v]) for v in values))  # type: ignore[arg-type]
        yield from sorted(of_core.items())

    def _stuck(self, core: int, rate: Rate) -> tuple[Int, Int, Int]:
        """Axon, neuron and bit of what a rate hits; axon a lies in row a mod R, column (j f + a div R) w + b."""
        m, columns = self.mapping, self.mapping.chip.columns
        axons, neurons, w = m.crossbar_shape[m.core_crossbar[core]].tolist()
        fold, rows = int(m.core_fold[core]), m.chip.axons
        count = min(axons, rows) * columns
        drawn = draw(self.seed_of(rate), stream("stuck_synapses"), count, block=self.block(core))
        row, column = np.divmod(np.flatnonzero(below(drawn, rate.rate)), columns)
        at, bit = np.divmod(column, w)
        neuron, segment = np.divmod(at, fold)
        axon = row + segment * rows
        used = (axon < axons) & (neuron < neurons)
        return axon[used], neuron[used], bit[used]

    def _drawn(self, rate: Rate, kind: str, counts: Int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        seed, number = self.seed_of(rate), stream(kind)
        for core, count in enumerate(counts.tolist()):
            yield core, draw(seed, number, count, block=self.block(core))

    def _core(self, place: AxonPlace | NeuronPlace, where: tuple[str, int]) -> int | None:
        """A core's number in the mapping; None for one that the mapping does not use."""
        m, core = self.mapping, place.core
        if isinstance(core, int):
            self._at_most("core", core, m.cores, "cores of the mapping", where)
            return core
        assert core is not None
        check_place(m.chip, core, self.faults.at(*where, "core"))
        found = np.flatnonzero((m.core_position == np.array(core)).all(axis=1))
        return int(found[0]) if len(found) else None

    def _where(self, place: AxonPlace) -> tuple[int, ...]:
        """A core's place on the grid, whichever way the file names it."""
        core = place.core
        return tuple(self.mapping.core_position[core].tolist()) if isinstance(core, int) else core

    def _agrees(self, said: Said, place: tuple[object, ...], at: int, where: tuple[str, int]) -> None:
        """Refuse a list that has something stuck at 0 and at 1."""
        first, before = said.setdefault(place, (where[1], at))
        if before != at:
            raise InputError(
                self.faults.at(*where),
                f"{path(where)} is stuck at {at} and at {before} in {path((where[0], first))}; remove one of the two",
                code="faults-contradiction",
                found=[before, at],
            )

    def _axon(self, place: AxonPlace, core: int, where: tuple[str, int]) -> bool:
        """Whether the mapping uses the axon."""
        m = self.mapping
        rows = int(m.core_fold[core]) * m.chip.axons
        self._at_most("axon", place.axon, rows, f"axons of core {core}", where)
        return place.axon < int(m.axon_offset[core + 1] - m.axon_offset[core])

    def _in_core(self, neuron: int, core: int, where: tuple[str, int]) -> bool:
        m = self.mapping
        room = m.chip.columns // int(m.core_fold[core] * m.core_weight_bits[core])
        self._at_most("neuron", neuron, room, f"neurons of core {core}", where)
        return neuron < int(m.neuron_offset[core + 1] - m.neuron_offset[core])

    def _bit(self, place: SynapseBit, core: int, where: tuple[str, int]) -> bool:
        self._at_most("bit", place.bit, int(self.mapping.core_weight_bits[core]), f"bits of a weight of core {core}", where)
        used = self._in_core(place.neuron, core, where)
        return self._axon(place, core, where) and used

    def _neuron(self, place: NeuronPlace, where: tuple[str, int]) -> int | None:
        """A neuron's number over all cores; None for one that the mapping does not use."""
        m = self.mapping
        if place.layer is None:
            core = self._core(place, where)
            if core is None or not self._in_core(place.neuron, core, where):
                return None
            return int(m.neuron_offset[core]) + place.neuron
        layer = layer_number(m, place.layer, self.faults.at(*where, "layer"))
        entry = m.layers[layer]
        elements = int(np.prod(entry.shape, dtype=np.int64)) * max(entry.levels, 1)
        self._at_most("neuron", place.neuron, elements, f"neurons of {entry.name}", where)
        core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
        found = np.flatnonzero((m.core_layer[core_of] == layer) & (m.neuron_element == place.neuron))
        return int(found[0]) if len(found) else None  # the compiler removed it

    def _at_most(self, key: str, value: int, count: int, what: str, where: tuple[str, int]) -> None:
        if value >= count:
            raise InputError(
                self.faults.at(*where, key),
                f"{where[0]}: {key} {value} does not exist; allowed: 0 to {count - 1}, the {what}",
                code="place-unknown",
                limit=key,
                found=value,
                allowed=[0, count - 1],
            )


def layer_number(m: Mapping, name: str, where: str) -> int:
    """Number of a layer on the chip by its name."""
    names = [entry.name for entry in m.layers]
    if name not in names:
        raise InputError(
            where,
            f"the mapping has no layer {name!r}; allowed: {', '.join(names)}",
            code="layer-unknown",
            found=name,
            allowed=names,
        )
    return names.index(name)


def all_links(grid: tuple[int, int]) -> list[Link]:
    """Every link of a grid: those along x row by row, then those along y."""
    width, height = grid
    along_x: list[Link] = [((x, y), (x + 1, y)) for y in range(height) for x in range(width - 1)]
    return along_x + [((x, y), (x, y + 1)) for y in range(height - 1) for x in range(width)]
