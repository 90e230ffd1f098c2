"""A mapping in machine code, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chipsim.engine.fast.arrivals import Arrivals
from chipsim.engine.fast.callables import Kernels
from chipsim.engine.fast.counting import Counting
from chipsim.engine.fast.dots import DotTables
from chipsim.engine.fast.encoder import Encoder
from chipsim.engine.fast.instructions import TILES
from chipsim.engine.fast.layout import CORE, LANES
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.merge import ticks_of
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.pixels import PixelTables
from chipsim.engine.fast.plane_tables import Counts as PlaneCounts
from chipsim.engine.fast.plane_tables import PlaneTables
from chipsim.engine.fast.plane_tables import counts as plane_counts
from chipsim.engine.fast.planes import IMAGES
from chipsim.engine.fast.reduce import Reduced
from chipsim.engine.fast.tables import Lines, Tables
from chipsim.engine.host import Host
from chipsim.faults import Damage
from chipsim.mapping import Mapping


@dataclass(frozen=True, eq=False)
class Loaded:
    """A mapping in machine code: the immutable part of the engine, which all workers share."""

    damage: Damage
    reduced: Reduced
    host: Host
    tables: Tables
    encoder: Encoder
    pixels: PixelTables | None  # where the encoder is like cores of pixels
    dots: DotTables | None  # where it is done in one pass
    arrivals: Arrivals | None  # where not all that is sent arrives
    planes: PlaneTables | None  # where the cores add up bits
    function: Kernels
    code: Code  # holds the machine code
    noisy: bool  # spikes of the encoder may be lost
    name: str = "fast"

    @property
    def batch(self) -> int:
        """Images at a time."""
        return 4 * LANES if self.planes is None else IMAGES

    @property
    def mapping(self) -> Mapping:
        """The mapping after constant axons were removed."""
        return self.reduced.mapping

    @property
    def lines(self) -> Lines:
        """What is counted as it arrives."""
        return self.tables.lines if self.arrivals is None else self.arrivals.lines

    @cached_property
    def counting(self) -> Counting:
        """What counts of each image are made from; only then it is laid out."""
        tick, tiled = None, False
        if self.arrivals is None:
            tick = ticks_of(self.mapping)[self.tables.cores[:, CORE.index("core")]]
            tiled = self.code.target.lookup in TILES
        return Counting(self.tables, self.lines, self._fanout, tick=tick, tiled=tiled)

    @cached_property
    def plane_counts(self) -> PlaneCounts:
        """The same where cores add up bits."""
        assert self.planes is not None
        return plane_counts(self.planes, self._fanout)

    @property
    def _fanout(self) -> Int:
        """What a spike of each value counts in half of the paper's SOPs."""
        values = self.tables.merged.values
        return self.mapping.dense_fanout[values.lead].astype(np.int64)

    @cached_property
    def fired(self) -> Int:
        """Neuron of each threshold in the tables."""
        values = self.tables.merged.values
        return values.member[values.offset[values.encoder] :] - self.mapping.encoder_neurons

    @cached_property
    def delays(self) -> Int:
        """How many steps after it was found each of their spikes is sent."""
        m = self.mapping
        late = np.array([e.tick - e.sent_tick for e in m.layers], np.int64)
        return np.asarray(late[np.repeat(m.core_layer, np.diff(m.neuron_offset))][self.fired])

    @cached_property
    def by_core(self) -> bool:
        """Whether a core may do all its steps before the next: none reads a core of its own tick or of a later one."""
        m = self.mapping
        ticks = np.array([e.tick for e in m.layers], np.int32)[m.core_layer]
        source = np.zeros(m.encoder_neurons + m.neurons, np.int32)
        source[m.encoder_neurons :] = np.repeat(ticks, np.diff(m.neuron_offset))
        return bool((source[m.axon_source] < np.repeat(ticks, np.diff(m.axon_offset))).all())

    @property
    def late_readout(self) -> bool:
        """Whether the readout layer fires with a delay."""
        layer = self.mapping.layers[self.mapping.readout]
        return layer.tick != layer.sent_tick

    @cached_property
    def counted(self) -> Int:
        """Slot of each output, where spikes are counted."""
        m, t = self.mapping, self.tables
        neurons = np.flatnonzero(np.repeat(m.core_layer == m.readout, np.diff(m.neuron_offset)))
        slots = np.empty(m.outputs, np.int64)
        slots[m.neuron_element[neurons]] = t.fresh[t.merged.values.of_source[m.encoder_neurons + neurons]]
        return slots
