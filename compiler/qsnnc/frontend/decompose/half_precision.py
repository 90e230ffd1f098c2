"""Write out where onnxruntime rounds to float16: it computes most float16 operators in float32.

The standard leaves open where a chain of float16 operators is rounded. onnxruntime has float16 kernels for some operators
(quantizers, data movement) and runs the others in float32, without rounding between two of them. The graph that it executes,
with those casts as nodes, is what the compiler reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chipsim.onnx_graphs import has_half_precision
from chipsim.qonnx_ops import ORIGIN
from qsnnc.frontend.model.layer_names import INSERTED
from qsnnc.frontend.model.reference import executed_graph

if TYPE_CHECKING:
    import onnx


def with_explicit_casts(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model as onnxruntime executes it without optimisation; the model itself if it has no float16 tensors.

    Raises
    ------
    ModelError
        onnxruntime cannot run it.
    """
    import onnx

    if not has_half_precision(model):
        return model
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "executed.onnx"
        executed_graph(model, path)
        found = onnx.load(str(path))
    used = {node.domain for node in found.graph.node} | {""}
    kept = [entry for entry in found.opset_import if entry.domain in used]
    del found.opset_import[:]
    found.opset_import.extend(kept)
    found.metadata_props.extend(entry for entry in model.metadata_props if entry not in found.metadata_props)
    nodes = list(_in_order(found.graph))
    for node in nodes:
        _say_origin(node)
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    return found


def _say_origin(node: onnx.NodeProto) -> None:
    """Note at a node whose result onnxruntime renamed which tensor of the file that is, for messages."""
    if node.output[0].startswith(INSERTED) and not node.doc_string.startswith(ORIGIN):
        tensor = node.output[0].removeprefix(INSERTED)
        node.doc_string = f"{ORIGIN}{node.name.removeprefix(INSERTED)}\n{tensor}"


def _in_order(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Iterate over the nodes in topological order."""
    known = {"", *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)}
    waiting = list(graph.node)
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        assert ready, "onnxruntime's graphs have no cycles"
        yield from ready
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.input) or not known.issuperset(node.output)]
