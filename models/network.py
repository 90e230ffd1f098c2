"""The LeNet with median quantization and ternary weights (PyTorch), for any k and B.

Zou et al., Frontiers in Neuroscience 2021, doi 10.3389/fnins.2021.694170. Every float32 sum of the exported
network is exact: pixels are 0..255, conv1's weights multiples of 2**-7, inner weights literally -1, 0, 1, the
classifier's multiples of 2**-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: name, kernel, stride, padding
PLAN = (
    ("conv1", 5, 1, 2),
    ("conv2", 5, 1, 0),
    ("down1", 2, 2, 0),
    ("conv3", 5, 1, 0),
    ("down2", 2, 2, 0),
    ("conv4", 4, 1, 0),
)
WIDTHS = (16, 16, 16, 32, 32, 256)
CONV1_STEP = 2.0**-7
FC_STEP = 2.0**-6
INT8 = 127


@dataclass(frozen=True)
class Quantization:
    """Median quantization: level = clip(round(x * 2**k), 0, 2**k * B); full precision has None in its place."""

    k: int
    b: int

    @property
    def levels(self) -> int:
        """Number of neurons per feature, L: levels above zero."""
        return (1 << self.k) * self.b


def through(value: Tensor, quantized: Tensor) -> Tensor:
    """Apply the straight-through estimator: the value of ``quantized`` with the gradient of ``value``."""
    return value + (quantized - value).detach()


def ternary(weight: Tensor, factor: float = 0.7) -> Tensor:
    """Return -1, 0 or 1: weights below factor * mean|w| of their output channel become 0; a larger factor prunes more."""
    limit = factor * weight.abs().mean(dim=(1, 2, 3), keepdim=True)
    return torch.sign(weight) * (weight.abs() > limit)


def on_grid(weight: Tensor, step: float) -> Tensor:
    """Round to the nearest multiple of ``step`` with at most 8 bits."""
    return torch.clamp(torch.round(weight / step), -INT8, INT8) * step


class MedianQuantizer(torch.autograd.Function):
    """Forward: clip(round(x * 2**k), 0, L) / 2**k. Backward: the gradient of clip(x, 0, L / 2**k)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, levels: int) -> Tensor:
        """Quantize, half to even."""
        level = (x * 2.0**k).round_().clamp_(0, levels)
        ctx.save_for_backward(x)
        ctx.top = levels * 2.0**-k
        return level.mul_(2.0**-k)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Pass the gradient where x lies between the ends."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, 0.0, ctx.top), None, None


class LeNet(nn.Module):
    """Compute scores and activations of a batch of pixels from 0 to 255, float32 (N, 1, 28, 28).

    Parameters
    ----------
    quantization : Quantization or None
        None for full precision, with ReLU.
    dropout : float
        Before the classifier, in training.
    prune : float
        Weights below this times mean|w| of their output channel are zero.
    widths : tuple of int
        Output channels of the six convolutions.
    """

    def __init__(
        self,
        quantization: Quantization | None,
        dropout: float = 0.2,
        prune: float = 0.7,
        widths: tuple[int, ...] = WIDTHS,
    ) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.quantization = quantization
        self.dropout = dropout
        self.noise = 0.0  # training only
        self.prune = prune
        self.widths = tuple(widths)
        inputs = 1
        for (name, kernel, stride, pad), out in zip(PLAN, widths, strict=True):
            conv = nn.Conv2d(inputs, out, kernel, stride, pad, bias=False)
            self.add_module(name, conv)
            self.add_module(f"{name}_bn", nn.BatchNorm2d(out))
            self.register_buffer(f"{name}_keep", torch.ones(out, inputs, kernel, kernel))
            if quantization is not None:
                # ternary weights are masters in [-1, 1]: spread them out
                nn.init.uniform_(conv.weight, -0.5, 0.5)
            inputs = out
        self.fc = nn.Linear(inputs, 10)

    def weight(self, name: str) -> Tensor:
        """Return a layer's quantized weights, zero where pruned, with straight-through gradients."""
        master: Tensor = getattr(self, name).weight
        keep: Tensor = getattr(self, f"{name}_keep")
        if self.quantization is None:
            return master
        quantized = on_grid(master, CONV1_STEP) if name == "conv1" else ternary(master, self.prune)
        return through(master, quantized) * keep

    def activate(self, x: Tensor) -> Tensor:
        """Apply median quantization, or ReLU in full precision."""
        q = self.quantization
        if q is None:
            return F.relu(x)
        return MedianQuantizer.apply(x, q.k, q.levels)  # type: ignore[no-any-return,no-untyped-call]

    def lose(self, x: Tensor) -> Tensor:
        """Imitate lost encoder spikes: mean and spread of a loss with a probability per image, drawn up to ``noise``."""
        assert self.quantization is not None
        share = torch.rand(len(x), 1, 1, 1, device=x.device) * self.noise
        spread = torch.sqrt(x.detach() * share * (1 - share) / 2.0**self.quantization.k)
        return x * (1 - share) + spread * torch.randn_like(x)

    def head(self) -> tuple[Tensor, Tensor]:
        """Return the classifier's weight and bias, rounded to their grids."""
        q = self.quantization
        if q is None:
            return self.fc.weight, self.fc.bias
        weight = through(self.fc.weight, on_grid(self.fc.weight, FC_STEP))
        step = FC_STEP * 2.0**-q.k
        return weight, through(self.fc.bias, torch.round(self.fc.bias / step) * step)

    def forward(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores (N, 10) and the activations of the six convolutions."""
        x = pixels
        activations = []
        for name, _, stride, pad in PLAN:
            x = F.conv2d(x, self.weight(name), stride=stride, padding=pad)
            x = self.activate(getattr(self, f"{name}_bn")(x))
            activations.append(x)
            if name == "conv1" and self.noise and self.training:
                x = self.lose(x)
        x = F.dropout(x.flatten(1), self.dropout, self.training)
        weight, bias = self.head()
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), weight, bias), activations

    def requantize(self, quantization: Quantization) -> None:
        """Change k and B, and scale the activations from the old range to the new one.

        A level keeps its share of the range, so with the same number of levels (k=1, B=2 and k=0, B=4 have
        four) the network computes the same function.
        """
        assert self.quantization is not None
        stretch = quantization.b / self.quantization.b
        with torch.no_grad():
            for number, (name, *_) in enumerate(PLAN):
                norm = getattr(self, f"{name}_bn")
                norm.weight.mul_(stretch)
                norm.bias.mul_(stretch)
                if number:  # the pixels stay
                    norm.running_mean.mul_(stretch)
                    norm.running_var.mul_(stretch**2)
            self.fc.weight.div_(stretch)
        self.quantization = quantization

    def clamp_masters(self) -> None:
        """Clip the master weights to the range of their quantizer, so that gradients can still change them."""
        if self.quantization is None:
            return
        with torch.no_grad():
            for name, *_ in PLAN:
                bound = INT8 * CONV1_STEP if name == "conv1" else 1.0
                getattr(self, name).weight.clamp_(-bound, bound)
            self.fc.weight.clamp_(-INT8 * FC_STEP, INT8 * FC_STEP)

    def spikes(self, activations: list[Tensor]) -> list[Tensor]:
        """Return the spikes of each layer, one number per image: the sum of its levels."""
        scale = 1.0 if self.quantization is None else 2.0**self.quantization.k
        return [a.flatten(1).sum(dim=1, dtype=torch.float32) * scale for a in activations]

    def sops(self, activations: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the synaptic operations of each image, and the paper's count of them, (N,) each.

        A spike of feature f meets one synapse for each non-zero weight that reads f, times the L neurons it
        drives (one for the classifier). The paper counts every window and output channel twice, zeros
        included, and not the classifier.
        """
        q = self.quantization
        assert q is not None
        real = torch.zeros(len(activations[0]), device=activations[0].device)
        paper = torch.zeros_like(real)
        for (name, _, stride, pad), source in zip(PLAN[1:], activations[:-1], strict=True):
            level = source * 2.0**q.k
            weight = self.weight(name).detach()
            count = (weight != 0).to(level).sum(dim=0, keepdim=True)
            dense = torch.full_like(count, weight.shape[0])
            real += F.conv2d(level, count, stride=stride, padding=pad).flatten(1).sum(1) * q.levels
            paper += F.conv2d(level, dense, stride=stride, padding=pad).flatten(1).sum(1) * q.levels * 2
        level = activations[-1].flatten(1) * 2.0**q.k
        real += level @ (self.head()[0].detach() != 0).to(level).sum(dim=0)
        return real, paper
