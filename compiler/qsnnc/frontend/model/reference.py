"""Run the reference that results are compared with: onnxruntime with all graph optimisations off.

Where it has no kernel for an operator of a new opset, the reference is onnx's ReferenceEvaluator.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from chipsim import onnx_runtime
from chipsim.onnx_evaluator import NEW, Evaluator, lacks_kernel, older_forms
from chipsim.onnx_repair import opset_of
from qsnnc.errors import ModelError
from qsnnc.frontend.model.messages import first_line

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]


class Session:
    """An onnxruntime session with all graph optimisations off; its errors become `ModelError`.

    Parameters
    ----------
    content : bytes
        Of the model.
    evaluator : bool
        Whether onnx's ReferenceEvaluator runs the model if onnxruntime has no kernel for one of its operators.
    """

    def __init__(self, content: bytes, *, evaluator: bool = False) -> None:
        self.executor: Literal["onnxruntime", "onnx"] = "onnxruntime"
        try:
            self._session = _opened(content)
        except ModelError as error:
            if not (evaluator and lacks_kernel(error)):
                raise
            self._session, self.executor = _evaluator(content, error), "onnx"

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


def _evaluator(content: bytes, refusal: ModelError) -> Evaluator:
    """Return a session of onnx's ReferenceEvaluator; raises onnxruntime's refusal if that does not know an operator."""
    try:
        return Evaluator(content)
    except Exception:  # noqa: BLE001  # onnx raises several types
        raise refusal from None


def _opened(content: bytes, executed: Path | None = None) -> Any:
    """Return onnxruntime's session, after writing the graph that it executes to a file if asked for."""
    options = onnx_runtime.options()
    if executed is not None:
        options.optimized_model_filepath = str(executed)
    try:
        return onnx_runtime.session(content, options)
    except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
        raise _not_run(error) from None


def executed_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write the graph that onnxruntime executes for a model: without optimisation, but with the casts that it inserts.

    Raises
    ------
    ModelError
        onnxruntime cannot run the model.
    """
    _opened(model.SerializeToString(), path)


def session(model: onnx.ModelProto | bytes, *, evaluator: bool = False) -> Session:
    """Return a reference session for a model; see `Session`."""
    return Session(model if isinstance(model, bytes) else model.SerializeToString(), evaluator=evaluator)


def with_kernels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in the newest opset for which onnxruntime has kernels, if its operators mean the same there.

    The model itself if its own opset is such a one, or if there is none.
    """
    if opset_of(model) < NEW:
        return model
    try:
        session(model)
    except ModelError as error:
        if lacks_kernel(error):
            for older in older_forms(model):
                with contextlib.suppress(ModelError):
                    session(older)
                    return older
    return model


def _not_run(error: Exception) -> ModelError:
    ort = onnx_runtime.load()
    named = re.search(r"[Nn]ame:'([^']+)'|[Nn]ode ?\((?:'|)([^)']+)", str(error))
    node = next((part for part in named.groups() if part), None) if named else None
    text = f"onnxruntime {ort.__version__} cannot run it: {first_line(error)}"
    return ModelError(node or "model", text, code="reference-refuses", node=node)
