"""Remove whole channels, which lowers the paper's count of operations; single zero weights do not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.network import PLAN, LeNet


@torch.no_grad()
def remove_channels(model: LeNet, images: Tensor, share: float, most: Sequence[int] | None = None) -> LeNet:
    """Remove the channels that fire less than ``share`` of their layer's mean; each layer keeps at least one.

    Parameters
    ----------
    images : Tensor, float32 (N, 1, 28, 28)
        Training images, pixels from 0 to 255.
    most : sequence of int, optional
        Channels that each layer keeps at most: those that fire most.

    Returns
    -------
    LeNet
        A narrower network with the weights of the channels that are kept; it needs further training.
    """
    model.eval()
    rates = channel_rates(model, images)
    chosen = []
    for rate, width in zip(rates, most or map(len, rates), strict=True):
        kept = torch.nonzero((rate >= share * rate.mean()) | (rate == rate.max())).flatten()
        strongest = rate[kept].argsort(descending=True, stable=True)[:width]
        chosen.append(kept[strongest].sort().values)
    widths = tuple(len(c) for c in chosen)
    small = LeNet(model.quantization, model.dropout, model.prune, widths).to(images.device)
    state = model.state_dict()
    inputs = torch.zeros(1, dtype=torch.long, device=images.device)
    for (name, *_), outputs in zip(PLAN, chosen, strict=True):
        for key in (f"{name}.weight", f"{name}_keep"):
            state[key] = state[key][outputs][:, inputs]
        for key in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}_bn.{key}"] = state[f"{name}_bn.{key}"][outputs]
        inputs = outputs
    state["fc.weight"] = state["fc.weight"][:, inputs]
    small.load_state_dict(state)
    return small


@torch.no_grad()
def channel_rates(model: LeNet, images: Tensor) -> list[Tensor]:
    """Return the mean activation of every channel, summed over its positions; one tensor per layer."""
    totals: list[Tensor] = [torch.zeros(width, device=images.device) for width in model.widths]
    for start in range(0, len(images), 500):
        _, activations = model(images[start : start + 500])
        totals = [t + a.sum(dim=(0, 2, 3)) for t, a in zip(totals, activations, strict=True)]
    return [t / len(images) for t in totals]
