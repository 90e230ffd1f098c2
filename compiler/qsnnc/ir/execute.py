"""The layer graph, executed on integers in NumPy: the specification that `verify` and the chip are held against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph


def potentials(layer: Layer, levels: dict[str, Int]) -> Int:
    """Potentials of a layer, int64 (N, channels, rows, columns), or (N, channels, rows, columns, levels) level-wise."""
    total: Int | None = None
    for link in layer.connections:
        source = levels[link.source]
        if link.level_wise:
            fired = source[..., None] > np.arange(layer.levels)
            parts = [convolve(link, fired[..., i].astype(np.int64), layer.shape) for i in range(layer.levels)]
            part = np.stack(parts, axis=-1)
        else:
            part = convolve(link, source, layer.shape)
        total = part if total is None else total + part
    assert total is not None
    return total


def fire(layer: Layer, potential: Int) -> Int:
    """Levels, int64 (N, channels, rows, columns): how many of a feature's neurons fire."""
    if potential.ndim == 4:
        potential = potential[..., None]
    threshold = layer.thresholds[layer.border].transpose(2, 0, 1, 3)  # (channels, rows, columns, levels)
    return np.asarray((potential >= threshold).sum(axis=-1), np.int64)


def execute(graph: LayerGraph, encoder_levels: npt.NDArray[np.integer]) -> dict[str, Int]:
    """Run a batch through the layer graph.

    Parameters
    ----------
    encoder_levels : integer ndarray, (N, *shape of the encoder's tensor)

    Returns
    -------
    dict
        Levels of each population by name, int64 (N, channels, rows, columns); for the read-out layer its potentials.
    """
    levels = {graph.encoder.name: encoder_levels.reshape(-1, *graph.encoder.shape).astype(np.int64)}
    for layer in graph.layers:
        potential = potentials(layer, levels)
        levels[layer.name] = potential if layer.readout else fire(layer, potential)
    return levels


def convolve(link: Connection, levels: Int, shape: tuple[int, int, int]) -> Int:
    """One linear map; float64 products, exact because every potential is far below 2**53."""
    images = len(levels)
    channels, rows, columns = shape
    per_group = link.weights.shape[1]
    taps = link.taps(levels.shape[2:], (rows, columns))  # type: ignore[arg-type]
    flat = levels.reshape(images, levels.shape[1], -1).astype(np.float64)
    flat = np.concatenate([flat, np.zeros((*flat.shape[:2], 1))], axis=2)  # index -1: the padding
    out = np.empty((images, channels, rows * columns))
    outputs = channels // link.groups
    for group in range(link.groups):
        block = flat[:, group * per_group : (group + 1) * per_group]
        window = block[:, :, taps]  # (N, channels in, positions, taps)
        kernel = link.weights[group * outputs : (group + 1) * outputs].reshape(outputs, per_group, -1)
        out[:, group * outputs : (group + 1) * outputs] = np.einsum(
            "nipt,oit->nop", window, kernel.astype(np.float64), optimize=True
        )
    return out.astype(np.int64).reshape(images, channels, rows, columns)
