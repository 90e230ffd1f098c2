"""Rows and columns of a map that are alike: what holds of one feature holds of all that have the same surroundings.

The bounds of a convolution's levels differ only near the border and where those of its source do. A map of 224 x 224 has
some ten kinds of rows and of columns, so it is held, and computed, once for each kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qsnnc.ir.layers import Connection, Int, Layer


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """The kinds of rows, or of columns."""

    of: Int  # (size,): the kind of each
    first: Int  # (kinds,): one of each kind

    @property
    def count(self) -> Int:
        """How many there are of each kind."""
        return np.bincount(self.of, minlength=len(self.first))

    def read_by(self, places: Int) -> Int:
        """Return the kinds at some places, -1 where the place is -1."""
        return np.where(places >= 0, self.of[places], -1)


def kinds(keys: Sequence[Int]) -> Axis:
    """Return the kinds of rows that differ in any of the keys, (rows, ...) each."""
    whole = np.concatenate([key.reshape(len(key), -1) for key in keys], axis=1)
    numbers: dict[bytes, int] = {}
    of = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in np.ascontiguousarray(whole)], np.int64)
    return Axis(of, np.unique(of, return_index=True)[1])


def one_kind(size: int) -> Axis:
    """Return rows that are all alike."""
    return Axis(np.zeros(size, np.int64), np.zeros(1, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Integers at every feature of a population, held once for each kind of row and column."""

    rows: Axis
    columns: Axis
    values: Int  # (..., channels, kinds of rows, kinds of columns)

    @staticmethod
    def full(shape: tuple[int, int, int], *values: int) -> Map:
        """Return a map with the same values at every feature."""
        whole = np.empty((len(values), shape[0], 1, 1), np.int64)
        whole[:] = np.array(values)[:, None, None, None]
        return Map(one_kind(shape[1]), one_kind(shape[2]), whole)

    @staticmethod
    def of(rows: Axis, columns: Axis, values: Int) -> Map:
        """Return values of some kinds of rows and columns, those that turn out to be alike as one."""
        for axis, name in ((-2, "row"), (-1, "column")):
            again = kinds([np.moveaxis(values, axis, 0)])
            values = np.take(values, again.first, axis=axis)
            old = rows if name == "row" else columns
            new = Axis(again.of[old.of], old.first[again.first])
            rows, columns = (new, columns) if name == "row" else (rows, new)
        return Map(rows, columns, values)

    def at(self, rows: Axis, columns: Axis) -> Int:
        """Return the values at other kinds of rows and columns, into which these are split."""
        return self.values[..., self.rows.of[rows.first], :][..., self.columns.of[columns.first]]


@dataclass(frozen=True, slots=True, eq=False)
class Placed(Connection):
    """A connection between kinds of positions."""

    places: Int = field(default_factory=lambda: np.zeros((0, 0), np.int64))  # (positions of the layer, taps): see `taps`

    def taps(self, shape: tuple[int, int], out: tuple[int, int]) -> Int:
        """Return the position in the source's map that each window reads, -1 in the padding."""
        return self.places


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """A layer with one row and one column of each kind."""

    layer: Layer  # its connections are `Placed`
    rows: Axis
    columns: Axis

    @property
    def counts(self) -> Int:
        """How many positions each stands for, (kinds of rows, kinds of columns)."""
        return self.rows.count[:, None] * self.columns.count


def small(layer: Layer, sources: dict[str, Map], own: Map | None = None) -> Small:
    """Return a layer whose rows and columns are alike if they read kinds of rows that are, at the same thresholds.

    Parameters
    ----------
    sources : dict
        What is known of the populations that it reads, in whose kinds its connections are placed.
    own : Map, optional
        What is known of its own features, and has to be alike too.
    """
    axes, read = [], []
    for axis in (0, 1):
        size = layer.shape[1 + axis]
        seen = []
        for link in layer.connections:
            source = (sources[link.source].rows, sources[link.source].columns)[axis]
            seen.append(source.read_by(link.along(axis, len(source.of), size)))
        mine = () if own is None else ((own.rows, own.columns)[axis].of,)
        axes.append(kinds([*seen, np.moveaxis(layer.border, axis, 0), *mine]))
        read.append([places[axes[-1].first] for places in seen])
    rows, columns = axes
    links = tuple(
        Placed(
            link.source, link.weights, link.strides, link.pads, link.dilations, link.groups, link.level_wise,
            places=crossed(down, across, len(sources[link.source].columns.first)),
        )
        for link, down, across in zip(layer.connections, *read, strict=True)
    )  # fmt: skip
    shape = (layer.shape[0], len(rows.first), len(columns.first))
    border = layer.border[rows.first][:, columns.first]
    return Small(replace(layer, shape=shape, border=border, connections=links), rows, columns)


def crossed(rows: Int, columns: Int, width: int) -> Int:
    """Return flat positions (rows * columns, taps of both) in a map of some width, -1 where either is."""
    down, across = rows[:, None, :, None], columns[None, :, None, :]
    return np.where((down >= 0) & (across >= 0), down * width + across, -1).reshape(len(rows) * len(columns), -1)


def readers_along(link: Connection, axis: int, size: int, out: int) -> Int:
    """Return which row of the layer reads each row of the source at each tap, -1 if none: (source rows, kernel rows)."""
    found = np.full((size, link.weights.shape[2 + axis]), -1, np.int64)
    at = link.along(axis, size, out)
    row, tap = np.nonzero(at >= 0)
    found[at[row, tap], tap] = row
    return found
