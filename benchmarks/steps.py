"""The fast engine against snntorch on the same spiking network, images and thread, in turns: ``python benchmarks/steps.py``.

A convolutional network of T steps with integer weights and leaky neurons (beta = 1/2, reset by subtraction), random
weights, random input spikes. snntorch runs it as its documentation shows, under ``torch.no_grad``; chipsim runs the cores
of the mapping and counts spikes, SOPs and events of each core; with every counter on (`--per-image`) of each core and
image. Both counts of the output's spikes must be equal, image by image. What counts is the ratio: machines are noisy, so
both run in each round, and medians of the thread's own time are compared.

``pip install torch snntorch`` for the other side; without it only chipsim is measured. ``Framework`` is all that another
framework has to provide.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from chipsim.chip import load_chip
from chipsim.engine.engines import load_engine
from chipsim.engine.setup import set_up
from chipsim.mapping import InputSpec
from chipsim.mapping.dynamics import Dynamics
from chipsim.mapping.host_models import readout_model
from chipsim.options import RunOptions
from qsnnc import compile_layers
from qsnnc.ir.layers import Connection, Layer, LayerGraph, Population, reachable

BATCH = 64
SIDE = 28
CLASSES = 10


@dataclass(frozen=True)
class Conv:
    """A convolution and its neurons."""

    name: str
    weights: np.ndarray  # (out, in, k, k), whole numbers
    stride: int
    pad: int
    threshold: int  # fires when its potential exceeds it, and is what a spike subtracts one step later


def network(seed: int) -> list[Conv]:
    """Ternary weights in the shape of a small LeNet; the last layer is dense."""
    rng = np.random.default_rng(seed)
    shapes = (
        ("conv1", 16, 1, 5, 1, 2), ("down1", 16, 16, 2, 2, 0), ("conv2", 32, 16, 5, 1, 2), ("down2", 32, 32, 2, 2, 0),
        ("conv3", 128, 32, 4, 1, 0), ("fc", CLASSES, 128, 4, 1, 0),
    )  # fmt: skip
    layers = []
    for name, out, inputs, kernel, stride, pad in shapes:
        weights = rng.integers(-1, 2, (out, inputs, kernel, kernel))
        layers.append(Conv(name, weights, stride, pad, max(1, round(0.35 * weights[0].size ** 0.5))))
    return layers


def layer_graph(layers: list[Conv], steps: int) -> LayerGraph:
    """The network on integers, with as many fraction bits as the leak needs."""
    bits = steps - 1
    known = {"input": Population("input", "", (1, SIDE, SIDE), (1, SIDE, SIDE), 1, 1.0, 0.0)}
    for layer in layers:
        source = list(known.values())[-1]
        out, _, kernel, _ = layer.weights.shape
        side = (source.shape[1] + 2 * layer.pad - kernel) // layer.stride + 1
        link = Connection(source.name, layer.weights, (layer.stride,) * 2, (layer.pad,) * 4)
        reach = reachable((link,), known, (out, side, side))
        threshold, zeros = np.full((1, out), layer.threshold << bits), np.zeros((1, out), np.int64)
        # snntorch subtracts the threshold a step late and undecayed, which is twice of it at once
        model = Dynamics(reset="subtract", leak=(1, 1), fraction_bits=bits, amount=2 * threshold, start=zeros, bias=zeros)
        known[layer.name] = Layer(
            name=layer.name, tensor="", tensor_shape=(out, side, side), shape=(out, side, side), levels=1, scale=1.0,
            zero_point=0.0, kind="dense" if side == 1 else "convolution", connections=(link,),
            thresholds=(threshold + 1)[..., None], border=np.zeros((side, side), np.int64),
            reach=np.stack([reach[..., 0].min(axis=0), reach[..., 1].max(axis=0)], axis=-1)[None], exact_sums=True,
            dynamics=model,
        )  # fmt: skip
    return LayerGraph(
        encoder=known.pop("input"), layers=tuple(known.values()), encoder_onnx=None,  # type: ignore[arg-type]
        readout_onnx=readout_model((CLASSES,), 1.0), encoder_exact=True,
        input=InputSpec("input", "uint8", (1, SIDE, SIDE), "raw", code="spikes"), output_tensor="scores",
        output_shape=(CLASSES,), model_sha256="0" * 64, steps=steps, readout_of="count",
    )  # fmt: skip


class Framework(Protocol):
    """Runs a network as a user would: spikes (N, T, 1, 28, 28) to counts (N, 10)."""

    def __call__(self, spikes: np.ndarray) -> np.ndarray:
        """Count the spikes of the output."""


def snntorch(layers: list[Conv]) -> Framework | None:
    """The network in snntorch, one thread; None where it is not installed."""
    try:
        import snntorch as snn
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    convolutions, neurons = [], []
    for layer in layers:
        out, inputs, kernel, _ = layer.weights.shape
        found = torch.nn.Conv2d(inputs, out, kernel, layer.stride, layer.pad, bias=False)
        found.weight.data = torch.tensor(layer.weights, dtype=torch.float32)
        convolutions.append(found)
        neurons.append(snn.Leaky(beta=0.5, threshold=float(layer.threshold)))

    def run(spikes: np.ndarray) -> np.ndarray:
        counts = []
        with torch.no_grad():
            for start in range(0, len(spikes), BATCH):
                train = torch.from_numpy(spikes[start : start + BATCH].astype(np.float32))
                potentials = [neuron.init_leaky() for neuron in neurons]
                total = torch.zeros(len(train), CLASSES)
                for step in range(train.shape[1]):
                    value = train[:, step]
                    for number, (convolution, neuron) in enumerate(zip(convolutions, neurons, strict=True)):
                        value, potentials[number] = neuron(convolution(value), potentials[number])
                    total += value.flatten(1)
                counts.append(total.numpy().astype(np.int64))
        return np.concatenate(counts)

    return run


def fast_engine(layers: list[Conv], steps: int, chip: str, *, per_image: bool = False) -> tuple[Framework, int]:
    """The compiled network on the fast engine, with the counters of a run by core and layer; and its number of cores."""
    mapping = compile_layers(layer_graph(layers, steps), load_chip(chip)).mapping
    setup = set_up(mapping, RunOptions(threads=1))
    worker = load_engine("fast", setup.damage, setup.host, print).worker(0.0, 0, per_image)

    def run(spikes: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [worker.batch(spikes[start : start + BATCH], start, lambda: False)[0] for start in range(0, len(spikes), BATCH)]
        )

    return run, mapping.cores


def timed(run: Callable[[np.ndarray], np.ndarray], spikes: np.ndarray) -> tuple[float, np.ndarray]:
    """Images per second of this thread's time, and the counts."""
    start = time.thread_time()
    counts = run(spikes)
    return len(spikes) / (time.thread_time() - start), counts


def main() -> None:
    """Print both speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.2, help="share of the input's elements that spike in a step")
    parser.add_argument("--chip", default="xbar1152")
    options = parser.parse_args()
    layers = network(0)
    spikes = np.random.default_rng(1).random((options.images, options.steps, 1, SIDE, SIDE)) < options.rate
    spikes = spikes.astype(np.uint8)
    run, cores = fast_engine(layers, options.steps, options.chip)
    every, _ = fast_engine(layers, options.steps, options.chip, per_image=True)
    sides = {"chipsim, counters of the run": run, "chipsim, every counter": every}
    other = snntorch(layers)
    if other is not None:
        sides["snntorch"] = other
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    counts: dict[str, np.ndarray] = {}
    for run in sides.values():  # what the first run sets up is not timed
        run(spikes[:BATCH])
    for _ in range(options.rounds):
        for name, run in sides.items():
            speed, counts[name] = timed(run, spikes)
            speeds[name].append(speed)
    print(f"{cores} cores, {options.steps} steps, batch {BATCH}, one thread; images per second, median of {options.rounds}")
    for name, found in speeds.items():
        print(f"{name:30}{statistics.median(found):10,.0f}")
    if other is None:
        print("snntorch is not installed: no ratio")
        return
    *mine, theirs = counts.values()
    for name in list(sides)[:-1]:
        print(f"ratio of {name}: {statistics.median(speeds[name]) / statistics.median(speeds['snntorch']):.1f}")
    equal = all(np.array_equal(each, theirs) for each in mine)
    print(f"counts of the output's spikes equal: {equal} ({int(theirs.sum()):,} spikes)")
    if not equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
