"""Run the encoder for one worker and write the levels into its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.callables import Kernels
from chipsim.engine.fast.encoder import AT_ONCE, Encoder
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.host import Array, refuse_no_level, run_model
from chipsim.errors import InputError
from chipsim.mapping import Mapping


class Encoding:
    """Memory for `AT_ONCE` images, which onnxruntime reads and writes itself where it can."""

    def __init__(
        self,
        program: Mapping,
        features: int,
        encoder: Encoder,
        functions: Kernels,
        values: npt.NDArray[np.uint8],
    ) -> None:
        self.encoder, self.features = encoder, features
        self.generator, self.tensor = program.generator, program.encoder.tensor
        self.count = program.encoder_neurons // program.encoder.levels
        self.graded = aligned((AT_ONCE, features), np.float32)
        levels = len(encoder.thresholds)
        self.encode = functions["encode"]
        self.given = aligned((AT_ONCE, *program.input.shape), np.dtype(program.input.dtype))
        straight = self.count == features and not encoder.single
        self.plain, self.quick = (self._binding(m) if straight else None for m in (encoder.linear(), encoder.quick()))
        self.place = {
            e: (features, levels, address(e.thresholds), address(e.signs)) for e in (encoder, encoder.whole) if e is not None
        }
        self.from_graded, self.to_values = address(self.graded), address(values)

    def run(self, images: Array, pixels: bool) -> None:
        """Put the levels of up to 64 images into the values; ``pixels``: whole numbers from 0 to 255, for sure."""
        images = images.astype(self.given.dtype, copy=False)
        for group, first in enumerate(range(0, len(images), AT_ONCE)):
            part = images[first : first + AT_ONCE]
            e = self._grade(part, pixels)
            self.encode(self.from_graded, len(part), *self.place[e], self.to_values + AT_ONCE * group)

    def _grade(self, images: Array, pixels: bool) -> Encoder:
        """Make what thresholds are compared with, float32 (images, features); return whose thresholds."""
        e = self.encoder
        if self.plain is not None and len(images) == AT_ONCE:
            self.given[...] = images
            if pixels and self.quick is not None:
                e.quick().run_with_iobinding(self.quick)
                return e  # all of it is finite, that is proved
            e.linear().run_with_iobinding(self.plain)
            finite = _finite(self.graded)
        else:
            finite = self._linear(e, images)
        if finite or e.whole is None or e.linear() is None:
            return e
        self._linear(e.whole, images)  # infinity and what is no number: the chain itself says what becomes of it
        return e.whole

    def _linear(self, e: Encoder, images: Array) -> bool:
        """Run any number of images; whether all of the result is finite."""
        linear = e.linear()
        if linear is None:
            if not e.split and not np.isin(images, (0, 1)).all():
                raise InputError("images", "must be 0 or 1: the input of this mapping is spikes", code="data-spikes")
            found = images
        elif e.single:
            found = np.concatenate([linear.run([e.tensor], {e.source: images[i : i + 1]})[0] for i in range(len(images))])
        else:
            found = run_model(linear, e.tensor, e.source, images, "encoder.onnx", (len(images), *e.shape))
        refuse_no_level(found, self.generator, self.tensor)
        graded = self.graded[: len(images), : self.count]
        graded[...] = found.reshape(len(images), -1)
        return _finite(graded)

    def _binding(self, model: Any) -> Any:
        """Let onnxruntime read and write this memory itself, for a full group; None where it will not."""
        if model is None or model.get_outputs()[0].type != "tensor(float)":
            return None
        e = self.encoder
        binding = model.io_binding()
        binding.bind_input(e.source, "cpu", 0, self.given.dtype, self.given.shape, address(self.given))
        binding.bind_output(e.tensor, "cpu", 0, np.float32, (AT_ONCE, *e.shape), address(self.graded))
        try:
            model.run_with_iobinding(binding)
        except Exception:  # noqa: BLE001  # onnxruntime raises several types of its own; the other way says what is wrong
            return None
        return binding


def _finite(values: npt.NDArray[np.float32]) -> bool:
    """Whether all values are finite, and not so large that their sum is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))
