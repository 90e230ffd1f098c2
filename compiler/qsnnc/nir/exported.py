"""Get the layer graph back from a NIR file that `export` wrote."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.ir.layers import Int, LayerGraph
from qsnnc.ir.stored import restore
from qsnnc.nir.export import NotExpressible, export
from qsnnc.nir.network import PREFIX, Network, Node
from qsnnc.nir.reading import DESCRIPTION
from qsnnc.nir.views import contracted, gather


def stored_graph(network: Network) -> LayerGraph | None:
    """Return the layer graph that a file was exported from; None if it was not, or if somebody changed it since.

    The description in the metadata counts only where the export of what it describes gives the very nodes of the file; else
    the nodes say what the network is, and are read like anybody's.

    Raises
    ------
    ModelError
        The description is damaged.
    """
    text = network.metadata.get(DESCRIPTION)
    if text is None:
        return None
    try:
        found = json.loads(text)
        encoder, readout = (
            None if found[key] is None else b64decode(found[key]) for key in ("encoder_onnx", "readout_onnx")
        )
        graph = restore(found, lambda layer, link: _weights(found, layer, link, network), encoder, readout or b"")
        again = export(graph)
    except NotExpressible:
        return None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, ModelError, RecursionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise ModelError(
            network.path,
            f"metadata {DESCRIPTION} is damaged ({reason}); export the network again, or remove that key",
            code="nir-metadata",
        ) from None
    return graph if _same(network, again) else None


def _weights(found: dict[str, Any], number: int, link: int, network: Network) -> Int:
    """Return the weights of a connection, from the node that has them."""
    populations = {entry["name"]: entry for entry in (found["encoder"], *found["layers"])}
    layer, place = found["layers"][number], found["links"][number][link]
    said = layer["connections"][link]
    into, out = populations[said["source"]]["levels"], max(layer["levels"], 1)
    if not place:
        return np.ones((layer["shape"][0], 1, 1, 1), np.int64)
    node = network.nodes[place["node"]]
    if node.type == "Scale":
        return _whole(node, "scale").reshape(-1, 1, 1, 1)
    kernel = _whole(node, "weight")
    if node.type == "Affine":
        kernel = kernel.reshape(place["kernel"])
    elif node.type == "Conv1d":
        kernel = kernel[:, :, None]
    for axis, record in enumerate(place.get("taps", ())):
        kernel = gather(kernel, record, 2 + axis)
    return np.ascontiguousarray(contracted(kernel, said["level_wise"], into, out))


def _whole(node: Node, key: str) -> Int:
    values = node.finite(key)
    if (values != np.round(values)).any():
        raise ValueError(f"{node.name} has weights that are not whole numbers")
    return values.astype(np.int64)


def _same(network: Network, again: Network) -> bool:
    """Whether a file has the nodes, edges and settings of a network; what other tools add to nodes may be there besides."""
    if set(network.edges) != set(again.edges) or network.nodes.keys() != again.nodes.keys():
        return False
    if any(network.metadata.get(key) != value for key, value in again.metadata.items() if key != DESCRIPTION):
        return False
    return all(_same_node(network.nodes[name], node) for name, node in again.nodes.items())


def _same_node(found: Node, wanted: Node) -> bool:
    if found.type != wanted.type or _stated(found) != _stated(wanted):
        return False
    if "v_reset" in found.values and "v_reset" not in wanted.values and found.array("v_reset").any():
        return False
    keys = wanted.values.keys() - {"input_shape", "input_type", "shape"}
    return keys <= found.values.keys() and all(_same_values(found.array(key), wanted.array(key)) for key in keys)


def _stated(node: Node) -> dict[str, str]:
    return {key: text for key, text in node.metadata.items() if key.startswith(PREFIX)}


def _same_values(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    return found.size == wanted.size and bool((found.reshape(-1) == wanted.reshape(-1)).all())
