"""One connection for each source of a layer: an input has one address, and there one weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.ir.layers import Connection, Layer, LayerGraph


def joined(graph: LayerGraph) -> LayerGraph:
    """The same network, each layer reading each source once: kernels on the same source are summed."""
    return replace(graph, layers=tuple(_joined(layer) for layer in graph.layers))


def _joined(layer: Layer) -> Layer:
    by_source: dict[tuple[object, ...], list[Connection]] = {}
    for link in layer.connections:
        # where windows do not move, strides mean nothing
        strides = tuple(step if size > 1 else 1 for step, size in zip(link.strides, layer.shape[1:], strict=True))
        by_source.setdefault((link.source, strides, link.level_wise), []).append(link)
    if len(by_source) == len(layer.connections):
        return layer
    return replace(layer, connections=tuple(_sum(links) for links in by_source.values()))


def _sum(links: list[Connection]) -> Connection:
    """One kernel that holds several, over the taps of all of them."""
    if len(links) == 1:
        return links[0]
    whole = [_ungrouped(link) for link in links]
    top, left = (max(link.pads[axis] for link in links) for axis in (0, 1))
    ends = [
        max((link.weights.shape[2 + axis] - 1) * link.dilations[axis] - link.pads[axis] for link in links) for axis in (0, 1)
    ]
    kernel = np.zeros((*whole[0].shape[:2], top + ends[0] + 1, left + ends[1] + 1), np.int64)
    for link, weights in zip(links, whole, strict=True):
        rows = top - link.pads[0] + np.arange(weights.shape[2]) * link.dilations[0]
        columns = left - link.pads[1] + np.arange(weights.shape[3]) * link.dilations[1]
        kernel[:, :, rows[:, None], columns] += weights
    bottom, right = (max(link.pads[axis] for link in links) for axis in (2, 3))
    return replace(links[0], weights=kernel, pads=(top, left, bottom, right), dilations=(1, 1), groups=1)


def _ungrouped(link: Connection) -> np.ndarray[tuple[int, int, int, int], np.dtype[np.int64]]:
    outputs, per_group, *kernel = link.weights.shape
    found = np.zeros((outputs, per_group * link.groups, *kernel), np.int64)
    each = outputs // link.groups
    for group in range(link.groups):
        mine = slice(group * each, (group + 1) * each)
        found[mine, group * per_group : (group + 1) * per_group] = link.weights[mine]
    return found
