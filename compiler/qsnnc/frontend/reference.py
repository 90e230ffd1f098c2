"""onnxruntime with every graph optimisation off: the reference that every result is held against."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.file import first_line

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: types that onnxruntime computes with and cannot hand to NumPy
NARROW = {"tensor(int4)": "INT4", "tensor(uint4)": "UINT4", "tensor(int2)": "INT2", "tensor(uint2)": "UINT2"}


class Session:
    """An onnxruntime session with every graph optimisation off: the reference. What it refuses is an error of the model."""

    def __init__(self, content: bytes) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
            raise _not_run(error) from None

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        """Values of the outputs."""
        try:
            return list(self._session.run(outputs, dict(feeds)))
        except Exception as error:  # noqa: BLE001
            raise _not_run(error) from None

    def get_inputs(self) -> list[Any]:
        """As onnxruntime describes them."""
        return list(self._session.get_inputs())

    def get_outputs(self) -> list[Any]:
        """As onnxruntime describes them."""
        return list(self._session.get_outputs())


def session(model: onnx.ModelProto | bytes) -> Session:
    """Return the reference for a model."""
    return Session(model if isinstance(model, bytes) else model.SerializeToString())


def evaluate(model: onnx.ModelProto) -> list[Array]:
    """Every output of a model without inputs; integers of 2 and 4 bits, too."""
    from onnx import TensorProto, helper, numpy_helper

    narrow = {o.name: NARROW[o.type] for o in session(model).get_outputs() if o.type in NARROW}
    outputs = [output.name for output in model.graph.output]
    if not narrow:
        return session(model).run(outputs, {})
    shown = type(model)()
    shown.CopyFrom(model)
    standard = next((entry.version for entry in model.opset_import if not entry.domain), 1)
    domain = "" if standard >= 21 else "com.microsoft"  # whose DequantizeLinear knows them
    if not any(entry.domain == domain for entry in model.opset_import):
        shown.opset_import.append(helper.make_opsetid(domain, 1))
    shown.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "qsnnc.one"))
    for value in shown.graph.output:
        if value.name in narrow:
            value.CopyFrom(helper.make_tensor_value_info(f"{value.name}[shown]", TensorProto.FLOAT, None))
            plain = value.name.removesuffix("[shown]")
            shown.graph.node.append(helper.make_node("DequantizeLinear", [plain, "qsnnc.one"], [value.name], domain=domain))
    values = session(shown).run(None, {})
    kinds = [
        helper.tensor_dtype_to_np_dtype(getattr(TensorProto, narrow[name])) if name in narrow else None for name in outputs
    ]
    return [value if kind is None else value.astype(kind) for value, kind in zip(values, kinds, strict=True)]


def _not_run(error: Exception) -> ModelError:
    import onnxruntime as ort

    named = re.search(r"[Nn]ame:'([^']+)'|[Nn]ode ?\((?:'|)([^)']+)", str(error))
    node = next((part for part in named.groups() if part), None) if named else None
    text = f"onnxruntime {ort.__version__} does not run it: {first_line(error)}"
    return ModelError(node or "model", text, code="reference-refuses", node=node)
