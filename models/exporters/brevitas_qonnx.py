"""Train a perceptron quantized by Brevitas and export it with `export_qonnx`.

Weights and activations have 2 bits with learned scales. Those are not powers of two, so bit-exactness is tested, not
certified. The last matrix has 4 bits: with 2, two classes often had the same sum, and float rounding chose between them.

  python -m models.exporters.brevitas_qonnx models/exporters/brevitas_qonnx.onnx
"""

from __future__ import annotations

from collections import OrderedDict

from models.command import export, packages, run

NAME = "exporters.brevitas_qonnx"

with packages(__name__, NAME):
    import brevitas.nn as qnn
    import torch
    from brevitas.export import export_qonnx
    from brevitas.quant import Int8WeightPerTensorFloat, Uint8ActPerTensorFloat
    from torch import nn

    from models.exporters.digits import fit

SEED, EPOCHS = 4, 120


def linear(inputs: int, outputs: int, bits: int = 2) -> qnn.QuantLinear:
    """Return a matrix with weights -1, 0 or 1 (or of more bits) times one learned scale."""
    return qnn.QuantLinear(inputs, outputs, bias=False, weight_quant=Int8WeightPerTensorFloat, weight_bit_width=bits)


def activation() -> qnn.QuantReLU:
    """Return an activation with levels 0 to 3 times one learned scale."""
    return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=2)


def perceptron() -> nn.Sequential:
    """Return the network, 784 - 64 - 64 - 10."""
    layers: dict[str, nn.Module] = {
        "flat": nn.Flatten(), "image": qnn.QuantIdentity(act_quant=Uint8ActPerTensorFloat, bit_width=2),
        "fc1": linear(784, 64), "norm1": nn.BatchNorm1d(64), "relu1": activation(),
        "fc2": linear(64, 64), "norm2": nn.BatchNorm1d(64), "relu2": activation(),
        "fc3": linear(64, 10, bits=4),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


def write(path: str) -> None:
    """Train and export."""
    torch.manual_seed(SEED)
    net = fit(perceptron(), EPOCHS, SEED)
    export_qonnx(
        net, args=torch.rand(1, 1, 28, 28), export_path=path, input_names=["image"], output_names=["scores"], dynamo=False,
        dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}},
    )  # fmt: skip


if __name__ == "__main__":
    run(NAME, lambda: export(NAME, __doc__, write))
