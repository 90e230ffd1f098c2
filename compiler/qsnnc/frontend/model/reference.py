"""Run onnxruntime with all graph optimisations off: the reference that results are compared with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from chipsim import onnx_runtime
from qsnnc.errors import ModelError
from qsnnc.frontend.model.messages import first_line

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]


class Session:
    """An onnxruntime session with all graph optimisations off; its errors become `ModelError`."""

    def __init__(self, content: bytes) -> None:
        ort = onnx_runtime.load()
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
            raise _not_run(error) from None

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        """Return the values of the outputs."""
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
    """Return a reference session for a model."""
    return Session(model if isinstance(model, bytes) else model.SerializeToString())


def _not_run(error: Exception) -> ModelError:
    ort = onnx_runtime.load()
    named = re.search(r"[Nn]ame:'([^']+)'|[Nn]ode ?\((?:'|)([^)']+)", str(error))
    node = next((part for part in named.groups() if part), None) if named else None
    text = f"onnxruntime {ort.__version__} cannot run it: {first_line(error)}"
    return ModelError(node or "model", text, code="reference-refuses", node=node)
