"""Train a small LeNet in float32 and quantize it to 4 bits afterwards with onnxruntime's `quantize_static`.

Training knows nothing of the quantization; scales come from calibration on the training images.

  python -m models.exporters.ort_static models/exporters/ort_static.onnx
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from models.command import export, packages, run

NAME = "exporters.ort_static"

with packages(__name__, NAME):
    import numpy as np
    import onnx
    import torch
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from torch import Tensor, nn
    from torch.nn import functional as F

    from models.exporters.digits import fit, pixels
    from models.split import training_part

SEED, EPOCHS = 3, 100


class Reader(CalibrationDataReader):
    """Hand out the training images, fifty at a time."""

    def __init__(self) -> None:
        self.batches = iter(np.array_split(pixels(training_part("digits").images).numpy(), 16))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return one batch, or None at the end."""
        batch = next(self.batches, None)
        return None if batch is None else {"image": batch}


class LeNet(nn.Module):
    """Two convolutions with max pools, two matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 5, 2, 2), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, 1, 1), nn.BatchNorm2d(16)
        self.fc1, self.fc2 = nn.Linear(16 * 9, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, 10) of pixels 0 .. 1."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def quantize(source: str, target: str) -> None:
    """Quantize to 4 bits: weights signed with per-channel scales, activations from 0 to 15."""
    prepared = source + ".prepared.onnx"
    quant_pre_process(source, prepared)
    quantize_static(
        prepared, target, Reader(), QuantFormat.QDQ, activation_type=QuantType.QUInt4, weight_type=QuantType.QInt4,
        per_channel=True, calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip


def forget_notes(path: str) -> None:
    """Remove the metadata that torch's exporter adds to each node: paths of source files."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.save(model, path)


def write(path: str) -> None:
    """Train, export in float32, quantize."""
    torch.manual_seed(SEED)
    net = fit(LeNet(), EPOCHS, SEED)
    with tempfile.TemporaryDirectory() as folder:
        plain = str(Path(folder) / "float.onnx")
        torch.onnx.export(
            net, (torch.rand(1, 1, 28, 28),), plain, input_names=["image"], output_names=["scores"], opset_version=21,
            dynamo=True, dynamic_shapes=({0: torch.export.Dim("N")},), external_data=False,
        )  # fmt: skip
        quantize(plain, path)
    forget_notes(path)


if __name__ == "__main__":
    run(NAME, lambda: export(NAME, __doc__, write))
