"""Take subgraphs out of an ONNX model: the branch of an If, and the iterations of a Loop or Scan, in the node's place.

That is possible where the condition and the number of iterations are the same for every image. The compiler and
`chipsim compare` both do it, so that they speak of the same tensors.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from chipsim.onnx_graphs import has_half_precision, reads
from chipsim.onnx_known import Known, Unknown
from chipsim.onnx_repair import dense, opset_of

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

_log = logging.getLogger("chipsim")

#: operators that are taken apart
CONTROL = frozenset({"If", "Loop", "Scan"})
#: most nodes of a model that is unrolled; each iteration counts as one more
MOST_NODES = 1 << 14
#: opsets from which Scan has no batch axis of its own, and the axes of Unsqueeze are an input
SCAN_WITHOUT_BATCH, AXES_ARE_INPUT = 9, 13
ADVICE = {
    "If": "export only the branch that is meant (torch: trace the model, do not script it)",
    "Loop": "export with a fixed number of iterations (torch: trace the model, do not script it)",
    "Scan": "export with a fixed number of entries, along another axis than the batch",
}


def unrolled(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[InputError]]:
    """Return the model without If, Loop and Scan, the model itself if it has none; and what is in the way of that.

    New nodes and tensors are named after the file's node: ``NODE/NAME``, those of an iteration ``NODE/NUMBER/NAME``.
    """
    if not any(map(_is_control, model.graph.node)):
        return model, []
    found = _Unrolling(model)
    found.run()
    return found.result(), found.problems


def shown(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose nodes are those that layers are named after: without control flow, where that is possible."""
    plain, problems = unrolled(model)
    return model if problems else plain


def _is_control(node: onnx.NodeProto) -> bool:
    return node.op_type in CONTROL and not node.domain


class _Unrolling:
    """A graph without subgraphs, which is built node by node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.known = Known(model)
        self.opset = opset_of(model)
        self.problems: list[InputError] = []
        self.half = has_half_precision(model)
        self.iterations = 0
        self.tensors = {*self.known.inputs, *self.known.initial}.union(*(node.output for node in model.graph.node))
        self.nodes = {node.name for node in model.graph.node}

    def run(self) -> None:
        """Go through the nodes of the main graph."""
        for node in self.model.graph.node:
            try:
                self._node(node, {}, "", list(node.output))
            except (InputError, Unknown) as error:
                self.known.unsettle(node.output)
                if isinstance(error, InputError):
                    self.problems.append(error)

    def result(self) -> onnx.ModelProto:
        """Return the model."""
        out = type(self.model)()
        out.CopyFrom(self.model)
        graph, gone = out.graph, {name for node in self.model.graph.node if _is_control(node) for name in node.output}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.known.nodes)
        graph.initializer.extend(self.known.initial.values())
        for value in [value for value in graph.value_info if value.name in gone]:  # a shape that may be another branch's
            graph.value_info.remove(value)
        return out

    def _node(self, node: onnx.NodeProto, names: Mapping[str, str], prefix: str, outputs: list[str]) -> None:
        """Append a node, or what stands in its place, with the tensors that it reads renamed."""
        inputs = [names.get(name, name) for name in node.input]
        label = prefix + (node.name or next(filter(None, node.output), node.op_type))
        if not _is_control(node):
            self._add(node, _taken(self.nodes, label) if prefix else node.name, inputs, outputs)
        elif node.op_type == "If":
            self._if(node, names, label, inputs, outputs)
        elif node.op_type == "Loop":
            self._loop(node, names, label, inputs, outputs)
        else:
            self._scan(node, names, label, inputs, outputs)

    def _if(
        self, node: onnx.NodeProto, names: Mapping[str, str], label: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        branch = "then_branch" if self._ask("If", label, "takes a branch by", inputs[0]) else "else_branch"
        body = _attributes(node)[branch]
        self._body(body, {**names, **self._initial(body, label)}, f"{label}/", [], outputs)
        _log.info("%s: the condition of If is the same for every image; its %s stands in its place", label, branch)

    def _loop(
        self, node: onnx.NodeProto, names: Mapping[str, str], label: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        limit, condition, *carried = [*inputs, "", ""][: max(2, len(inputs))]
        body = _attributes(node)["body"]
        names = {**names, **self._initial(body, label)}
        count = self._ask("Loop", label, "runs its body as often as says", limit) if limit else math.inf
        going = not condition or bool(self._ask("Loop", label, "runs its body if", condition))
        shapes = [(1,) if len(value.type.tensor_type.shape.dim) == 1 else () for value in body.input[:2]]
        true = self._constant(f"{label}/true", np.full(shapes[1], True))
        rows: list[list[str]] = []
        number = 0
        while going and number < count:
            self._count("Loop", label)
            at = self._constant(f"{label}/{number}/number", np.full(shapes[0], number, np.int64))
            asked, *found = self._body(body, names, f"{label}/{number}/", [at, true, *carried], [])
            carried, row = found[: len(carried)], found[len(carried) :]
            rows.append(row)
            number += 1
            going = number >= count or bool(self._ask("Loop", label, "goes on as long as", asked, carried))
        self._rename(label, carried, outputs)
        self._stack("Loop", label, rows, outputs[len(carried) :], itertools.repeat(0))
        _log.info("%s: Loop is unrolled, %d iterations", label, number)

    def _scan(
        self, node: onnx.NodeProto, names: Mapping[str, str], label: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        given = _attributes(node)
        body, scanned = given["body"], inputs[len(inputs) - given["num_scan_inputs"] :]
        carried = list(inputs[: len(inputs) - len(scanned)])
        if self.opset < SCAN_WITHOUT_BATCH:
            text = f"Scan of opset {self.opset} has a batch axis of its own; export with opset {SCAN_WITHOUT_BATCH} or newer"
            raise InputError(label, text, code="model-opset", found=self.opset, allowed=SCAN_WITHOUT_BATCH)
        names = {**names, **self._initial(body, label)}
        axes = given.get("scan_input_axes", [0] * len(scanned))
        back = given.get("scan_input_directions", [0] * len(scanned))
        count = self._entries(label, scanned[0], axes[0])
        rows: list[list[str]] = []
        for number in range(count):
            self._count("Scan", label)
            prefix = f"{label}/{number}/"
            entries = [
                self._entry(f"{prefix}entry", name, axis, count - 1 - number if down else number)
                for name, axis, down in zip(scanned, axes, back, strict=True)
            ]
            found = self._body(body, names, prefix, [*carried, *entries], [])
            carried, row = found[: len(carried)], found[len(carried) :]
            rows.append(row)
        self._rename(label, carried, outputs)
        wanted = outputs[len(carried) :]
        back = given.get("scan_output_directions", [0] * len(wanted))
        self._stack("Scan", label, rows, wanted, given.get("scan_output_axes", [0] * len(wanted)), back)
        _log.info("%s: Scan is unrolled, %d iterations", label, count)

    def _body(
        self, graph: onnx.GraphProto, names: Mapping[str, str], prefix: str, given: Sequence[str], wanted: Sequence[str]
    ) -> list[str]:
        """Append the nodes of a subgraph; return its outputs, which have wanted names where there are any."""
        inner = {**names, **{value.name: name for value, name in zip(graph.input, given, strict=True)}}
        if self.half:
            inner.update(self._boundary(graph, inner, prefix))
        pairs = [] if self.half else zip(graph.output, wanted, strict=bool(wanted))
        ends = {value.name: name for value, name in pairs if name}
        for node in graph.node:
            outputs = [name and (ends.get(name) or self._free(prefix + name)) for name in node.output]
            self._node(node, inner, prefix, outputs)
            inner.update(zip(node.output, outputs, strict=True))
        found = [inner.get(value.name, value.name) for value in graph.output]
        if self.half:
            found = [self._rounded(f"{prefix}output", name) for name in found]
        self._rename(f"{prefix}output", found, wanted)
        return found

    def _boundary(self, graph: onnx.GraphProto, names: Mapping[str, str], prefix: str) -> dict[str, str]:
        """Round what a subgraph reads to float16, as onnxruntime does there and not inside a graph; return its new names."""
        own = {name for node in graph.node for name in node.output}
        read = dict.fromkeys(name for node in graph.node for name in reads(node) if name and name not in own)
        known = {name: names.get(name, name) for name in read}
        return {name: self._rounded(prefix + name, at) for name, at in known.items() if not self.known.is_constant(at)}

    def _rounded(self, label: str, name: str) -> str:
        """Have a tensor rounded if it is float16; onnxruntime runs a single operator between others in float32."""
        return self._put("Identity", label, [self._put("Identity", label, [name])])

    def _initial(self, graph: onnx.GraphProto, label: str) -> dict[str, str]:
        """Add the initial values of a subgraph; return their new names."""
        tensors = [*graph.initializer, *(dense(tensor, tensor.values.name) for tensor in graph.sparse_initializer)]
        names = {}
        for tensor in tensors:
            copy = type(tensor)()
            copy.CopyFrom(tensor)
            copy.name = names[tensor.name] = self._free(f"{label}/{tensor.name}")
            self.known.initial[copy.name] = copy
        return names

    def _rename(self, label: str, found: Sequence[str], wanted: Sequence[str]) -> None:
        """Give tensors the names that are wanted, where they have others."""
        for have, name in zip(found, wanted, strict=False):
            if name and have != name:
                self._put("Identity", label, [have], name)

    def _entries(self, label: str, name: str, axis: int) -> int:
        """Return how many entries a tensor has along an axis."""
        shape = self._put("Shape", f"{label}/shape", [name])
        size = self._put("Gather", f"{label}/size", [shape, self._constant(f"{label}/axis", np.array([axis], np.int64))])
        try:
            return int(self.known.value(size)[0])
        except Unknown as reason:
            text = f"Scan runs its body for each entry of {name!r} along axis {axis}, whose number"
            raise _refusal(label, "Scan", text, reason) from None

    def _entry(self, label: str, name: str, axis: int, number: int) -> str:
        """Return one entry of a tensor along an axis."""
        return self._put("Gather", label, [name, self._constant(f"{label}/number", np.array(number, np.int64))], axis=axis)

    def _stack(
        self,
        op: str,
        label: str,
        rows: Sequence[Sequence[str]],
        wanted: Sequence[str],
        axes: Iterable[int],
        back: Iterable[int] = itertools.repeat(0),
    ) -> None:
        """Put the results of all iterations together, along a new axis each."""
        for number, (name, axis, down) in enumerate(zip(wanted, axes, back, strict=False)):
            if name and not rows:
                raise _refusal(label, op, f"{op} never runs its body, so that {name!r} has no elements")
            if name:
                parts = [self._unsqueezed(f"{label}/{at}/entry", row[number], axis) for at, row in enumerate(rows)]
                self._put("Concat", f"{label}/entries", parts[::-1] if down else parts, name, axis=axis)

    def _unsqueezed(self, label: str, name: str, axis: int) -> str:
        if self.opset < AXES_ARE_INPUT:
            return self._put("Unsqueeze", label, [name], axes=[axis])
        return self._put("Unsqueeze", label, [name, self._constant(f"{label}/axis", np.array([axis], np.int64))])

    def _ask(self, op: str, label: str, says: str, name: str, also: Iterable[str] = ()) -> int:
        """Return the value of a condition or of a number of iterations."""
        try:
            return int(self.known.value(name, also).reshape(-1)[0])
        except Unknown as reason:
            raise _refusal(label, op, f"{op} {says} {name!r}, which", reason) from None

    def _count(self, op: str, label: str) -> None:
        """Refuse one more iteration than can be unrolled."""
        self.iterations += 1
        if len(self.known.nodes) + self.iterations > MOST_NODES:
            text = f"{op} would be more than {MOST_NODES:,} nodes, the most supported, with all iterations written out"
            raise _refusal(label, op, text)

    def _free(self, name: str) -> str:
        """Return a tensor's name that is not taken yet, and take it."""
        return _taken(self.tensors, name)

    def _constant(self, name: str, value: Array) -> str:
        free = self._free(name)
        self.known.constant(free, value)
        return free

    def _put(self, op: str, label: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Append an operator; return its output."""
        from onnx import helper

        output = output or self._free(label)
        self.known.add(helper.make_node(op, inputs, [output], name=_taken(self.nodes, label), **attributes))
        return output

    def _add(self, node: onnx.NodeProto, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Append a copy of a node between other tensors."""
        copy = type(node)()
        copy.CopyFrom(node)
        copy.name = name
        del copy.input[:], copy.output[:]
        copy.input.extend(inputs)
        copy.output.extend(outputs)
        self.known.add(copy)


def _refusal(label: str, op: str, text: str, reason: Unknown | None = None) -> InputError | Unknown:
    """Return the error about a node; a reason that was said before stays one."""
    if reason is not None and not str(reason):
        return reason
    because = f" {reason}" if reason else ""
    return InputError(label, f"{text}{because}; {ADVICE[op]}", code="model-subgraph", found=op)


def _taken(taken: set[str], name: str) -> str:
    """Take a name, with a number behind it if another has it already; return it."""
    numbered = itertools.chain([name], (f"{name}/{number}" for number in itertools.count(2)))
    free = next(each for each in numbered if each not in taken)
    taken.add(free)
    return free


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
