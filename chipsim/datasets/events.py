"""Frames of events, as event cameras and cochleas record them, and the spikes that they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class EventFrames:
    """Events of N frames; those of frame i are ``offsets[i]`` to ``offsets[i + 1]``.

    Parameters
    ----------
    x, y, p : ndarray, integers, (events,)
        Column, row and polarity (0 or 1) of each event.
    t : ndarray, (events,)
        Time, in any unit.
    offsets : ndarray, int64, (N + 1,)
    duration : float or None
        Duration of a frame in the unit of ``t``; None: from its first to its last event.
    """

    x: Array
    y: Array
    t: Array
    p: Array
    offsets: npt.NDArray[np.int64]
    duration: float | None = None

    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.int64)  # of no image
    ndim: ClassVar[int] = 2

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.offsets) - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, and events of all of them."""
        return len(self), len(self.t)

    def __getitem__(self, part: slice) -> EventFrames:
        """Return some frames."""
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise IndexError("frames of events are read one after the other")
        first, last = self.offsets[start], self.offsets[max(start, stop)]
        x, y, t, p = (array[first:last] for array in (self.x, self.y, self.t, self.p))
        return EventFrames(x, y, t, p, self.offsets[start : max(start, stop) + 1] - first, self.duration)

    def spikes(self, shape: tuple[int, ...], steps: int, name: str) -> npt.NDArray[np.uint8]:
        """Return the spikes, uint8 (N, steps, *shape): 1 where at least one event falls into a step.

        An event of a frame that lasts from a to b falls into step floor((t - a) steps / (b - a)), where a is 0 and b the
        duration, or a and b are the frame's first and last time; what falls on b is in the last step. Polarity is the
        channel of (2, rows, columns) and is ignored with one channel; with one axis, x is the index.

        Raises
        ------
        InputError
            An event lies outside the shape, or the shape has no such axes.
        """
        channels, rows, columns = _space(shape, name)
        frame = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        at = self._steps(frame, steps)
        channel = self.p if channels == 2 else np.zeros(len(self.p), np.int64)
        for what, values, size in (("x", self.x, columns), ("y", self.y, rows)):
            if len(values) and not (values.min() >= 0 and values.max() < size):
                raise InputError(
                    name, f"events have {what} from {values.min()} to {values.max()}; the network's input of shape {shape} "
                    f"allows 0 to {size - 1}",
                    code="data-events", found=int(values.max()), allowed=size - 1,
                )  # fmt: skip
        out = np.zeros((len(self), steps, channels, rows, columns), np.uint8)
        out[frame, at, channel, self.y, self.x] = 1
        return out.reshape(len(self), steps, *shape)

    def _steps(self, frame: npt.NDArray[np.int64], steps: int) -> npt.NDArray[np.int64]:
        """Return the step of each event."""
        time = self.t.astype(np.float64)
        if self.duration is not None:
            return np.minimum(np.floor(time * steps / self.duration), steps - 1).astype(np.int64)
        first, last = np.full(len(self), np.inf), np.full(len(self), -np.inf)
        np.minimum.at(first, frame, time)
        np.maximum.at(last, frame, time)
        length = np.where(last > first, last - first, 1.0)
        found: npt.NDArray[np.int64] = np.floor((time - first[frame]) * steps / length[frame]).astype(np.int64)
        found[found >= steps] = steps - 1  # the last event
        return found


def read_events(arrays: Mapping[str, Array], name: str) -> EventFrames:
    """Check the arrays of an event file: ``x, t, offsets``, and ``y``, ``p``, ``duration`` where there are any.

    Raises
    ------
    InputError
        Lengths, dtypes or values that mean nothing.
    """
    t = np.asarray(arrays["t"])
    count = len(t) if t.ndim == 1 else -1
    found = {"t": t, "x": np.asarray(arrays["x"])}
    for key in ("y", "p"):
        found[key] = np.asarray(arrays[key]) if key in arrays else np.zeros(max(count, 0), np.int64)
    for key, values in found.items():
        if values.shape != (count,) or values.dtype.kind not in ("uif" if key == "t" else "uib"):
            raise _refuse(
                name, f"'{key}' has shape {values.shape} and dtype {values.dtype}; expected: ({max(count, 0)},), "
                f"{'numbers' if key == 't' else 'integers'}"
            )  # fmt: skip
    if not np.isfinite(t.astype(np.float64)).all():
        raise _refuse(name, "'t' contains NaN or infinity")
    if count and not np.isin(found["p"], (0, 1)).all():
        raise _refuse(name, f"'p' has {found['p'].min()}; polarity is 0 or 1")
    offsets = np.asarray(arrays["offsets"])
    good = offsets.ndim == 1 and len(offsets) > 1 and offsets.dtype.kind in "ui"
    if not good or offsets[0] != 0 or int(offsets[-1]) != count or (np.diff(offsets.astype(np.int64)) < 0).any():
        raise _refuse(name, f"'offsets' must rise from 0 to {count}, the number of events, in at least two integers")
    duration = None
    if "duration" in arrays:
        value = np.asarray(arrays["duration"], np.float64).reshape(-1)
        if len(value) != 1 or not 0 < value[0] < np.inf:
            raise _refuse(name, "'duration' must be one number above 0")
        duration = float(value[0])
        outside = int(((t < 0) | (t > duration)).sum())
        if outside:
            raise _refuse(
                name, f"{outside:,} of {count:,} events lie outside 0 to the duration, {duration:g} (t is {t.min():g} to "
                f"{t.max():g}); leave them out, or raise 'duration'"
            )  # fmt: skip
    x, y, p = (found[key].astype(np.int64) for key in "xyp")
    return EventFrames(x, y, t, p, offsets.astype(np.int64), duration)


def _space(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """View the shape of an input as channels (1 or 2), rows and columns."""
    if len(shape) == 1:
        return 1, 1, shape[0]
    space = (1, *shape) if len(shape) == 2 else shape
    if len(space) != 3 or space[0] not in (1, 2):
        raise _refuse(name, f"events have 1 or 2 channels, rows and columns; the network's input has shape {shape}")
    return space[0], space[1], space[2]


def _refuse(name: str, text: str) -> InputError:
    return InputError(name, text, code="data-events")
