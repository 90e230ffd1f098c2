"""Give a file of one image its batch axis back where nodes remove it, as Squeeze, or a Reshape of the scores to (10,).

Such a file is a function of one image, and its tensors without a batch axis are those of one image. Each gets the axis in
front again, and every node that reads one computes the same behind it, so that the file takes any number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chipsim.onnx_repair import opset_of
from chipsim.qonnx_ops import ORIGIN
from qsnnc.errors import ModelError
from qsnnc.frontend.model.batch_as_image import AXIS, behind_an_axis
from qsnnc.frontend.model.batch_axis import constants_for_images, squeezes_all
from qsnnc.frontend.model.messages import label
from qsnnc.frontend.model.operator_table import MICROSOFT
from qsnnc.frontend.model.operators import ELEMENTWISE, facts
from qsnnc.frontend.model.reference import session

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]

#: opsets from which the axes of Squeeze, Unsqueeze and ReduceSum, and those of other reductions, are an input
AXES_ARE_INPUT, REDUCED_AXES_ARE_INPUT = 13, 18
#: operators that give their input another shape, whose result follows from its shape, and that read one axis by its number
RESHAPING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
OF_SHAPE, ALONG = frozenset({"Shape", "Size"}), frozenset({*AXIS, "Gather", "Split", "TopK", "Hardmax"})


class _Stays(Exception):
    """An operator has no such form."""


def with_batch_axis(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of one image whose tensors all have a batch axis; the model itself if they have, or cannot have, one.

    Parameters
    ----------
    proto : ModelProto
        With one input, whose first axis is 1; it is not changed.

    Raises
    ------
    ModelError
        Nodes remove the axis, or put another in front of it, and one that reads the result has no form with an axis more.
    """
    lifted = _Lifted(proto)
    stays = lifted.run()
    if stays is not None and lifted.refused is not None:
        node = lifted.refused
        text = (
            f"{node.op_type} removes the batch axis, and {stays.op_type} {label(stays)!r} has no form with it; keep axis 0"
        )
        raise ModelError(label(node), text, code="batch-moved", node=label(node), found=stays.op_type)
    if stays is not None or not lifted.changed:
        return proto
    out = type(proto)()
    out.CopyFrom(proto)
    del out.graph.node[:], out.graph.value_info[:]
    out.graph.node.extend(lifted.nodes)
    out.graph.initializer.extend(lifted.initializers)
    return out


class _Lifted:
    """A graph in progress in which tensors that have lost their batch axis have it in front of their own axes."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        from onnx import shape_inference

        self.proto = proto
        plain = type(proto)()
        plain.CopyFrom(proto)
        del plain.graph.value_info[:]  # what the file says there may be wrong
        graph = shape_inference.infer_shapes(plain, data_prop=True).graph
        typed = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
        known = {
            name: tuple(dim.dim_value for dim in each.shape.dim) for name, each in typed.items() if each.HasField("shape")
        }
        self.shapes = {name: shape for name, shape in known.items() if all(size > 0 for size in shape)}
        self.moving = _of_values(proto.graph)
        self.shapes.update(_measured(proto, sorted(self.moving - self.shapes.keys())))
        self.constants = constants_for_images(proto)
        self.opset = opset_of(proto)
        self.lost: set[str] = set()
        self.changed = False
        self.refused: onnx.NodeProto | None = None  # the first that removes the axis, and cannot be left as it is
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def run(self) -> onnx.NodeProto | None:
        """Go through the nodes; return the first that cannot have the axis, None if there is none."""
        nodes: list[onnx.NodeProto] = list(self.proto.graph.node)
        for node in nodes:
            try:
                self._node(node)
            except _Stays:
                return node
        return None

    def _node(self, node: onnx.NodeProto) -> None:
        data = self.moving.intersection(node.input)
        if not data:
            self._shape_of(node)
        elif data & self.lost or self._moves_batch(node):
            if self.refused is None and not data & self.lost and self._must_change(node):
                self.refused = node
            self.changed = True
            self._lift(node)
        else:
            self.nodes.append(node)

    def _must_change(self, node: onnx.NodeProto) -> bool:
        """Return whether no other pass can read what a node makes of the batch axis."""
        removes = node.op_type in {"Squeeze", "Gather", "Transpose", *_REDUCED} and not squeezes_all(node)
        return removes and self.shapes.get(node.output[0], (1,))[:1] != (1,)

    def _moves_batch(self, node: onnx.NodeProto) -> bool:
        """Return whether a node removes the batch axis, whose length is one, or puts another one in front of it."""
        options, op = _options(node), node.op_type
        if any(self.shapes.get(name, (1,))[:1] != (1,) for name in node.output if name):
            return True
        if node.domain:
            return False
        if op == "Transpose":
            return bool(options.get("perm", [1])[0])
        if op == "Gather":
            return options.get("axis", 0) == 0 and not np.ndim(self.constants.get(node.input[1], [0]))
        if op in ("Squeeze", "Unsqueeze") or (op in _REDUCED and not options.get("keepdims", 1)):
            axes = options.get("axes") or _known(self, node, 1)
            return not axes or 0 in axes or (op != "Unsqueeze" and -_rank(self, node) in axes)
        return False

    def _shape_of(self, node: onnx.NodeProto) -> None:
        """Append a node on constants; the shape of a tensor that has lost its axis is one."""
        name = node.input[0] if node.input else ""
        if node.op_type == "Shape" and name in self.lost and not node.attribute:
            self.put(node, "Identity", [self.constant(node, self._shape(name))], [node.output[0]])
        elif self.lost.intersection(node.input):
            raise _Stays
        else:
            self.nodes.append(node)

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes or not all(size > 0 for size in self.shapes[name]):
            raise _Stays
        return self.shapes[name]

    def _lift(self, node: onnx.NodeProto) -> None:
        """Append a node that reads or makes a tensor without a batch axis."""
        if not node.domain and self._only_reshapes(node):
            self._reshape(node)
            return
        write = _WRITERS.get(node.op_type, _elementwise if node.op_type in ELEMENTWISE else None)
        if node.domain and not (node.domain == MICROSOFT and node.op_type in QUANTIZERS):
            write = None
        so_far = len(self.nodes)
        try:
            if write is None or not self.shapes.keys() >= set(filter(None, node.output)):
                raise _Stays
            write(self, node, [self._behind(node, name) if name in self.moving else name for name in node.input])
            self.lost.update(filter(None, node.output))
        except _Stays:
            del self.nodes[so_far:]
            if any(self.shapes.get(name, ())[:1] != (1,) for name in (*self.moving.intersection(node.input), *node.output)):
                raise
            self.keep(node, [self._first_as_batch(node, name) if name in self.lost else name for name in node.input])

    def _only_reshapes(self, node: onnx.NodeProto) -> bool:
        """Return whether a node keeps every value and their order: it may take the first of one, or reduce over one."""
        if node.op_type in RESHAPING:
            return True
        sizes = self.shapes.get(node.input[0], ())
        if node.op_type == "Gather" and sizes and not np.ndim(self.constants.get(node.input[1], [0])):
            return bool(sizes[_options(node).get("axis", 0) % len(sizes)] == 1)
        axes = _reduced_axes(self, node) if node.op_type in _REDUCED and sizes else []
        return bool(axes) and all(sizes[axis] == 1 for axis in axes)

    def _reshape(self, node: onnx.NodeProto) -> None:
        """Append a node that only changes the shape: to the file's behind the batch, or to one whose first axis is that."""
        (name,) = node.output
        shape = self._shape(name)
        stays = shape[:1] != (1,) or node.op_type not in ("Reshape", "Flatten", "Unsqueeze")
        if node.op_type == "Unsqueeze" and self.lost.intersection(node.input):
            stays = not {0, -len(shape)}.intersection(_options(node).get("axes") or _known(self, node, 1) or [])
        own, source = shape if stays else shape[1:], node.input[0]
        if own == (self._shape(source) if source in self.lost else self._shape(source)[1:]):
            self.put(node, "Identity", [source], [name])
        else:
            self.put(node, "Reshape", [source, self.constant(node, (-1, *own))], [name])
        if stays:
            self.lost.add(name)

    def _behind(self, node: onnx.NodeProto, name: str) -> str:
        """Return a tensor behind a batch axis of its own."""
        return name if name in self.lost else self._reshaped(node, name, self._shape(name))

    def _first_as_batch(self, node: onnx.NodeProto, name: str) -> str:
        """Return a tensor whose first axis, of length one, is the batch."""
        return self._reshaped(node, name, self._shape(name)[1:])

    def _reshaped(self, node: onnx.NodeProto, name: str, shape: Sequence[int]) -> str:
        made = f"{node.output[0]}/{name}"
        self.put(node, "Reshape", [name, self.constant(node, (-1, *shape))], [made])
        return made

    def keep(self, node: onnx.NodeProto, inputs: Sequence[str]) -> None:
        """Append a node on other tensors."""
        copy = type(node)()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        self.nodes.append(copy)

    def constant(self, node: onnx.NodeProto, value: Sequence[int] | Array) -> str:
        """Add an initial value; return its name."""
        from onnx import numpy_helper

        name = f"{node.output[0]}/qsnnc.{len(self.initializers)}"
        array = value if isinstance(value, np.ndarray) else np.array(value, np.int64)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def put(self, node: onnx.NodeProto, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Append an operator in the place of a node, or around it."""
        from onnx import helper

        own = list(outputs) == list(node.output)
        name = label(node) if own else f"{label(node)}/{len(self.nodes)}"
        made = helper.make_node(op, inputs, outputs, name=name, **attributes)
        made.doc_string = node.doc_string if own else f"{ORIGIN}{label(node)}\n{node.output[0]}"
        self.nodes.append(made)


def _of_values(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that depend on the image, and not only on its shape."""
    found = {graph.input[0].name}
    for node in graph.node:
        if found.intersection(node.input) and not (node.op_type in OF_SHAPE and not node.domain):
            found.update(name for name in node.output if name)
    return found


def _measured(proto: onnx.ModelProto, names: list[str]) -> dict[str, tuple[int, ...]]:
    """Return shapes of tensors, such as those behind operators of other domains, as a run of the model has them."""
    from qsnnc.frontend.model.images_apart import drawn, with_outputs

    if not names:
        return {}
    try:
        values = session(with_outputs(proto, names)).run(names, {proto.graph.input[0].name: drawn(proto, 1, 0)})
    except ModelError:  # reported when the model is read
        return {}
    return {name: np.shape(value) for name, value in zip(names, values, strict=True)}


def _options(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _known(lifted: _Lifted, node: onnx.NodeProto, position: int) -> list[int] | None:
    """Return the numbers of a constant input; None if there is none."""
    name = node.input[position] if position < len(node.input) else ""
    if name and name not in lifted.constants:
        raise _Stays
    return [int(number) for number in lifted.constants[name].reshape(-1)] if name else None


def _rank(lifted: _Lifted, node: onnx.NodeProto) -> int:
    if node.input[0] not in lifted.moving:
        raise _Stays
    return len(lifted.shapes.get(node.input[0], ()))


def _transposed(lifted: _Lifted, node: onnx.NodeProto, names: Sequence[str]) -> None:
    order = _options(node).get("perm", range(_rank(lifted, node))[::-1])
    lifted.put(node, "Transpose", names, node.output, perm=[0, *(axis + 1 for axis in order)])


def _along(lifted: _Lifted, node: onnx.NodeProto, names: Sequence[str]) -> None:
    """Count the axis of an operator from behind the batch."""
    options, rank = _options(node), _rank(lifted, node)
    op = node.op_type
    wanted = {"Gather": 0, "Split": 0, "TopK": -1, "Hardmax": -1, **AXIS}[op]
    if op in QUANTIZERS and lifted.constants[node.input[1]].size == 1:
        lifted.keep(node, names)
        return
    if node.domain:
        raise _Stays
    axis = options.pop("axis", wanted) % max(1, rank)
    others = node.input if op == "Concat" else node.input[:1]
    over_all_behind = lifted.opset < AXES_ARE_INPUT and op in ("Softmax", "LogSoftmax", "Hardmax") and axis != rank - 1
    if over_all_behind or not lifted.moving.issuperset(others) or lifted.moving.intersection(node.input[len(others) :]):
        raise _Stays
    lifted.put(node, op, names, node.output, axis=axis + 1, **options)


def _sliced(lifted: _Lifted, node: onnx.NodeProto, names: Sequence[str]) -> None:
    starts, axes, rank = _known(lifted, node, 1), _known(lifted, node, 3), _rank(lifted, node)
    if starts is None:  # of an opset in which they are attributes
        raise _Stays
    moved = [axis % rank + 1 for axis in (range(len(starts)) if axes is None else axes)]
    lifted.put(node, "Slice", [*names[:3], lifted.constant(node, moved), *names[4:]], node.output)


def _reduced(lifted: _Lifted, node: onnx.NodeProto, names: Sequence[str]) -> None:
    options = _options(node)
    moved = [axis + 1 for axis in _reduced_axes(lifted, node)]
    if not moved:
        raise _Stays
    for name in ("axes", "noop_with_empty_axes"):
        options.pop(name, None)
    if lifted.opset >= (AXES_ARE_INPUT if node.op_type == "ReduceSum" else REDUCED_AXES_ARE_INPUT):
        lifted.put(node, node.op_type, [names[0], lifted.constant(node, moved)], node.output, **options)
    else:
        lifted.put(node, node.op_type, names[:1], node.output, axes=moved, **options)


def _reduced_axes(lifted: _Lifted, node: onnx.NodeProto) -> list[int]:
    """Return the axes over which an operator reduces, from the first on."""
    options, rank = _options(node), _rank(lifted, node)
    given = options.get("axes") or _known(lifted, node, 1)
    if not given:
        return [] if options.get("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({axis % rank for axis in given})


def _product(lifted: _Lifted, node: onnx.NodeProto, names: Sequence[str]) -> None:
    """Multiply by a constant matrix, on the right, or on the left of several columns or of one."""
    left, right = node.input
    constant = lifted.constants.get(right if left in lifted.moving else left)
    if constant is None or constant.ndim > 2:
        raise _Stays
    if left in lifted.moving or len(lifted.shapes[right]) > 1:
        lifted.put(node, "MatMul", names, node.output)
    else:
        lifted.put(node, "MatMul", [names[1], lifted.constant(node, constant.T)], node.output)


def _gemm(lifted: _Lifted, node: onnx.NodeProto, names: Sequence[str]) -> None:
    copy = type(node)()
    copy.CopyFrom(node)
    copy.input[:] = names
    made = behind_an_axis(copy, {names[0]} if node.input[0] in lifted.moving else set(), lifted.constants, lifted.opset)
    if made is None:
        raise _Stays
    lifted.nodes += made


def _elementwise(lifted: _Lifted, node: onnx.NodeProto, names: Sequence[str]) -> None:
    """Leave an operator that broadcasts from the last axis as it is, if no constant has more axes than the image."""
    rank = len(lifted.shapes[node.output[0]])
    for name in filter(None, node.input):
        axes = len(lifted.shapes[name]) if name in lifted.moving else getattr(lifted.constants.get(name), "ndim", rank + 1)
        if axes > rank or (name in lifted.moving and axes < rank):
            raise _Stays
    if facts(node.op_type).constant_axis is not None:
        raise _Stays
    lifted.keep(node, names)


_REDUCED = frozenset(f"Reduce{what}" for what in ("Max", "Mean", "Min", "Prod", "Sum"))
_Writer = Callable[[_Lifted, "onnx.NodeProto", Sequence[str]], None]
_WRITERS: dict[str, _Writer] = {
    **dict.fromkeys(ALONG, _along),
    **dict.fromkeys(_REDUCED, _reduced),
    "Transpose": _transposed,
    "Slice": _sliced,
    "MatMul": _product,
    "Gemm": _gemm,
}
