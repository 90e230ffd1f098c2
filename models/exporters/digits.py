"""Train a network on the digits, as all four scripts do.

800 images of the digits' training half are trained on, augmented; the accuracy on the other 98 is reported. The test
half is used once, by `models.exporters.card`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.data import augment
from models.split import training_part, validation_part

BATCH = 50


def pixels(images: np.ndarray) -> Tensor:
    """Convert uint8 (N, 28, 28) to float32 (N, 1, 28, 28) from 0 to 1, by the operations of the pixel rule ``unit``."""
    return torch.from_numpy(images.astype(np.float32) / np.float32(255))[:, None]


def fit(net: nn.Module, epochs: int, seed: int, rate: float = 3e-3, after: Callable[[int], None] | None = None) -> nn.Module:
    """Train on one thread with Adam and a learning rate that falls to zero; return the network, ready for export.

    Parameters
    ----------
    after : callable, optional
        Called with the number of each epoch when it has ended.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data = training_part("digits")
    images, labels = torch.from_numpy(data.images).float()[:, None], torch.from_numpy(np.asarray(data.labels))
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            some = order[start : start + BATCH]
            seen = augment(images[some], torch.rand(BATCH, 6) * 2 - 1).clamp(0, 255) / 255
            loss = F.cross_entropy(net(seen), labels[some], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if after:
            after(epoch)
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, held out {100 * held_out(net):.2f} %", flush=True)
    return net.eval()


@torch.no_grad()
def held_out(net: nn.Module) -> float:
    """Return the accuracy on the 98 images of the training half that are held out."""
    data = validation_part("digits")
    net.eval()
    found = net(pixels(data.images)).argmax(dim=1).numpy()
    return float((found == data.labels).mean())
