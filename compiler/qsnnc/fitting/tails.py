"""Scores of changed forms of a model, computed from the last activations that a change leaves as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chipsim.mapping import InputSpec
from qsnnc.errors import ModelError
from qsnnc.fitting.edit import BEFORE
from qsnnc.fitting.measure import BATCH, Array, Images, scores
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.reference import session

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, eq=False)
class Tails:
    """Runs changed forms of a model on images whose activations are known."""

    model: Model
    rule: InputSpec
    images: Images
    kept: Mapping[str, Array]  # tensors of the unchanged model, (N, ...) each

    def scores(self, proto: onnx.ModelProto) -> Array:
        """Return the scores of a changed form of the reference, (N, outputs).

        Where float32 sums are exact they are those of `measure.scores` bit for bit, elsewhere but for the last bits.
        """
        tail, sources = self._tail(proto)
        if tail is None or any(len(self.kept[name]) != len(self.images) for name in sources.values()):
            return scores(self.model, self.rule, self.images, proto)
        run, parts = session(tail, evaluator=True), []
        try:
            for first in range(0, len(self.images), BATCH):
                feeds = {name: self.kept[of][first : first + BATCH] for name, of in sources.items()}
                part = run.run([self.model.output], feeds)[0]
                if len(part) != len(next(iter(feeds.values()))):
                    raise ModelError(self.model.output, "is computed for one image only", code="batch-moved")
                parts.append(part.reshape(len(part), -1))
        except ModelError:  # a reshape to one image, say
            return scores(self.model, self.rule, self.images, proto)
        return np.concatenate(parts)

    def _tail(self, proto: onnx.ModelProto) -> tuple[onnx.ModelProto | None, dict[str, str]]:
        """Return the part of a form behind kept activations, and which of them each of its inputs is; None if it is all."""
        clean = _clean(self.model.reference, proto)
        makers = {name: node for node in proto.graph.node for name in node.output}
        constants = {each.name: each for each in proto.graph.initializer}

        def kept(name: str) -> str | None:
            """Return the kept tensor that this one is."""
            before = name.removesuffix(BEFORE)
            there = name if name in clean else before if before != name and clean >= _inputs(makers[name]) else None
            return there if there in self.kept else None

        sources: dict[str, str] = {}
        needed: set[int] = set()
        wanted = [self.model.output]
        while wanted:
            name = wanted.pop()
            found = kept(name) if name in makers else None
            if found is not None:
                sources[name] = found
            elif name in makers:
                if id(makers[name]) not in needed:
                    needed.add(id(makers[name]))
                    wanted += [*_inputs(makers[name])]
            elif name not in constants:
                return None, {}  # the image itself is read
        if not sources:
            return None, {}
        return _part(proto, lambda node: id(node) in needed, {name: self.kept[of] for name, of in sources.items()}), sources


def _inputs(node: onnx.NodeProto) -> set[str]:
    return {name for name in node.input if name}


def _clean(before: onnx.ModelProto, after: onnx.ModelProto) -> set[str]:
    """Return the tensors of a changed form that hold what they held: same nodes, same constants, from the input on."""
    constants = {each.name: each.SerializeToString() for each in before.graph.initializer}
    clean = {each.name for each in after.graph.initializer if constants.get(each.name) == each.SerializeToString()}
    clean |= {each.name for each in before.graph.input}
    nodes = {node.SerializeToString() for node in before.graph.node}
    for node in after.graph.node:
        if node.SerializeToString() in nodes and clean >= _inputs(node):
            clean.update(node.output)
    return clean


def _part(proto: onnx.ModelProto, needed: Callable[[onnx.NodeProto], bool], feeds: Mapping[str, Array]) -> onnx.ModelProto:
    """Return a model of some nodes, with tensors as inputs."""
    from onnx import helper

    out = type(proto)()
    out.CopyFrom(proto)
    nodes = [node for node in proto.graph.node if needed(node)]
    used = {name for node in nodes for name in node.input}
    del out.graph.node[:], out.graph.input[:], out.graph.value_info[:]
    out.graph.node.extend(nodes)
    left = [each for each in proto.graph.initializer if each.name in used]
    del out.graph.initializer[:]
    out.graph.initializer.extend(left)
    for name, value in feeds.items():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        out.graph.input.append(helper.make_tensor_value_info(name, kind, ["N", *value.shape[1:]]))
    return out
