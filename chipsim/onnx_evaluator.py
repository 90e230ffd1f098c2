"""Run ONNX models by onnx's ReferenceEvaluator, where onnxruntime has no kernel for an operator of a new opset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.onnx_repair import opset_of

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: the oldest opset that an onnxruntime this package permits may not know in full
NEW = 22
#: how far an opset may be lowered
STEPS_BACK = 8


def lacks_kernel(error: Exception) -> bool:
    """Return whether onnxruntime refused a model because it has no kernel for an operator, or does not know its opset."""
    text = str(error)
    return (
        "Could not find an implementation" in text
        or "NOT_IMPLEMENTED" in text
        or "NotImplemented" in text
        or "is under development" in text
    )


def older_forms(model: onnx.ModelProto) -> list[onnx.ModelProto]:
    """Return the model in older opsets in which every operator has the same text, newest first.

    An operator's version often only adds types that the model does not use.
    """
    opset = opset_of(model)
    found = []
    for version in range(opset - 1, max(NEW - 1, opset - 1 - STEPS_BACK), -1):
        if not all(_means_the_same(node, opset, version) for node in model.graph.node):
            break
        older = type(model)()
        older.CopyFrom(model)
        for entry in older.opset_import:
            if not entry.domain:
                entry.version = version
        found.append(older)
    return found


def _means_the_same(node: onnx.NodeProto, opset: int, older: int) -> bool:
    """Return whether an operator has the same text and attributes in an older opset."""
    from onnx import defs

    if node.domain:
        return True
    try:
        now, then = (defs.get_schema(node.op_type, version, "") for version in (opset, older))
    except defs.SchemaError:
        return False
    if now.since_version == then.since_version:
        return True
    return bool(now.doc == then.doc and now.attributes.keys() == then.attributes.keys())


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output, as onnxruntime describes one."""

    name: str
    type: str
    shape: list[int | str | None]


class Evaluator:
    """A model run by onnx's ReferenceEvaluator, with the methods of onnxruntime's session that are used here.

    Raises
    ------
    Exception
        Of several types: the evaluator does not know an operator.
    """

    def __init__(self, content: bytes) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        self._model = onnx.load_model_from_string(content)
        self._outputs = [value.name for value in self._model.graph.output]
        self._evaluator = ReferenceEvaluator(self._model)

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        """Return the values of some outputs, all by default."""
        with np.errstate(all="ignore"):
            found = self._evaluator.run(None, dict(feeds))
        values = dict(zip(self._outputs, found, strict=True))
        return [np.asarray(values[name]) for name in outputs or self._outputs]

    def get_inputs(self) -> list[Value]:
        """Describe the inputs that are not initializers."""
        initial = {tensor.name for tensor in self._model.graph.initializer}
        return [_described(value) for value in self._model.graph.input if value.name not in initial]

    def get_outputs(self) -> list[Value]:
        """Describe the outputs."""
        return [_described(value) for value in self._model.graph.output]


def _described(value: onnx.ValueInfoProto) -> Value:
    from onnx import helper

    typed = value.type.tensor_type
    dtype = str(helper.tensor_dtype_to_np_dtype(typed.elem_type)) if typed.elem_type else "float32"
    name = {"float32": "float", "float64": "double"}.get(dtype, dtype)
    return Value(value.name, f"tensor({name})", [d.dim_value or d.dim_param or None for d in typed.shape.dim])
