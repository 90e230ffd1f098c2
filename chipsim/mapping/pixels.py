"""Convert images of a data set to the model's input by the pixel rule of FORMAT.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets.coding import rate_code
from chipsim.datasets.events import EventFrames
from chipsim.errors import InputError
from chipsim.mapping.program import InputSpec

Array = npt.NDArray[Any]
#: what an encoder gives in the place of a level where a value is no pixel (FORMAT.md)
NO_LEVEL = np.int32(np.iinfo(np.int32).min)


def prepare(
    images: Array | EventFrames,
    spec: InputSpec,
    name: str,
    steps: int = 1,
    numbers: Sequence[int] | npt.NDArray[Any] | None = None,
    *,
    as_bytes: bool = False,
) -> Array:
    """Turn a batch of a data set into the model's input.

    Images of the model's own dtype stay as they are; uint8 images for a float model go through the pixel rule, in float32.
    Where spikes enter in several steps, the result is (N, steps, *shape): the data set's own, or what the host makes of
    images.

    Parameters
    ----------
    steps : int
        Steps of a frame.
    numbers : sequence of int, optional
        The images' numbers in the data set, which drawn spikes depend on; by default 0, 1, ...
    as_bytes : bool
        Pixels that the model takes raw stay uint8.

    Raises
    ------
    InputError
        Wrong dtype or shape, NaN or infinity.
    """
    count = len(images)
    if isinstance(images, EventFrames):
        if spec.code != "spikes":
            raise InputError(
                name, "holds events, and this network takes images; compile it with --input spikes", code="data-events"
            )
        return images.spikes(spec.shape, steps, name)
    if spec.code == "spikes":
        return _own_spikes(images, spec, name, steps)
    if spec.code in ("bernoulli", "regular"):
        values = prepare(images, replace(spec, code="image"), name)
        return rate_code(values, spec.code, steps, spec.seed, range(count) if numbers is None else numbers)
    wanted = np.dtype(spec.dtype)
    axes, wanted_axes = ([n for n in shape if n > 1] for shape in (images.shape[1:], spec.shape))
    flat = min(len(axes), len(wanted_axes)) <= 1 and math.prod(axes) == math.prod(wanted_axes)
    # axes of length one, as of a grey channel, may be left out; a flat input takes any image of its size
    if axes != wanted_axes and not flat:
        raise InputError(
            name,
            f"images have shape {images.shape[1:]}; the network takes {spec.shape}{_whole(images.shape[1:], spec.shape)}",
            code="data-shape",
            found=list(images.shape[1:]),
            allowed=list(spec.shape),
        )
    images = images.reshape(count, *spec.shape)
    if images.dtype == wanted:
        if wanted.kind == "f" and not np.isfinite(images).all():
            raise InputError(name, "images contain NaN or infinity", code="data-not-finite")
        return np.ascontiguousarray(images)
    if images.dtype == np.uint8 and wanted.kind == "f":
        if as_bytes and spec.pixels == "raw":
            return np.ascontiguousarray(images)
        return pixels(images, spec).astype(wanted, copy=False)
    raise InputError(
        name,
        f"images have dtype {images.dtype}; the network takes {wanted}" + (" or uint8 pixels" if wanted.kind == "f" else ""),
        code="data-dtype",
        found=str(images.dtype),
        allowed=str(wanted),
    )


def _whole(shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Say what to pass where each image lacks the first axis: it may have been the batch of the model's file."""
    if not wanted or shape != wanted[1:]:
        return ""
    axes = ", ".join(map(str, wanted))
    return f", {wanted[0]:,} of these at a time (a model's whole batch may be one image); pass shape (N, {axes})"


def _own_spikes(images: Array, spec: InputSpec, name: str, steps: int) -> Array:
    """Check the shape of a data set's own spikes, (N, steps, *shape); axes of length one may be left out."""
    wanted = (steps, *spec.shape)
    axes, own = ([n for n in shape[1:] if n > 1] for shape in ((steps, *images.shape[2:]), wanted))
    flat = min(len(axes), len(own)) <= 1 and math.prod(axes) == math.prod(own)
    if images.ndim < 2 or images.shape[1] != steps or (axes != own and not flat):
        raise InputError(
            name,
            f"spikes have shape {images.shape[1:]}; the network takes {wanted}: {steps} steps of {spec.shape}",
            code="data-shape",
            found=list(images.shape[1:]),
            allowed=list(wanted),
        )
    if images.dtype.kind not in "bui":
        raise InputError(
            name, f"spikes have dtype {images.dtype}; allowed: uint8, 0 or 1", code="data-dtype", found=str(images.dtype)
        )
    return np.ascontiguousarray(images.reshape(len(images), *wanted))


def pixels(images: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[np.float32]:
    """Apply the pixel rule of FORMAT.md, in float32."""
    value = images.astype(np.float32)
    if spec.pixels == "raw":
        return value
    value = value / np.float32(255)
    if spec.pixels == "normal":
        each = (-1, *([1] * (value.ndim - 2)))
        mean, std = (np.asarray(part, np.float32).reshape(each) for part in (spec.mean, spec.std))
        value = (value - mean) / std
    return value
