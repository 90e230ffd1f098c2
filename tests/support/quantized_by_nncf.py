"""Write `tests/zoo/nncf_mixed_npu.onnx`: the zoo's float LeNet as NNCF quantizes it.

Needs nncf, in an environment of its own: ``python tests/support/quantized_by_nncf.py tests/zoo``. Made with nncf 3.4.0; the
presets PERFORMANCE and MIXED and the devices CPU, NPU and ANY write the same form.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx


def main(folder: Path) -> None:
    """Quantize with random images, which is enough for a test of the form."""
    import nncf

    model = onnx.load(str(folder / "fp32_lenet_ts13.onnx"))
    (value,) = model.graph.input
    shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
    rng = np.random.default_rng(0)
    images = [{value.name: rng.random(shape).astype(np.float32)} for _ in range(20)]
    made = nncf.quantize(
        model,
        nncf.Dataset(images),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.NPU,
        subset_size=len(images),
    )
    onnx.save(made, str(folder / "nncf_mixed_npu.onnx"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
