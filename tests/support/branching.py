"""Random networks whose operands meet again at different depths: residual additions and concatenations of anything with anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from support.networks import Builder, batch_norm_values


@dataclass(frozen=True)
class Branches:
    """A network of equal maps: each step reads tensors made before, counted from the newest."""

    size: int
    channels: int
    levels: int
    steps: tuple[tuple[str, int, int], ...]  # (conv | point | pool | add | cat, the tensor read, the other of two)
    seed: int
    odd: bool


def branching(recipe: Branches) -> onnx.ModelProto:
    """Build a recipe; what would join a tensor with itself becomes a convolution."""
    rng = np.random.default_rng(recipe.seed)
    net = Builder((1, recipe.size, recipe.size))

    def quantizer(name: str, spread: float) -> None:
        net.batch_norm(f"{name}/bn", *batch_norm_values(rng, net.shape[0], spread, odd=recipe.odd))
        net.quantize(f"{name}/quant", 1, recipe.levels)

    net.conv("stem", rng.integers(-20, 21, (recipe.channels, 1, 3, 3)) / 32.0, pads=[1, 1, 1, 1])
    quantizer("stem", 150.0)
    made = [net.here]
    for number, (kind, first, second) in enumerate(recipe.steps):
        name = f"{kind}{number}"
        left, right = made[-1 - first % len(made)], made[-1 - second % len(made)]
        net.here = left
        if kind == "add" and left != right:
            net.node("Add", name, right)
            quantizer(name, 1.0)
        elif kind == "cat" and left != right:
            net.node("Concat", name, right, axis=1)
            weights = rng.integers(-1, 2, (recipe.channels, 2 * recipe.channels, 1, 1)).astype(float)
            net.conv(f"{name}/mix", weights)
            quantizer(name, max(1.0, np.sqrt(weights[0].size * recipe.levels) * 0.3))
        elif kind == "pool":
            net.node("MaxPool", name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        else:
            kernel = 1 if kind == "point" else 3
            weights = rng.integers(-1, 2, (recipe.channels, recipe.channels, kernel, kernel)).astype(float)
            net.conv(name, weights, pads=[kernel // 2] * 4)
            quantizer(name, max(1.0, np.sqrt(weights[0].size * recipe.levels) * 0.3))
        made.append(net.here)
    net.flatten()
    net.gemm("head", rng.integers(-9, 10, (3, net.shape[0])) / 8.0, rng.integers(-9, 10, 3) / 8.0)
    return net.model()
