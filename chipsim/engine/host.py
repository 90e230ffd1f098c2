"""Run the parts of a network that stay on the host: encoder, noise, readout."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim import onnx_runtime
from chipsim.errors import InputError, MappingError
from chipsim.faults.draws import lost
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import NO_LEVEL
from chipsim.onnx_evaluator import Evaluator, lacks_kernel
from chipsim.quoting import quote

Array = npt.NDArray[Any]
Value = tuple[str, str | None, tuple[int, ...]]  # name, onnxruntime's type (None: any), shape of one image

#: onnxruntime's names of the dtypes that differ from NumPy's
ORT_TYPES = {
    name: f"tensor({ {'float32': 'float', 'float64': 'double'}.get(name, name) })"
    for name in "float16 float32 float64 uint8 int8 uint16 int16 uint32 int32 uint64 int64 bool".split()
}


def session(content: bytes, what: str, plain: bool = True) -> Any:
    """Return an onnxruntime session on one thread, without graph optimisation if ``plain``.

    Raises
    ------
    MappingError
        onnxruntime does not take the model, or it reaches for files of its own.
    """
    if b"location" in content:  # the key that no external data can do without
        import onnx

        try:
            proto = onnx.load_model_from_string(content)
        except Exception as error:  # noqa: BLE001  # protobuf raises several types
            raise MappingError(what, f"is not an ONNX model ({error})", code="map-onnx") from None
        if _reaches_out(proto):
            raise MappingError(what, "refers to external data; a .map must contain all of its data", code="map-onnx")
    try:
        return onnx_runtime.session(content, onnx_runtime.options(plain=plain))
    except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
        reason = quote(error)
        raise MappingError(what, f"cannot be loaded by onnxruntime ({reason})", code="map-onnx") from None


def reference_session(content: bytes, what: str) -> Any:
    """Return a session for a reference model: onnx's ReferenceEvaluator if onnxruntime has no kernel for an operator.

    Raises
    ------
    MappingError
        As `session`.
    """
    try:
        return session(content, what)
    except MappingError as error:
        if not lacks_kernel(error):
            raise
        try:
            return Evaluator(content)
        except Exception:  # noqa: BLE001  # onnx raises several types
            raise error from None


def _reaches_out(message: Any) -> bool:
    """Whether a tensor anywhere in a model (initializer, attribute, subgraph, function) lies in another file."""
    if type(message).__name__ == "TensorProto":
        return bool(message.external_data) or message.data_location == message.EXTERNAL
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        parts = value if isinstance(value, Iterable) else (value,)
        if any(_reaches_out(part) for part in parts):
            return True
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """Runs the encoder and the readout of a mapping on any number of images."""

    mapping: Mapping
    encoder: Any
    readout: Any

    def spikes(self, images: Array) -> npt.NDArray[np.uint8]:
        """Return the encoder's spikes, uint8 (E, images): neuron i of a feature fires iff its level is above i."""
        population = self.mapping.encoder
        if self.encoder is None:
            _refuse_other_than_spikes(images)
            return np.ascontiguousarray(images.reshape(len(images), -1).T.astype(np.uint8))
        levels = self.levels(images)
        refuse_no_level(levels, self.mapping.generator, population.tensor)
        flat = levels.reshape(len(images), -1).T.astype(np.int32)
        fired = flat[:, None, :] > np.arange(population.levels, dtype=np.int32)[:, None]
        return fired.reshape(-1, len(images)).view(np.uint8)

    def levels(self, images: Array) -> Array:
        """Return the levels that encoder.onnx gives, int32 (images, *shape)."""
        shape = (len(images), *self.mapping.encoder.shape)
        return run_model(self.encoder, "levels", self.mapping.input.name, images, "encoder.onnx", shape)

    def frames(self, images: Array) -> npt.NDArray[np.uint8]:
        """Return what enters in each step, uint8 (steps, E, images), from what `chipsim.mapping.pixels.prepare` returns.

        Raises
        ------
        InputError
            As `spikes`.
        """
        m = self.mapping
        if m.input.code == "image":
            return self.spikes(images)[None]
        if m.input.code == "direct":
            spikes = self.spikes(images)
            return np.broadcast_to(spikes, (m.steps, *spikes.shape))
        if m.input.code == "computed":
            shape = (len(images), m.steps, *m.encoder.shape)
            images = run_model(self.encoder, "levels", m.input.name, images, "encoder.onnx", shape)
        _refuse_other_than_spikes(images)
        return np.ascontiguousarray(images.reshape(len(images), m.steps, -1).transpose(1, 2, 0).astype(np.uint8))

    def scores(self, potentials: npt.NDArray[np.int64]) -> Array:
        """Map potentials (images, outputs) to the model's output, (images, *shape)."""
        shape = (len(potentials), *self.mapping.output_shape)
        return run_model(self.readout, self.mapping.output_tensor, "potentials", potentials, "readout.onnx", shape)


def _refuse_other_than_spikes(images: Array) -> None:
    if not ((images == 0) | (images == 1)).all():
        raise InputError("images", "must be 0 or 1: the input of this mapping is spikes", code="data-spikes")


def refuse_no_level(levels: Array, generator: str, tensor: str) -> None:
    """Refuse images for which the encoder reports that it does not take a value (FORMAT.md).

    Parameters
    ----------
    generator : str
        The program that wrote the mapping; of others' encoders nobody knows what they take.
    tensor : str
        The model's tensor that has these levels; '' for the pixels themselves.

    Raises
    ------
    InputError
    """
    if levels.dtype.kind != "i" or not (levels == NO_LEVEL).any():
        return
    if tensor:
        text = f"give no number as {tensor!r}, the activation that the host hands over; the model divides by zero"
    elif generator.startswith("qsnnc "):
        text = (
            "contain values other than whole numbers from 0 to 255, and this mapping takes raw pixels; "
            "pass uint8 images, or compile with --encoder host"
        )
    else:
        text = f"contain values that the mapping's encoder does not take (a level of {NO_LEVEL}); see the mapping's author"
    raise InputError("images", text, code="data-not-pixels")


def load_host(mapping: Mapping) -> Host:
    """Load the encoder and the readout of a mapping, and check their names and shapes."""
    encoder = session(mapping.encoder_onnx, "encoder.onnx") if mapping.encoder_onnx is not None else None
    readout = session(mapping.readout_onnx, "readout.onnx")
    outputs = mapping.outputs
    keeps_promise(
        readout,
        "readout.onnx",
        ("potentials", "tensor(int64)", (outputs,)),
        (mapping.output_tensor, None, mapping.output_shape),
    )
    if encoder is not None:
        given = (mapping.input.name, ORT_TYPES[mapping.input.dtype], mapping.input.shape)
        made = (mapping.steps, *mapping.encoder.shape) if mapping.input.code == "computed" else mapping.encoder.shape
        keeps_promise(encoder, "encoder.onnx", given, ("levels", "tensor(int32)", made))
    return Host(mapping, encoder, readout)


def keeps_promise(model: Any, what: str, given: Value, made: Value) -> None:
    """See that the one input and the one output have the name, type and shape (where it is fixed) that the format says."""
    for ends, (name, kind, shape) in ((model.get_inputs(), given), (model.get_outputs(), made)):
        found = [(end.name, end.type, end.shape) for end in ends]
        good = len(ends) == 1 and ends[0].name == name and kind in (None, ends[0].type)
        sizes = ends[0].shape if good else []
        if sizes:  # a name or None in it is free
            good = len(sizes) == 1 + len(shape) and all(
                a == b for a, b in zip(sizes[1:], shape, strict=True) if isinstance(a, int)
            )
        if not good:
            wanted = (name, kind or "any type", ["N", *shape])
            raise MappingError(
                what, f"has {found} where the format says {wanted}", code="map-onnx", found=str(found), allowed=str(wanted)
            )


def run_model(model: Any, result: str, source: str, value: Array, what: str, shape: tuple[int, ...]) -> Array:
    """Run a model on images, one at a time if its batch axis is 1, and check the shape of the result."""
    fixed = model.get_inputs()[0].shape[0] == 1 and len(value) > 1
    try:
        if fixed:
            out = np.concatenate([model.run([result], {source: value[i : i + 1]})[0] for i in range(len(value))])
        else:
            (out,) = model.run([result], {source: value})
    except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
        raise MappingError(what, f"cannot be run ({quote(error)})", code="map-onnx") from None
    if out.shape != shape:
        raise MappingError(
            what,
            f"returns shape {out.shape}; mapping.yaml specifies {shape}",
            code="map-onnx",
            found=out.shape,
            allowed=shape,
        )
    return np.asarray(out)


def lose(spikes: npt.NDArray[np.uint8], images: Sequence[int], probability: float, seed: int) -> npt.NDArray[np.uint8]:
    """Drop encoder spikes: one draw per (seed, image, step, source neuron), whatever the batch.

    Which are lost says `chipsim.faults.draws.lost`; step t's numbers follow those of the steps before.

    Parameters
    ----------
    spikes : ndarray, uint8, (steps, E, images) or (E, images)
        Or values; a lost one is 0.
    images : sequence of int
        Indices in the data set, of the columns.
    """
    gone = lost(seed, 0, math.prod(spikes.shape[:-1]), probability, images)
    return np.where(gone.reshape(spikes.shape), np.uint8(0), spikes)
