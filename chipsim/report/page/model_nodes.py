"""Which nodes of the ONNX file each population stands for."""

from __future__ import annotations

import hashlib
from typing import Any

from chipsim import paths
from chipsim.errors import InputError
from chipsim.onnx_layers import nodes_by_tensor
from chipsim.onnx_unrolled import shown
from chipsim.report.page.results import check_same


def nodes_of_populations(path: str, content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of a model, each with the population that it belongs to.

    Returns
    -------
    list of dict
        ``name``, ``op``, ``outputs`` and ``population`` (its number; None: behind the chip, on the host).

    Raises
    ------
    InputError
        The file cannot be read, or the mapping was compiled from another.
    """
    import onnx

    data = paths.read(path, (1 << 31) - 1, "file-unreadable")
    check_same(path, hashlib.sha256(data).hexdigest(), content)
    try:
        graph = shown(onnx.load_model_from_string(data)).graph
    except Exception:  # noqa: BLE001  # protobuf has errors of its own
        raise InputError(path, "is not a readable ONNX model; give the .onnx of the mapping", code="model-corrupt") from None
    tensors = [entry["tensor"] for entry in content["populations"]]
    owner = nodes_by_tensor(graph, tensors)
    return [
        {"name": node.name, "op": node.op_type, "outputs": list(node.output), "population": owner[number]}
        for number, node in enumerate(graph.node)
    ]
