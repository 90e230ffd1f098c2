"""Record every event of one frame that is alone on the chip: activity of cores and paths of packets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from chipsim.datasets import Dataset
from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.engine.setup import open_dataset, open_mapping
from chipsim.errors import UsageError
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare
from chipsim.options import DataKeywords, DataOptions, merged
from chipsim.timing.network.mesh import Int
from chipsim.timing.plan import Plan, plan
from chipsim.timing.profile import spikes
from chipsim.timing.result import name_of
from chipsim.timing.tick import Bench, Frame, Mode, check_mode


@dataclass(frozen=True, slots=True, eq=False)
class Shifts:
    """The active cores of each tick, one row each; times are cycles from the start of the frame."""

    core: Int
    tick: Int
    begin: Int
    rows: Int  # it has read its rows; start_cycles included
    sweep: Int  # it has swept over its neurons
    done: Int  # its last packet is sent too


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Arrivals of packets, one row each; without multicast a packet arrives once."""

    packet: Int  # row of `Packets`
    target: Int  # terminal
    cycle: Int  # from the start of the frame


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """The packets, one row each, by tick, sending terminal and order; times are cycles from the start of the frame.

    ``due`` is the cycle in which it could have been sent: it was ready and the one before it was gone. From there to
    ``sent`` it waits for a credit.
    """

    tick: Int
    source: Int  # terminal
    due: Int
    sent: Int
    ejected: Int  # the last of it
    arrivals: Arrivals

    @property
    def stalled(self) -> Int:
        """Cycles that each packet waits for a credit."""
        return self.sent - self.due


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One frame: an image of a data set, alone on the chip."""

    plan: Plan
    mode: Mode
    image: int  # number in the data set
    frame: Frame
    start: Int  # (ticks + 1,): cycle in which each tick begins; the last is the latency
    shifts: Shifts
    packets: Packets

    @property
    def cycles(self) -> int:
        """Latency in cycles."""
        return int(self.start[-1])

    @property
    def names(self) -> list[str]:
        """Name of each tick: the ingress, while spikes enter, and its layers."""
        layers, steps = self.plan.mapping.layers, self.plan.mapping.steps
        return [
            name_of((layer.name for layer in layers if layer.tick <= number < layer.tick + steps), enters=number < steps)
            for number in range(len(self.frame.ticks))
        ]


def history(
    mapping: Mapping | str | Path,
    dataset: Dataset | str | Path,
    options: DataOptions | None = None,
    *,
    image: int = 0,
    mode: Mode = "cycle",
    **keywords: Unpack[DataKeywords],
) -> History:
    """Time one image and record every event.

    Parameters
    ----------
    mapping : Mapping or path
    dataset : Dataset, name or path
    image : int
        Its number in the data set, from 0.
    mode : {"cycle", "ideal"}
        As in `chipsim.profile`, whose frame of the same image it is.

    Raises
    ------
    UsageError, InputError, MappingError
    """
    check_mode(mode, "--mode")
    dataset = open_dataset(dataset, merged(options or DataOptions(), keywords))
    if not 0 <= image < len(dataset):
        allowed = f"0 to {len(dataset) - 1}"
        raise UsageError("--image", f"is {image}; allowed: {allowed}", code="option-value", found=image, allowed=allowed)
    mapping = open_mapping(mapping)
    tables = plan(mapping)
    images = prepare(
        np.asarray(dataset.images[image : image + 1]), mapping.input, dataset.name, mapping.steps, np.array([image])
    )
    seen = spikes(load(mapping), load_host(mapping), images, np.array([image]))
    frame = Bench(tables, mode).frame(seen.fired[0])
    start = np.concatenate([[0], np.cumsum([tick.cycles for tick in frame.ticks])]).astype(np.int64)
    packets = _packets(frame, start)
    return History(tables, mode, image, frame, start, _shifts(tables, frame, start, packets), packets)


def _packets(frame: Frame, start: Int) -> Packets:
    parts, places, count = [], [], 0
    for tick, at in zip(frame.ticks, start.tolist(), strict=False):
        offset, sent, ejected = tick.traffic.offset, tick.flow.sent, tick.flow.ejected
        source = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
        free = np.zeros_like(sent)  # from when on the one before it is gone
        free[1:] = np.where(source[1:] == source[:-1], sent[:-1] + 1, 0)
        due = np.maximum(tick.traffic.ready, free)
        number = np.full(len(sent), tick.number, np.int64)
        begin, target = tick.traffic.arrivals()
        last = np.maximum.reduceat(ejected, begin[:-1]) if len(sent) else ejected
        parts.append((number, source, at + due, at + sent, at + last))
        packet = count + np.repeat(np.arange(len(sent)), np.diff(begin))
        places.append((packet, target.astype(np.int64), at + ejected))
        count += len(sent)
    arrivals = Arrivals(*(np.concatenate(column) for column in zip(*places, strict=True)))
    tick_of, sender, due_at, sent_at, last_at = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Packets(tick_of, sender, due_at, sent_at, last_at, arrivals)


def _shifts(tables: Plan, frame: Frame, start: Int, packets: Packets) -> Shifts:
    core = np.concatenate([tick.cores for tick in frame.ticks])
    number = np.repeat([tick.number for tick in frame.ticks], [len(tick.cores) for tick in frame.ticks])
    begin = start[number]
    sweep = begin + np.concatenate([tick.ready for tick in frame.ticks])
    gone = np.zeros((len(frame.ticks), tables.mesh.terminals), np.int64)
    np.maximum.at(gone, (packets.tick, packets.source), packets.sent + 1)
    reading = np.concatenate([frame.steps.cycles(tick.number)[tick.cores] for tick in frame.ticks])
    rows = begin + tables.timing.start_cycles + reading
    done = np.maximum(sweep, gone[number, tables.terminal[core]])
    return Shifts(core, number, begin, rows, sweep, done)
