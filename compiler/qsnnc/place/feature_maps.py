"""Place cores as their output positions lie in the feature maps: all layers over each other, stretched to one size.

Cores that talk to each other then lie close together, and the packets of all cores are spread over the whole area. Where a
layer has no map, as behind a flattening, its cores lie in the middle, in their order.
"""

from __future__ import annotations

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.ir.cores import CoreGraph
from qsnnc.ir.layers import Int
from qsnnc.place.bounds import usable_cells
from qsnnc.place.traffic import F64


def by_feature_map(graph: CoreGraph, chip: ChipSpec) -> Int:
    """Place cores by their place in the feature maps, on the cells nearest to a port; returns x, y of each, (cores, 2)."""
    x, y = _places(graph)
    cells, ports = usable_cells(chip), np.array(chip.ports, np.int64)
    away = np.full(len(cells), sum(chip.grid))
    for port in ports:
        away = np.minimum(away, np.abs(cells - port).sum(axis=1))
    cells = cells[np.sort(np.argsort(away, kind="stable")[: graph.cores])]  # row by row, as they were
    line = np.empty(graph.cores, np.int64)  # as many cores a row as it has cells, from the top of the maps to their bottom
    line[np.argsort(y, kind="stable")] = cells[:, 1]
    found = np.empty((graph.cores, 2), np.int64)
    found[np.lexsort((x, line))] = cells
    return found


def _places(graph: CoreGraph) -> tuple[F64, F64]:
    """Return where the middle of each core's neurons lies in the feature map of its layer, from 0 to 1 along x and y."""
    owner = np.repeat(np.arange(graph.cores), np.diff(graph.neuron_offset))
    layer = graph.core_layer[owner]
    shapes = np.array([entry.layer.shape[1:] for entry in graph.layers])
    levels = np.array([max(1, entry.layer.levels) for entry in graph.layers])
    rows, columns = shapes[layer].T
    place = graph.neuron_element // levels[layer] % (rows * columns)
    count = np.diff(graph.neuron_offset)
    high, wide = shapes[graph.core_layer].T
    y, x = (np.bincount(owner, axis, graph.cores) for axis in np.divmod(place, columns))
    return (x / count + 0.5) / wide, (y / count + 0.5) / high
