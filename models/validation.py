"""Measure a network in training on the images that are held out for validation."""

from __future__ import annotations

import torch

from models.data import Data, augment
from models.network import LeNet
from models.runs import Record

BATCH = 256


@torch.no_grad()
def validate(model: LeNet, data: Data) -> Record:
    """Return the accuracy on MNIST's validation images and the held-out digits; spikes and SOPs per image, if it has any."""
    model.eval()
    quantized = model.quantization is not None
    hits, spikes, sops = 0.0, 0.0, 0.0
    for start in range(0, len(data.validation_images), 1000):
        scores, activations = model(data.validation_images[start : start + 1000])
        hits += float((scores.argmax(1) == data.validation_labels[start : start + 1000]).sum())
        if quantized:
            spikes += sum(float(s.sum()) for s in model.spikes(activations))
            sops += float(model.sops(activations)[0].sum())
    found = model(data.digits_images)[0].argmax(1)
    n = len(data.validation_images)
    return {
        "accuracy": hits / n,
        "digits_accuracy": float((found == data.digits_labels).float().mean()),
        "spikes_per_image": spikes / n if quantized else None,
        "sops_per_image": sops / n if quantized else None,
    }


@torch.no_grad()
def estimate_norms(model: LeNet, data: Data, strength: float, batches: int) -> None:
    """Estimate the batch norms of averaged weights anew, on some batches of augmented training images.

    Parameters
    ----------
    strength : float
        Of the augmentation, as in training.
    """
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    generator = torch.Generator().manual_seed(0)
    device = data.images.device
    for _ in range(batches):
        index = torch.randint(len(data.images), (BATCH,), generator=generator).to(device)
        draw = (torch.rand(BATCH, 6, generator=generator) * 2 - 1) * strength
        model(augment(data.images[index], draw.to(device)))
    model.eval()
