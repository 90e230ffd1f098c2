"""Train a residual network quantized by Brevitas and export it with `export_onnx_qcdq`.

All scales are powers of two, weights and activations have 2 bits, batch norm is not folded.

  python -m models.exporters.brevitas_qcdq models/exporters/brevitas_qcdq.onnx
"""

from __future__ import annotations

from models.command import export, packages, run

NAME = "exporters.brevitas_qcdq"

with packages(__name__, NAME):
    import brevitas.nn as qnn
    import torch
    from brevitas.export import export_onnx_qcdq
    from brevitas.quant import Int8ActPerTensorFixedPoint, Int8WeightPerTensorFixedPoint, Uint8ActPerTensorFixedPoint
    from torch import Tensor, nn

    from models.exporters.digits import fit

SEED, EPOCHS = 1, 150


def conv(inputs: int, outputs: int, stride: int = 1, bits: int = 2) -> nn.Sequential:
    """Return a 3x3 convolution and a batch norm."""
    return nn.Sequential(
        qnn.QuantConv2d(
            inputs, outputs, 3, stride, 1, bias=False, weight_quant=Int8WeightPerTensorFixedPoint, weight_bit_width=bits
        ),
        nn.BatchNorm2d(outputs),
    )


def relu(bits: int = 2) -> qnn.QuantReLU:
    """Return an activation with levels 0 to 2^bits - 1 and a power-of-two scale."""
    return qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=bits, return_quant_tensor=True)


class Block(nn.Module):
    """Two convolutions with a shortcut; one quantizer for both operands of the sum gives them one scale."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.relu1, self.conv2 = conv(inputs, outputs, stride), relu(), conv(outputs, outputs)
        self.short = conv(inputs, outputs, stride)
        self.operand = qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=3, return_quant_tensor=True)
        self.relu2 = relu()

    def forward(self, x: Tensor) -> Tensor:
        """Add, then quantize the sum."""
        return self.relu2(self.operand(self.conv2(self.relu1(self.conv1(x)))) + self.operand(self.short(x)))


class ResNet(nn.Module):
    """Stem, two blocks, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.image = qnn.QuantIdentity(act_quant=Uint8ActPerTensorFixedPoint, bit_width=2, return_quant_tensor=True)
        self.stem, self.relu = conv(1, 8, 2), relu()
        self.block1, self.block2 = Block(8, 12, 2), Block(12, 24, 2)
        self.fc = qnn.QuantLinear(24 * 16, 10, bias=False, weight_quant=Int8WeightPerTensorFixedPoint, weight_bit_width=4)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, 10) of pixels 0 .. 1."""
        x = self.block2(self.block1(self.relu(self.stem(self.image(x)))))
        return self.fc(x.flatten(1))


def write(path: str) -> None:
    """Train and export."""
    torch.manual_seed(SEED)
    net = fit(ResNet(), EPOCHS, SEED)
    export_onnx_qcdq(
        net,
        args=torch.rand(1, 1, 28, 28),
        export_path=path,
        input_names=["image"],
        output_names=["scores"],
        dynamo=False,
        dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}},
    )


if __name__ == "__main__":
    run(NAME, lambda: export(NAME, __doc__, write))
