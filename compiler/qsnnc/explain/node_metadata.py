"""What became of each node of an ONNX file, as metadata that Netron shows and as node data for Model Explorer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chipsim.onnx_layers import nodes_by_tensor
from qsnnc.explain.tables import compilation_facts

if TYPE_CHECKING:
    import onnx

    from qsnnc.compilation import CheckResult

#: what begins every key of ours in the metadata of a node
PREFIX = "qsnnc."
_KEYS = "kind levels weight_bits fan_in neurons removed synapses cores bound limiting exactness".split()
#: IR version from which nodes have metadata
_IR_VERSION = 10


def annotated(model: onnx.ModelProto, found: CheckResult) -> onnx.ModelProto:
    """Return a copy of a model whose nodes say to which layer they belong and what it takes on the chip.

    Keys are ``qsnnc.layer`` and, for a layer on the chip, ``qsnnc.cores``, ``qsnnc.bound``, ``qsnnc.levels``,
    ``qsnnc.exactness`` and others of the compile JSON; ``qsnnc.place`` is ``chip`` or ``host``. Nothing that is computed
    changes; keys of an earlier annotation are replaced.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(copy.ir_version, _IR_VERSION)
    rows, owner = _rows(found), _owner(copy.graph, found)
    for node, number in zip(copy.graph.node, owner, strict=True):
        kept = [(entry.key, entry.value) for entry in node.metadata_props if not entry.key.startswith(PREFIX)]
        del node.metadata_props[:]
        said = {"place": "host"} if number is None else rows[number]
        said = {"chip": found.chip.name, "fits": str(found.fits).lower(), **said}
        for key, value in (*kept, *((PREFIX + name, text) for name, text in said.items())):
            node.metadata_props.add(key=key, value=value)
    return copy


def node_data(model: onnx.ModelProto, found: CheckResult) -> dict[str, Any]:
    """Return the cores of each node's layer as a `GraphNodeData` of Model Explorer.

    Its readers of ONNX call a node by its name, or ``<node_N>`` without one (model-explorer-onnx 0.4.2), and do not find
    nodes by the tensors that they compute, as those of other formats do; so both stand there.
    """
    layers = compilation_facts(found)["layers"]
    results = {
        key: {"value": layers[number - 1]["cores"]}
        for at, (node, number) in enumerate(zip(model.graph.node, _owner(model.graph, found), strict=True))
        if number and layers[number - 1]["cores"] is not None
        for key in (node.name or f"<node_{at}>", *node.output)
        if key
    }
    gradient = [{"stop": 0, "bgColor": "#fde725"}, {"stop": 1, "bgColor": "#31688e"}]
    return {"results": results, "name": f"cores on {found.chip.name}", "gradient": gradient}


def _owner(graph: onnx.GraphProto, found: CheckResult) -> list[int | None]:
    """Return the population of each node: 0 the encoder, then the layers; None: behind the chip, or unused."""
    return nodes_by_tensor(graph, [entry.tensor for entry in (found.graph.encoder, *found.graph.layers)])


def _rows(found: CheckResult) -> list[dict[str, str]]:
    encoder = found.graph.encoder
    host = {"layer": encoder.name, "place": "host", "levels": str(encoder.levels)}
    layers = compilation_facts(found)["layers"]
    return [host] + [
        {"layer": row["name"], "place": "chip", **{key: str(row[key]) for key in _KEYS if row.get(key) is not None}}
        for row in layers
    ]
