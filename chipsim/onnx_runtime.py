"""Load onnxruntime with its telemetry off: nothing is sent, no file is left in the temporary folder, nothing is printed."""

from __future__ import annotations

import os
from typing import Any


def load() -> Any:
    """Return the module ``onnxruntime``.

    The variable works in the versions whose telemetry starts with the import, the function in those before.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    disable = getattr(onnxruntime, "disable_telemetry_events", None)
    if disable is not None:
        disable()
    return onnxruntime


def options(*, plain: bool = True) -> Any:
    """Return the options of a session on one thread that prints nothing, without graph optimisation if ``plain``."""
    ort = load()
    found = ort.SessionOptions()
    if plain:
        found.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    found.intra_op_num_threads = 1
    found.log_severity_level = 4
    return found


def session(content: bytes, given: Any = None) -> Any:
    """Return a session with some options, those of `options` by default; raises onnxruntime's own errors."""
    return load().InferenceSession(content, options() if given is None else given, providers=["CPUExecutionProvider"])
