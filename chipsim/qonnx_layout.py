"""Rewrite QONNX's channels-last operators as the standard's, between transposes.

The domain ``qonnx.custom_op.channels_last`` has Conv, MaxPool and BatchNormalization on tensors whose channels are the last
axis; a Conv's weights are (outputs, kernel ..., inputs). qonnx's ``ConvertToChannelsLast`` writes them, to prepare a file
for hls4ml. qonnx 1.0 itself transposes, runs the standard operator and transposes back; so does the rewriting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from chipsim.errors import InputError
from chipsim.node_rewrite import Rewrite

if TYPE_CHECKING:
    import onnx

#: the attributes of each operator that has a window
WINDOW = {
    "Conv": ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
    "MaxPool": ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"),
}


def ranks(graph: onnx.GraphProto) -> dict[str, int]:
    """Map the tensors whose shape the file states to their number of axes."""
    stated = (*graph.input, *graph.value_info, *graph.output)
    return {v.name: len(v.type.tensor_type.shape.dim) for v in stated if v.type.tensor_type.HasField("shape")}


def writers(known: Mapping[str, int]) -> dict[str, Callable[[Rewrite], None]]:
    """Return the function that rewrites each operator; ``known`` is the result of `ranks`."""
    return {**dict.fromkeys(WINDOW, _window), "BatchNormalization": partial(_normalization, known)}


def _window(s: Rewrite) -> None:
    """Write a Conv or MaxPool: a window of one or two axes."""
    op = s.node.op_type
    moves = s.given(*WINDOW[op])
    s.all_read()
    kernel = moves.get("kernel_shape")
    if not isinstance(kernel, list):
        raise InputError(s.label, f"{op} without kernel_shape, which qonnx requires", code="model-attribute", found=op)
    rank = len(kernel) + 2
    inputs = [_channels_first(s, name, rank) for name in s.node.input[: 2 if op == "Conv" else 1]]
    _between(s, rank, [*inputs, *s.node.input[len(inputs) :]], moves)


def _normalization(known: Mapping[str, int], s: Rewrite) -> None:
    moves = s.given("epsilon", "momentum", "training_mode")
    s.all_read()
    rank = known.get(s.node.input[0], known.get(s.node.output[0], 0))
    if rank < 2:
        text = "the file states no shape of its input; write them with qonnx's InferShapes"
        raise InputError(s.label, text, code="model-shapes", found=s.node.input[0])
    _between(s, rank, [_channels_first(s, s.node.input[0], rank), *s.node.input[1:]], moves)


def _between(s: Rewrite, rank: int, inputs: list[str], moves: dict[str, Any]) -> None:
    """Append the standard operator, under the node's own name, and the transpose of its result."""
    here = s.put(s.node.op_type, *inputs, **moves)
    s.nodes[-1].name = s.label
    s.put("Transpose", here, last=True, perm=[0, *range(2, rank), 1])


def _channels_first(s: Rewrite, name: str, rank: int) -> str:
    return s.put("Transpose", name, perm=[0, rank - 1, *range(1, rank - 1)])
