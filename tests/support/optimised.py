"""Write the files `tests/zoo/opt_*.onnx`: graphs of the zoo as other tools simplify or optimise them.

Needs onnxruntime, onnxsim and onnxslim, in an environment of their own: ``python tests/support/optimised.py tests/zoo``.
Made with onnxruntime 1.32.0, onnxsim 0.8.1 and onnxslim 0.1.98.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx

#: a network of float operators, and one of QuantizeLinear and DequantizeLinear in 8 bits
FLOAT, INTEGER = "th_fp32_round_ts13", "ort_qdq_u8s8"
#: onnxruntime's levels of optimisation, and the network that each leaves in operators that every processor has
LEVELS = {"basic": FLOAT, "extended": FLOAT, "all": INTEGER}


def optimised(source: Path, target: Path, level: str) -> None:
    """Save a network as onnxruntime optimises it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}")
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def main(folder: Path) -> None:
    """Write all of them."""
    import onnxsim
    import onnxslim

    for level, name in LEVELS.items():
        optimised(folder / f"{name}.onnx", folder / f"opt_ort_{level}.onnx", level)
    simplified, _ = onnxsim.simplify(onnx.load(str(folder / f"{FLOAT}.onnx")))
    onnx.save(simplified, str(folder / "opt_onnxsim.onnx"))
    onnx.save(onnxslim.slim(str(folder / f"{FLOAT}.onnx")), str(folder / "opt_onnxslim.onnx"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
