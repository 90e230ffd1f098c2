"""The compiler: a quantized ONNX network in, a mapping onto crossbar cores out.

``qsnnc.compile_model(path)`` gives a `Compilation` whose ``mapping`` is written with ``chipsim.write_mapping``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsnnc.errors import DoesNotFit, ModelError, QsnncError, Violation
    from qsnnc.explain.chips import chips
    from qsnnc.explain.inspect import inspect
    from qsnnc.pipeline import Compilation, check, compile_model
    from qsnnc.verification import Verification, verify

__all__ = [
    "Compilation", "DoesNotFit", "ModelError", "QsnncError", "Verification", "Violation", "check", "chips", "compile_model",
    "inspect", "verify",
]  # fmt: skip

_HOME = {
    "qsnnc.errors": "DoesNotFit ModelError QsnncError Violation",
    "qsnnc.explain.chips": "chips",
    "qsnnc.explain.inspect": "inspect",
    "qsnnc.pipeline": "Compilation check compile_model",
    "qsnnc.verification": "Verification verify",
}


def __getattr__(name: str) -> Any:  # so that `import qsnnc` stays light
    for module, names in _HOME.items():
        if name in names.split():
            import importlib

            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'qsnnc' has no attribute {name!r}")
