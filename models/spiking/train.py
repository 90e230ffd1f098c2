"""Train a spiking network of T steps in snntorch, with quantized weights, and export it as NIR.

    pip install 'torch<2.14' scikit-learn nir==1.0.8 h5py && pip install --no-deps nirtorch==2.6 snntorch==1.0.0
    python -m models.spiking.train digits --steps 8 -o models/spiking/digits.nir --outputs OUT.npz

Two convolutions of stride 2 and a matrix, each followed by `snntorch.Leaky` (beta 1/2, threshold 1, reset by subtraction):
the image becomes spikes by regular rate coding, the class is the output that spikes most. Weights are multiples of 1/8 from
-1 to 7/8 (4 bits) in every forward pass, so every potential is exact in float32 and the chip gives the very spikes of the
framework.

The last epoch is kept: nothing is chosen by the test half, which the end of this script runs once. ``--outputs`` holds the
framework's spike counts of the test images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from chipsim.datasets import load_dataset
from chipsim.datasets.coding import rate_code

GRID = 8.0  # weights are multiples of its inverse
LOW, HIGH = -8, 7
BETA, THRESHOLD = 0.5, 1.0


def quantized(weight: torch.Tensor) -> torch.Tensor:
    """Round weights to the grid; gradients pass as if nothing had happened."""
    rounded = torch.clamp(torch.round(weight * GRID), LOW, HIGH) / GRID
    return weight + (rounded - weight).detach()


class Network(nn.Module):
    """1x28x28 - 8C5/2 - 16C5/2 - 10."""

    def __init__(self) -> None:
        import snntorch as snn
        from snntorch import surrogate

        super().__init__()
        self.weighted = nn.ModuleList(
            [
                nn.Conv2d(1, 8, 5, stride=2, bias=False),
                nn.Conv2d(8, 16, 5, stride=2, bias=False),
                nn.Linear(256, 10, bias=False),
            ]
        )
        for layer in self.weighted:  # wide enough that the first rounded weights are not all zero
            nn.init.normal_(layer.weight, std=1.2 / np.sqrt(layer.weight[0].numel()))
        shapes = ((8, 12, 12), (16, 4, 4), (10,))
        self.neurons = nn.ModuleList(
            snn.Leaky(
                beta=torch.full(shape, BETA), threshold=torch.full(shape, THRESHOLD), spike_grad=surrogate.fast_sigmoid(5)
            )
            for shape in shapes
        )

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        """Count the spikes of the output, (N, 10), of frames (N, steps, 1, 28, 28)."""
        states = [torch.zeros(()) for _ in self.neurons]
        weights = [quantized(layer.weight) for layer in self.weighted]
        total = torch.zeros(len(spikes), 10)
        for step in range(spikes.shape[1]):
            x = spikes[:, step]
            for number, (weight, neuron) in enumerate(zip(weights, self.neurons, strict=True)):
                last = number == len(self.neurons) - 1
                x = nn.functional.linear(x.flatten(1), weight) if last else nn.functional.conv2d(x, weight, stride=2)
                x, states[number] = neuron(x, states[number])
            total = total + x
        return total


def frames(images: np.ndarray, steps: int) -> np.ndarray:
    """Spikes of images as `qsnnc compile --input rate --rate regular` has them, uint8 (N, steps, 1, 28, 28)."""
    values = images.reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)
    return rate_code(values, "regular", steps, 0, range(len(values)))


def shifted(spikes: torch.Tensor) -> torch.Tensor:
    """Shift each frame by up to two pixels."""
    moves = torch.randint(-2, 3, (len(spikes), 2)).tolist()
    return torch.stack([torch.roll(frame, tuple(move), (-2, -1)) for frame, move in zip(spikes, moves, strict=True)])


def train(network: Network, spikes: np.ndarray, labels: np.ndarray, epochs: int, batch: int) -> None:
    """Train with Adam on the cross-entropy of the spike counts."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=epochs * -(-len(spikes) // batch))
    for epoch in range(epochs):
        right, order = 0, torch.randperm(len(spikes))
        for part in order.split(batch):
            given = shifted(torch.from_numpy(spikes[part.numpy()]).float())
            wanted = torch.from_numpy(labels[part.numpy()])
            counts = network(given)
            loss = nn.functional.cross_entropy(counts, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            right += int((counts.argmax(dim=1) == wanted).sum())
        print(f"epoch {epoch + 1}: {100 * right / len(spikes):.2f} % of the training images", file=sys.stderr)


def export(network: Network, path: Path) -> None:
    """Write the NIR file by snntorch's own exporter, from modules that hold the rounded weights."""
    import nir
    from snntorch.export_nir import export_to_nir

    layers: list[nn.Module] = []
    for number, (layer, neuron) in enumerate(zip(network.weighted, network.neurons, strict=True)):
        layer.weight.data = quantized(layer.weight).detach()
        neuron.init_hidden = True
        layers += [nn.Flatten()] if number == 2 else []
        layers += [layer, neuron]
    nir.write(path, export_to_nir(nn.Sequential(*layers), torch.zeros(1, 1, 28, 28), ignore_dims=[0]))


def main() -> None:
    """Train, run the test half once, export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("digits", "mnist"))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--limit", type=int, help="training images [default: all]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data-dir")
    parser.add_argument("-o", dest="out", type=Path, required=True)
    parser.add_argument("--outputs", type=Path, help="npz for the framework's spike counts of the test images")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    data = load_dataset(options.dataset, "train", options.data_dir, options.limit)
    network = Network()
    train(network, frames(np.asarray(data.images), options.steps), data.labels, options.epochs, options.batch)
    test = load_dataset(options.dataset, "test", options.data_dir)
    with torch.no_grad():
        parts = np.array_split(frames(np.asarray(test.images), options.steps), -(-len(test) // 250))
        counts = np.concatenate([network(torch.from_numpy(part).float()).numpy() for part in parts]).astype(np.int64)
    print(f"test: {100 * (counts.argmax(axis=1) == test.labels).mean():.2f} % of {len(test)} images")
    export(network, options.out)
    if options.outputs:
        np.savez_compressed(options.outputs, counts=counts, labels=test.labels)


if __name__ == "__main__":
    main()
