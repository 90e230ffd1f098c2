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
