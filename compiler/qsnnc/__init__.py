"""Compile quantized ONNX networks onto chips of crossbar cores.

``qsnnc.compile_model("lenet.onnx", chip="xbar1152")`` returns a `Compilation`, whose ``mapping`` is written with
``chipsim.write_mapping`` and executed with ``chipsim.run``. Options are keywords, or one value: `CompileOptions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chipsim.errors import InputError, ReportedError, UsageError
    from qsnnc.compilation import CheckResult, Compilation, Estimate, FailedCompilation
    from qsnnc.errors import DoesNotFit, ModelError, QsnncError, Violation
    from qsnnc.explain.chips import chips
    from qsnnc.explain.inspect import inspect
    from qsnnc.fitting.fit import fit
    from qsnnc.fitting.result import FitResult
    from qsnnc.ir.layers import Connection, Layer, LayerGraph, Population
    from qsnnc.nir.options import NirOptions
    from qsnnc.options import BackendOptions, CompileOptions, FrontendOptions, Placing
    from qsnnc.pipeline import check, compile_layers, compile_model, read_layers
    from qsnnc.verification import Mismatch, Verification, verify
    from qsnnc.verification.spiking import SpikingVerification, verify_spiking

__all__ = [
    "BackendOptions", "CheckResult", "Compilation", "CompileOptions", "Connection", "DoesNotFit", "Estimate",
    "FailedCompilation", "FitResult", "FrontendOptions", "InputError", "Layer", "LayerGraph", "Mismatch", "ModelError",
    "NirOptions", "Placing", "Population", "QsnncError", "ReportedError", "SpikingVerification", "UsageError",
    "Verification", "Violation", "check", "chips", "compile_layers", "compile_model", "fit", "inspect", "read_layers",
    "verify", "verify_spiking",
]  # fmt: skip

_HOME = {
    "chipsim.errors": "InputError ReportedError UsageError",
    "qsnnc.compilation": "CheckResult Compilation Estimate FailedCompilation",
    "qsnnc.errors": "DoesNotFit ModelError QsnncError Violation",
    "qsnnc.explain.chips": "chips",
    "qsnnc.explain.inspect": "inspect",
    "qsnnc.fitting.fit": "fit",
    "qsnnc.fitting.result": "FitResult",
    "qsnnc.ir.layers": "Connection Layer LayerGraph Population",
    "qsnnc.nir.options": "NirOptions",
    "qsnnc.options": "BackendOptions CompileOptions FrontendOptions Placing",
    "qsnnc.pipeline": "check compile_layers compile_model read_layers",
    "qsnnc.verification": "Mismatch Verification verify",
    "qsnnc.verification.spiking": "SpikingVerification verify_spiking",
}


def __getattr__(name: str) -> Any:  # so that `import qsnnc` stays light
    for module, names in _HOME.items():
        if name in names.split():
            import importlib

            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'qsnnc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
