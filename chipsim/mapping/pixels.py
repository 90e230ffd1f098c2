"""Convert images of a data set to the model's input by the pixel rule of FORMAT.md."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from chipsim.mapping.program import InputSpec

Array = npt.NDArray[Any]
#: what an encoder gives in the place of a level where a value is no pixel (FORMAT.md)
NO_LEVEL = np.int32(np.iinfo(np.int32).min)


def prepare(images: Array, spec: InputSpec, name: str) -> Array:
    """Turn a batch of a data set into the model's input.

    Images of the model's own dtype stay as they are; uint8 images for a float model go through the pixel rule, in float32.

    Raises
    ------
    InputError
        Wrong dtype or shape, NaN or infinity.
    """
    count = len(images)
    wanted = np.dtype(spec.dtype)
    axes, wanted_axes = ([n for n in shape if n > 1] for shape in (images.shape[1:], spec.shape))
    flat = min(len(axes), len(wanted_axes)) <= 1 and math.prod(axes) == math.prod(wanted_axes)
    # axes of length one, as of a grey channel, may be left out; a flat input takes any image of its size
    if axes != wanted_axes and not flat:
        raise InputError(
            name,
            f"images have shape {images.shape[1:]}; the network takes {spec.shape}",
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
        return pixels(images, spec).astype(wanted)
    raise InputError(
        name,
        f"images have dtype {images.dtype}; the network takes {wanted}" + (" or uint8 pixels" if wanted.kind == "f" else ""),
        code="data-dtype",
        found=str(images.dtype),
        allowed=str(wanted),
    )


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
