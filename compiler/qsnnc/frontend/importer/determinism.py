"""Refuse models whose result for an image is not unique: training mode, and random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qsnnc.errors import ModelError, together
from qsnnc.frontend.model.messages import label

if TYPE_CHECKING:
    import onnx

#: operators that draw random numbers
RANDOM = frozenset("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split())


def refuse_nondeterministic(model: onnx.ModelProto) -> None:
    """Refuse a graph whose result changes from run to run, or depends on the rest of the batch.

    Raises
    ------
    ModelError
        Reports every such node.
    """
    from onnx import numpy_helper

    dropouts = {name for node in model.graph.node if node.op_type == "Dropout" for name in node.input[1:]}
    known = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer if entry.name in dropouts}
    found = []
    for node in model.graph.node:
        what = _nondeterminism(node, known)
        if what:
            text = f"{node.op_type} {what}; export the model in evaluation mode (torch: model.eval() first)"
            found.append(ModelError(label(node), text, code="model-chance", node=label(node), found=node.op_type))
    if found:
        raise together(found)


def _nondeterminism(node: onnx.NodeProto, known: Mapping[str, Any]) -> str:
    """Return what a node does at random or depending on the batch; '' if neither."""
    if node.domain:
        return ""
    if node.op_type in RANDOM:
        return "draws random numbers, so the result differs from run to run"
    training = any(entry.name == "training_mode" and entry.i for entry in node.attribute)
    if node.op_type == "BatchNormalization" and training:
        return "is in training mode: it normalizes by the statistics of the batch, not by its running mean and variance"
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        ratio, mode = (known.get(name) for name in node.input[1:3])
        if (mode is None or np.any(mode)) and (ratio is None or np.any(ratio)):
            return "is in training mode: it drops values at random"
    return ""
