"""Find where a network that the user limited (``--levels``) would have gone beyond the limit, for `chipsim run` to count.

Without the limit the network has a threshold for the next level: from that potential on, the model's level is beyond the
highest that the limited network has. The encoder's levels can simply be told without the limit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from qsnnc.frontend.importer.clip_activations import BEFORE
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph

#: what two connections with equal weights may differ in
SHAPE = ("source", "strides", "pads", "dilations", "groups", "level_wise")


def with_ceilings(limited: LayerGraph, whole: LayerGraph, tensors: Collection[str]) -> LayerGraph:
    """Return a limited network that tells where its model exceeds the limits, or names the limits of which it cannot.

    Parameters
    ----------
    whole : LayerGraph
        The same network without the limits.
    tensors : collection of str
        Those that are limited.
    """
    before = {layer.tensor: layer for layer in whole.layers if layer.tensor in tensors}
    layers = tuple(
        replace(layer, ceiling=_ceiling(layer, before[layer.tensor])) if layer.tensor in before and layer.levels else layer
        for layer in limited.layers
    )
    opened = _without_clip(limited.encoder_onnx, limited.encoder.tensor) if limited.encoder.tensor in tensors else None
    if opened is not None:
        limited = replace(limited, encoder_onnx=opened, open_encoder=True)
    found = replace(limited, layers=layers)
    watched = {found.population(name).tensor for name in found.watched}
    names = tuple(entry.name for entry in (whole.encoder, *whole.layers) if entry.tensor in set(tensors) - watched)
    return replace(found, unwatched=names)


def _ceiling(layer: Layer, whole: Layer) -> Int | None:
    """Return the potential of the next level; None where the limit has changed more than the number of levels."""
    low, high = layer.reach[..., :1], layer.reach[..., 1:]
    alike = layer.levels < whole.levels and layer.shape == whole.shape and np.array_equal(layer.border, whole.border)
    if not alike or len(layer.connections) != len(whole.connections):
        return None
    if not all(map(_equal, layer.connections, whole.connections)):
        return None
    if any(link.level_wise for link in layer.connections):  # a level's neuron is not told of the level above it
        return None
    thresholds = np.clip(whole.thresholds[..., : layer.levels + 1], low, high + 1)
    if not np.array_equal(thresholds[..., :-1], layer.thresholds):
        return None
    return np.asarray(thresholds[..., -1])


def _equal(one: Connection, other: Connection) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in SHAPE) and np.array_equal(one.weights, other.weights)


def _without_clip(encoder: bytes | None, tensor: str) -> bytes | None:
    """Return encoder.onnx without the Clip that ends in a tensor; None if there is none."""
    import onnx

    if encoder is None:
        return None
    proto = onnx.load_model_from_string(encoder)
    clip = next((node for node in proto.graph.node if list(node.output) == [tensor]), None)
    if clip is None or clip.op_type != "Clip" or clip.input[0] != tensor + BEFORE:
        return None
    proto.graph.node.remove(clip)
    for node in proto.graph.node:
        node.input[:] = [tensor + BEFORE if name == tensor else name for name in node.input]
    read = {name for node in proto.graph.node for name in node.input}
    kept = [value for value in proto.graph.initializer if value.name in read]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return bytes(proto.SerializeToString())
