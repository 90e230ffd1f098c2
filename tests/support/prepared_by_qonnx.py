"""Write `tests/zoo/qonnx_*.onnx`: networks of the zoo as the qonnx package prepares them for hls4ml.

hls4ml writes no ONNX files; those that it reads have been cleaned, and moved to channels last, by qonnx. Needs qonnx, in an
environment of its own: ``python tests/support/prepared_by_qonnx.py tests/zoo``. Made with qonnx 1.0.0, which gives some tensors
random names.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Write both files."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.transformation.gemm_to_matmul import GemmToMatMul
    from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant
    from qonnx.util.cleanup import cleanup_model

    model = cleanup_model(ModelWrapper(str(folder / "bv_int2_max_qcdq.onnx")))
    model.transform(QCDQToQuant()).save(str(folder / "qonnx_qcdq_to_quant.onnx"))
    model = cleanup_model(ModelWrapper(str(folder / "bv_int4_avg_qonnx.onnx")))
    model = model.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True)).transform(GemmToMatMul())
    model.save(str(folder / "qonnx_channels_last.onnx"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
