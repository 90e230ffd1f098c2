"""A spiking network in NumPy as the published method's own code runs it: layer by layer, no cores, no counters by core.

Every feature has as many neurons as levels, each its own spike map; a window of maps times the weights, repeated for the
levels, is the potential, and each neuron compares it with its threshold. Spikes are counted layer by layer.
"""

from __future__ import annotations

import numpy as np

from chipsim.engine.host import session
from qsnnc.ir.layers import Connection, Layer, LayerGraph


class NumpyNetwork:
    """A chain of convolutions, pools and matrices, from pixels to predictions."""

    def __init__(self, graph: LayerGraph) -> None:
        self.graph = graph
        self.encoder = session(graph.encoder_onnx, "encoder.onnx")
        self.source = self.encoder.get_inputs()[0].name
        self.spikes = 0

    def run(self, images: np.ndarray) -> np.ndarray:
        """Potentials (images, outputs) of float32 images."""
        levels = self.encoder.run(["levels"], {self.source: images})[0].reshape(len(images), *self.graph.encoder.shape)
        maps = _thermometer(levels, self.graph.encoder.levels)
        self.spikes += int(maps.sum())
        for layer in self.graph.layers:
            (link,) = layer.connections
            potential = _linear(link, layer, maps)
            if layer.readout:
                return potential.reshape(len(images), -1)
            thresholds = layer.thresholds[layer.border].transpose(2, 3, 0, 1)  # (channels, levels, rows, columns)
            maps = (potential[:, :, None] >= thresholds).astype(np.float32)
            self.spikes += int(maps.sum())
        raise AssertionError("the last layer is read out")


def _thermometer(levels: np.ndarray, count: int) -> np.ndarray:
    """Spike maps (images, channels, levels, rows, columns)."""
    return (levels[:, :, None] > np.arange(count)[:, None, None]).astype(np.float32)


def _linear(link: Connection, layer: Layer, maps: np.ndarray) -> np.ndarray:
    """Potentials (images, channels, rows, columns): windows of the maps times the repeated weights."""
    images, channels, levels, rows, columns = maps.shape
    out, _, high, wide = link.weights.shape
    assert link.groups == 1, "chains of plain convolutions"
    top, left, bottom, right = link.pads
    padded = np.pad(maps.reshape(images, -1, rows, columns), ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (high, wide), axis=(2, 3))
    windows = windows[:, :, :: link.strides[0], :: link.strides[1]].transpose(0, 2, 3, 1, 4, 5)
    matrix = np.repeat(link.weights, levels, axis=1).reshape(out, -1).astype(np.float32)
    found = windows.reshape(-1, channels * levels * high * wide) @ matrix.T
    return found.reshape(images, *layer.shape[1:], out).transpose(0, 3, 1, 2)
