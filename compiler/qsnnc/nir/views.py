"""Populations and connections of a layer graph as NIR has them: one, two or three axes, symmetric padding, no levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.nir.network import F64


def view(population: Population, rank: int) -> tuple[int, ...]:
    """Return the shape of a population's neurons on so many axes; those of a feature are channels one after the other."""
    channels, rows, columns = population.shape
    neurons = channels * max(population.levels, 1)
    return ((neurons,), (neurons, columns), (neurons, rows, columns))[rank - 1]


def views(graph: LayerGraph) -> dict[str, int]:
    """Choose how many axes each population has: its own, or three where its readers or its windows need them."""
    populations: dict[str, Population] = {entry.name: entry for entry in (graph.encoder, *graph.layers)}
    ranks = {name: _own(entry) for name, entry in populations.items()}
    while True:
        before = dict(ranks)
        for layer in graph.layers:
            for link in layer.connections:
                source = populations[link.source]
                if not _fits(link, layer, source, ranks[layer.name], ranks[source.name]):
                    ranks[layer.name] = 3
                if ranks[layer.name] == 3:
                    ranks[source.name] = 3
        if ranks == before:
            return ranks


def _own(population: Population) -> int:
    """Return the axes of a population's own tensor, where they say the same as its (channels, rows, columns)."""
    channels, rows, columns = population.shape
    if population.tensor_shape == (channels,) and rows == columns == 1:
        return 1
    return 2 if population.tensor_shape == (channels, columns) and rows == 1 else 3


def _fits(link: Connection, layer: Layer, source: Population, rank: int, before: int) -> bool:
    """Whether a connection from ``before`` axes to ``rank`` has nodes."""
    flat = link.weights.shape[2] == link.strides[0] == 1 and not link.pads[0]
    if rank == 1:
        alike = before == 1 and identity(link, layer, source)
        return covers(link, source) or alike or before == 3 or (before == 2 and flat)
    return rank == before and (rank == 3 or flat)


def covers(link: Connection, source: Population) -> bool:
    """Whether a connection is a matrix on all features of its source."""
    whole = link.weights.shape[1:] == source.shape and link.groups == 1
    return whole and not link.level_wise and not any(link.pads)


def identity(link: Connection, layer: Layer, source: Population) -> bool:
    """Whether a connection passes each neuron on, times a factor for each channel."""
    plain = link.weights.shape[1:] == (1, 1, 1) and link.groups == len(link.weights) == source.shape[0]
    return plain and link.strides == (1, 1) and source.shape == layer.shape and source.levels == 1 >= layer.levels


def expanded(link: Connection, source: Population, layer: Layer) -> tuple[Int, int]:
    """Return the kernel and the groups of a connection with a channel for each neuron of a feature."""
    into, out = source.levels, max(layer.levels, 1)
    if not link.level_wise:
        return np.repeat(np.repeat(link.weights, out, axis=0), into, axis=1), link.groups
    if link.weights.shape[1] == 1 and link.groups == len(link.weights):
        return np.repeat(link.weights, out, axis=0), link.groups * out
    outputs, inputs, *window = link.weights.shape
    each = np.einsum("oiuv,ab->oaibuv", link.weights, np.eye(out, dtype=np.int64))
    return each.reshape(outputs * out, inputs * into, *window), link.groups


def contracted(kernel: Int, level_wise: bool, into: int, out: int) -> Int:
    """Undo `expanded`."""
    depthwise = level_wise and kernel.shape[1] == 1
    return kernel[::out] if depthwise else kernel[::out, ::into]


@dataclass(frozen=True, slots=True)
class Tap:
    """The taps of a window along an axis, with zeros before and behind so that equal padding on both sides serves."""

    pad: int
    dilation: int
    before: int  # taps of zero
    every: int  # the window's own taps stand so far apart
    behind: int = 0

    @property
    def record(self) -> list[int]:
        """What `gather` needs."""
        return [self.before, self.every, self.behind]

    def spread(self, kernel: Any, axis: int) -> Any:
        """Return a kernel with the zeros."""
        size = kernel.shape[axis]
        shape = list(kernel.shape)
        shape[axis] = self.before + (size - 1) * self.every + 1 + self.behind
        found = np.zeros(shape, kernel.dtype)
        at = [slice(None)] * kernel.ndim
        at[axis] = slice(self.before, self.before + (size - 1) * self.every + 1, self.every)
        found[tuple(at)] = kernel
        return found


def gather(kernel: Int, record: list[int], axis: int) -> Int:
    """Return a kernel without the zeros of `Tap.spread`."""
    before, every, behind = record
    at = [slice(None)] * kernel.ndim
    at[axis] = slice(before, kernel.shape[axis] - behind, every)
    return kernel[tuple(at)]


def taps_of(link: Connection, axis: int, source: tuple[int, int, int], layer: tuple[int, int, int]) -> Tap:
    """Find the padding of a window, and the zeros that make it the same on both sides."""
    size, stride, pad = link.weights.shape[2 + axis], link.strides[axis], link.pads[axis]
    dilation = link.dilations[axis]
    for step, every in ((dilation, 1), (1, dilation)):
        reach = (size - 1) * dilation + 1
        room = source[1 + axis] + 2 * pad - reach - (layer[1 + axis] - 1) * stride  # 0 to below the stride is right
        more = -(room // step) if room < 0 else -max(0, -(-(room - stride + 1) // step))
        if not 0 <= room + more * step < stride:
            continue
        before = max(more, -(pad // step), 0)
        return Tap(pad + before * step, step, before, every, before - more)
    raise AssertionError("single steps reach every padding")


def constant_kernel(values: F64, ones: tuple[int, int]) -> F64:
    """Return the kernel (channels, 1, ...) that makes ``values`` (channels, rows, columns) of a map of ones.

    With padding rows - 1 and columns - 1, the window of output (r, c) sees ``ones`` of its taps from rows - 1 - r on.
    """
    kernel = values[:, None]
    for axis, size in ((2, ones[0]), (3, ones[1])):
        wanted = np.moveaxis(kernel, axis, 0)[::-1]  # by the first tap that is seen
        found = np.zeros((len(wanted) + size - 1, *wanted.shape[1:]))
        found[len(wanted) - 1] = wanted[-1]
        for first in range(len(wanted) - 2, -1, -1):
            found[first] = wanted[first] - wanted[first + 1] + found[first + size]
        kernel = np.moveaxis(found, 0, axis)
    return np.ascontiguousarray(kernel)
