"""Map the functions of a region to the sums they apply to: one per channel, per channel and phase, or per element."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.tensors import Accumulator
from qsnnc.ir.layers import Int
from qsnnc.ir.uncertain import UncertainThresholds


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Function n applies to the sums of channel ``channel[k, n]`` at positions of class ``border[k, n]``, for every k."""

    border: Int  # (rows, columns)
    channel: Int  # (rows, columns)
    shown: npt.NDArray[np.bool_]  # (rows, columns): False where there is a constant instead

    def of(self, root: Accumulator) -> Accumulator:
        """Return the sums with one channel per function and one class per row."""
        return replace(
            root,
            scale=root.scale[self.border, self.channel],
            offset=root.offset[self.border, self.channel],
            reach=root.reach[self.border, self.channel],
            exact=np.asarray(root.exact[self.channel].all(axis=0)),
            magnitude=root.magnitude[self.channel].max(axis=0),
        )

    @property
    def whole(self) -> bool:
        """Whether function n is that of channel n, and row k that of class k."""
        rows, columns = self.channel.shape
        across = (self.channel == np.arange(columns)).all() and (self.border == np.arange(rows)[:, None]).all()
        return bool(across and self.shown.all())

    def back(self, root: Accumulator, limits: Int, end: str) -> Int:
        """Map thresholds (rows, columns, levels) to the layer's (classes, channels, levels); never reached elsewhere.

        Raises
        ------
        ModelError
            Two different functions apply to the same sums.
        """
        if self.whole and limits.shape[:2] == root.reach.shape[:2]:
            return limits
        found = np.repeat(root.reach[..., 1:] + 1, limits.shape[2], axis=2)
        found[self.border[self.shown], self.channel[self.shown]] = limits[self.shown]
        if (found[self.border, self.channel] != limits)[self.shown].any():
            raise ModelError(
                end,
                "quantizes copies of the same sums differently, but a neuron has one threshold; quantize all copies alike",
                code="requantized",
                node=end,
            )
        return found

    def back_uncertain(self, uncertain: UncertainThresholds) -> UncertainThresholds:
        """Map uncertain thresholds of functions to those of the layer; one that several functions share is the last's."""
        if self.whole:
            return uncertain
        function = uncertain.border_class, uncertain.channel
        border, channel = self.border[function], self.channel[function]
        there = np.flatnonzero(self.shown[function])
        size = int(self.channel.max(initial=0)) + 1, int(uncertain.level.max(initial=0)) + 1
        places = (border[there] * size[0] + channel[there]) * size[1] + uncertain.level[there]
        _, first = np.unique(places, return_index=True)
        _, last = np.unique(places[::-1], return_index=True)
        at = there[len(there) - 1 - last[np.argsort(first)]]
        moved = channel[at], border[at], uncertain.level[at]
        return UncertainThresholds(*moved, uncertain.bound[at], uncertain.count[at])


def columns_of(root: Accumulator, axes: tuple[int, ...]) -> Columns | None:
    """Map functions along one axis of the tensor of sums; None if a function applies to several channels."""
    if len(axes) != 1:
        return None
    channel = np.where(root.layout >= 0, root.layout // root.border.size, -1)
    rows = np.moveaxis(channel, axes[0] - 1, 0).reshape(root.layout.shape[axes[0] - 1], -1)
    classes = len(root.scale)
    most = rows.max(axis=1)
    alone = len(np.unique(most[most >= 0])) == (most >= 0).sum()
    if alone and ((rows == most[:, None]) | (rows < 0)).all():
        return _paired(np.arange(classes), most[None])
    phases, rest = divmod(root.shape[0], len(rows))
    if rest or (rows // phases != np.arange(len(rows))[:, None]).any():
        return None
    channels = np.arange(root.shape[0]).reshape(-1, phases).T
    return _paired(np.arange(classes).repeat(phases), np.tile(channels, (classes, 1)))


def per_element(root: Accumulator) -> Columns:
    """Map one function to every element of the tensor, with every position a class of its own."""
    flat = root.layout.reshape(1, -1)
    channel, position = np.divmod(np.maximum(flat, 0), root.border.size)
    return Columns(position, channel, flat >= 0)


def _paired(border: Int, channel: Int) -> Columns:
    border, channel = np.broadcast_arrays(border[:, None], channel)
    return Columns(border, np.maximum(channel, 0), channel >= 0)
