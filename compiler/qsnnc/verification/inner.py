"""Read inner tensors of a model by making them outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from qsnnc.errors import ModelError
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.reference import session

Array = npt.NDArray[Any]


class Reference:
    """The reference model with inner tensors as outputs, run in batches or, if it takes single images only, one by one."""

    def __init__(self, model: Model, tensors: list[str]) -> None:
        import onnx

        proto = type(model.reference)()
        proto.CopyFrom(model.reference)
        there = {value.name for value in proto.graph.output}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(tensors) if name not in there)
        self.wanted = [model.output, *tensors]
        self.run = session(proto, evaluator=True)
        self.input = model.input
        self.rows = {name: model.shapes[name] for name in self.wanted if name in model.merged}
        self.single = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1

    def __call__(self, images: Array) -> list[Array]:
        """Return the output and the inner tensors for a batch."""
        if not self.single:
            try:
                found = self._run(images)
                if all(len(value) == len(images) for value in found):
                    return found
            except ModelError:  # a reshape to one image, say
                if len(images) == 1:
                    raise
            self.single = True
        parts = [self._run(images[i : i + 1]) for i in range(len(images))]
        if any(np.ndim(value) == 0 or len(value) != 1 for part in parts for value in part):
            raise InputError(self.input, "a tensor of the model has no batch axis; export it with one", code="batch-moved")
        return [np.concatenate(columns) for columns in zip(*parts, strict=True)]

    def _run(self, images: Array) -> list[Array]:
        """Return the tensors, with the rows of each image on an axis of their own."""
        found = self.run.run(self.wanted, {self.input: images})
        return [
            value.reshape(len(images), *self.rows[name]) if name in self.rows else value
            for name, value in zip(self.wanted, found, strict=True)
        ]


def with_outputs(content: bytes, tensors: list[str]) -> bytes:
    """Return the model with more of its tensors as outputs."""
    import onnx

    proto = onnx.load_from_string(content)
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    return bytes(proto.SerializeToString())
