"""The host beside a PAICORE 2.5: encoder, the frames that it sends, read-out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.host import ORT_TYPES, Array, keeps_promise, refuse_no_level, run_model, session
from chipsim.engine.paicore.cores import INPUT_ROWS, ROW_BITS, Core
from chipsim.errors import InputError
from chipsim.paicore.fields import Int, Words
from chipsim.paicore.program import THERMOMETER, Program
from chipsim.paicore.words import work_words


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """Inputs of the encoder that go to the cores of one vertical run, in one frame each."""

    cores: tuple[int, ...]
    sources: Int  # (n,): encoder inputs
    addresses: Int  # (n,): bit addresses in the cores' input maps
    lcn: int  # of the cores
    route: dict[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """Runs the encoder and the read-out of a program, on any number of images at once."""

    mapping: Program
    encoder: Any
    readout: Any
    deliveries: tuple[Delivery, ...]

    def values(self, images: Array) -> npt.NDArray[np.uint8]:
        """Return what the encoder's inputs are, uint8 (E, images): spikes, or levels with the value code."""
        signal = self.mapping.encoder
        if self.encoder is None:
            if not np.isin(images, (0, 1)).all():
                raise InputError("images", "hold other values than spikes, and spikes are 0 or 1", code="data-spikes")
            return np.ascontiguousarray(images.reshape(len(images), -1).T.astype(np.uint8))
        name = self.mapping.input.name
        levels = run_model(self.encoder, "levels", name, images, "encoder.onnx", (len(images), *signal.shape))
        refuse_no_level(levels, self.mapping.generator, signal.tensor)
        flat = levels.reshape(len(images), -1).T.astype(np.int32)
        if signal.code != THERMOMETER:
            return np.clip(flat, 0, signal.levels).astype(np.uint8)
        fired = flat[:, None, :] > np.arange(signal.levels, dtype=np.int32)[:, None]
        return fired.reshape(-1, len(images)).view(np.uint8)

    def scores(self, potentials: npt.NDArray[np.int64]) -> Array:
        """Map potentials (images, outputs) to the model's output, (images, *shape)."""
        output = self.mapping.output
        shape = (len(potentials), *output.shape)
        return run_model(self.readout, output.tensor, "potentials", potentials, "readout.onnx", shape)

    def words(self, values: npt.NDArray[np.uint8], step: int = 0) -> Words:
        """Return the data frames of one image, uint64 (frames,).

        Parameters
        ----------
        values : ndarray, uint8, (E,)
        step : int
            Step of the cores in which they read the image: 0, or in a stream its number.
        """
        found = [np.zeros(0, np.uint64)]
        for entry in self.deliveries:
            sent = values[entry.sources] > 0
            address = (entry.addresses[sent] + (step * ROW_BITS << entry.lcn)) % (INPUT_ROWS * ROW_BITS)
            found.append(work_words(address, values[entry.sources][sent], entry.route))
        return np.concatenate(found)


def load_host(program: Program, cores: tuple[Core, ...]) -> Host:
    """Load the two ends of a program, and see that their names are what the format promises.

    Raises
    ------
    MappingError
    """
    encoder = session(program.encoder_onnx, "encoder.onnx") if program.encoder_onnx is not None else None
    readout = session(program.readout_onnx, "readout.onnx")
    outputs = math.prod(program.layers[-1].shape)
    keeps_promise(
        readout,
        "readout.onnx",
        ("potentials", "tensor(int64)", (outputs,)),
        (program.output.tensor, None, program.output.shape),
    )
    if encoder is not None:
        given = (program.input.name, ORT_TYPES[program.input.dtype], program.input.shape)
        keeps_promise(encoder, "encoder.onnx", given, ("levels", "tensor(int32)", program.encoder.shape))
    return Host(program, encoder, readout, _deliveries(program, cores))


def _deliveries(program: Program, cores: tuple[Core, ...]) -> tuple[Delivery, ...]:
    """Return which inputs of the encoder go where."""
    number = {(core.x, core.y): k for k, core in enumerate(cores)}
    found = []
    for entry in program.deliveries:
        address = entry.addresses(program.encoder_shape, program.encoder.per_feature).reshape(-1)
        sources = np.flatnonzero(address >= 0)
        run = tuple(number[entry.x, entry.y + copy] for copy in range(entry.copies + 1))
        route = {"x": entry.x, "y": entry.y, "copies_y": entry.copies}
        found.append(Delivery(run, sources, address[sources], cores[run[0]].registers["lcn"], route))
    return tuple(found)
