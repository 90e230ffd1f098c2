"""The compiler: a quantized ONNX network in, a mapping onto crossbar cores out.

``qsnnc.compile_model(path)`` gives a `Compilation` whose ``mapping`` is written with ``chipsim.write_mapping``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsnnc.errors import DoesNotFit, ModelError, QsnncError, Violation
    from qsnnc.explain.inspect import inspect
    from qsnnc.pipeline import Compilation, check, compile_model
    from qsnnc.verification import Verification, verify

__all__ = [
    "Compilation", "DoesNotFit", "ModelError", "QsnncError", "Verification", "Violation", "check", "compile_model", "inspect",
    "verify",
]  # fmt: skip

_HOME = {
    "Compilation": "qsnnc.pipeline", "check": "qsnnc.pipeline", "compile_model": "qsnnc.pipeline", "verify": "qsnnc.verification",
    "Verification": "qsnnc.verification", "DoesNotFit": "qsnnc.errors", "ModelError": "qsnnc.errors", "QsnncError": "qsnnc.errors",
    "Violation": "qsnnc.errors", "inspect": "qsnnc.explain.inspect",
}  # fmt: skip


def __getattr__(name: str) -> Any:  # so that `import qsnnc` stays light
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'qsnnc' has no attribute {name!r}")
