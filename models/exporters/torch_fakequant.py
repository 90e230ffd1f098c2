"""Train a depthwise separable network with hand-written fake quantization and export it with `torch.onnx.export`.

Weights have 4 bits, activations four levels above zero, and every scale is a power of two.

  python -m models.exporters.torch_fakequant models/exporters/torch_fakequant.onnx
"""

from __future__ import annotations

from models.command import export, packages, run

NAME = "exporters.torch_fakequant"

with packages(__name__, NAME):
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    from models.exporters.digits import fit

SEED, EPOCHS = 2, 200
STEP, TOP = 0.5, 4  # an activation is 0, 0.5, 1, 1.5 or 2


class Levels(nn.Module):
    """Clamp and round to a grid; the gradient passes as if it only clamped."""

    def __init__(self, step: float, top: int) -> None:
        super().__init__()
        self.step, self.top = step, top

    def forward(self, x: Tensor) -> Tensor:
        """Values 0, step, ..., top * step."""
        x = torch.clamp(x / self.step, 0, self.top)
        whole = torch.round(x)
        return (x + (whole - x).detach() if self.training else whole) * self.step


class Convolution(nn.Conv2d):
    """A convolution with weights -7 to 7 times a power of two that the graph itself computes from them."""

    def forward(self, x: Tensor) -> Tensor:
        """Use one scale per tensor; the batch norm that follows makes that enough."""
        step = torch.pow(2.0, torch.ceil(torch.log2(self.weight.detach().abs().max() / 7)))
        grid = torch.round(self.weight / step) * step
        weight = self.weight + (grid - self.weight).detach() if self.training else grid
        return F.conv2d(x, weight, None, self.stride, self.padding, 1, self.groups)


def layer(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution, a batch norm and a quantizer."""
    return nn.Sequential(
        Convolution(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        Levels(STEP, TOP),
    )


class Separable(nn.Module):
    """Stem, three pairs of depthwise and pointwise convolutions, global average, classifier."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(16, 24, 1), (24, 32, 2), (32, 64, 2)]
        pairs = [part for a, b, stride in widths for part in (layer(a, a, 3, stride, groups=a), layer(a, b, 1))]
        self.features = nn.Sequential(Levels(0.25, 4), layer(1, 16, 3, 2), *pairs)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mean = Levels(1 / 8, 15)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, 10) of pixels 0 .. 1."""
        x = self.mean(self.pool(self.features(x))).flatten(1)
        return F.linear(x, self.on_grid(self.fc.weight.clamp(-7 / 8, 7 / 8), 8), self.on_grid(self.fc.bias, 64))

    def on_grid(self, x: Tensor, parts: int) -> Tensor:
        """Round to multiples of 1 / parts."""
        whole = torch.round(x * parts) / parts
        return x + (whole - x).detach() if self.training else whole


def write(path: str) -> None:
    """Train and export."""
    torch.manual_seed(SEED)
    net = fit(Separable(), EPOCHS, SEED, rate=1e-2)
    torch.onnx.export(
        net, (torch.rand(1, 1, 28, 28),), path, input_names=["image"], output_names=["scores"], opset_version=17,
        dynamo=False, dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}},
    )  # fmt: skip


if __name__ == "__main__":
    run(NAME, lambda: export(NAME, __doc__, write))
