"""Values of an ONNX graph that are the same for every image: they follow from constants and from shapes alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim import onnx_runtime
from chipsim.onnx_evaluator import Evaluator, lacks_kernel
from chipsim.onnx_graphs import reads
from chipsim.qonnx_ops import rewrite
from chipsim.quoting import quote

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: what a tensor follows from, each including those before; of an unsettled one nothing is known
CONSTANT, SHAPE, IMAGE, UNSETTLED = range(4)
#: operators whose result follows from the shape of their input
OF_SHAPE = frozenset({"Shape", "Size"})
#: operators that draw random numbers
DRAWN = frozenset("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split())
#: numbers of images with which a value is compared that follows from shapes
COUNTS = (1, 2, 3, 1024)


class Unknown(Exception):
    """A value differs from image to image, or cannot be computed; the text says which, '' if that was said before."""


class Known:
    """Evaluates tensors of a graph that is built node by node.

    Parameters
    ----------
    model : ModelProto
        Gives the inputs, the initial values and the imports; its nodes are not read.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.initial = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs = {value.name: value for value in model.graph.input if value.name not in self.initial}
        self.nodes: list[onnx.NodeProto] = []
        self._made: dict[str, int] = {}
        self._kinds = {name: (IMAGE, name) for name in self.inputs}  # what it follows from, and an input that it needs
        self._found: dict[str, Array] = {}

    def add(self, node: onnx.NodeProto) -> None:
        """Append a node that reads tensors which are there."""
        kind, source = max((self._kind(name) for name in reads(node)), default=(CONSTANT, ""))
        if node.op_type in OF_SHAPE and not node.domain:
            kind = min(kind, SHAPE) if kind < UNSETTLED else kind
        if node.op_type in DRAWN:
            kind, source = max((kind, source), (IMAGE, node.output[0]))
        for name in node.output:
            self._made[name], self._kinds[name] = len(self.nodes), (kind, source)
        self.nodes.append(node)

    def _kind(self, name: str) -> tuple[int, str]:
        return self._kinds.get(name, (CONSTANT, ""))

    def is_constant(self, name: str) -> bool:
        """Return whether a tensor follows from constants alone."""
        return self._kind(name)[0] == CONSTANT

    def unsettle(self, names: Iterable[str]) -> None:
        """Note tensors of which nothing will be known."""
        self._kinds.update(dict.fromkeys(names, (UNSETTLED, "")))

    def constant(self, name: str, value: Array) -> None:
        """Add an initial value."""
        from onnx import numpy_helper

        self.initial[name], self._found[name] = numpy_helper.from_array(value, name), value

    def value(self, name: str, also: Iterable[str] = ()) -> Array:
        """Return a tensor's value.

        Parameters
        ----------
        name : str
        also : iterable of str
            Tensors to remember if they are computed on the way.

        Raises
        ------
        Unknown
        """
        kind, source = self._kind(name)
        if kind == UNSETTLED:
            raise Unknown("")
        if kind == IMAGE:
            raise Unknown(f"{'depends on the image' if source in self.inputs else 'is drawn at random'} ({source!r})")
        if name not in self._found:
            self._find(name, [each for each in also if self._kind(each)[0] == kind])
        return self._found[name]

    def _find(self, name: str, also: list[str]) -> None:
        """Compute a tensor, and others that it needs."""
        needed, sizes = self._needed([name], self._found.keys(), shapes=True)
        made = {output for node in needed for output in node.output}
        wanted = [name, *(each for each in also if each in made and each != name)]
        by_count = self._sizes(sizes)
        found = [self._run(needed, wanted, {**self._found, **each}) for each in by_count]
        if any(not np.array_equal(each[0], found[0][0]) for each in found):
            raise Unknown("differs with the number of images")
        self._found.update(zip(wanted if len(found) == 1 else wanted[:1], found[0], strict=False))

    def _needed(self, names: Iterable[str], given: Iterable[str], *, shapes: bool) -> tuple[list[onnx.NodeProto], list[str]]:
        """Return the nodes that compute some tensors, and with ``shapes`` where it ends: shapes of what images decide."""
        todo, seen, numbers, sizes = list(names), set(given), set(), []
        while todo:
            name = todo.pop()
            if name in seen or name not in self._made:
                continue
            seen.add(name)
            node = self.nodes[self._made[name]]
            if shapes and node.op_type in OF_SHAPE and self._kind(node.input[0])[0] == IMAGE:
                sizes.append(name)
                continue
            numbers.add(self._made[name])
            todo.extend(reads(node))
        return [self.nodes[number] for number in sorted(numbers)], sizes

    def _sizes(self, names: Sequence[str]) -> list[dict[str, Array]]:
        """Return shapes of tensors that images decide: for each number of images in `COUNTS`, or once if it is fixed."""
        if not names:
            return [{}]
        nodes, _ = self._needed(names, (), shapes=False)
        read = {name for node in nodes for name in reads(node)} & self.inputs.keys()
        free = any(_sizes_of(self.inputs[name], 0)[0] == 0 for name in read)
        one, *more = (self._run(nodes, names, {}, count, sorted(read)) for count in ((1, 2) if free else (1,)))
        steps = [two - first for first, two in zip(one, more[0], strict=True)] if more else []
        if not any(step.any() for step in steps):
            return [dict(zip(names, one, strict=True))]
        return [
            {name: np.asarray(first + (count - 1) * step) for name, first, step in zip(names, one, steps, strict=True)}
            for count in COUNTS
        ]

    def _run(
        self,
        nodes: Sequence[onnx.NodeProto],
        wanted: Sequence[str],
        values: dict[str, Array],
        count: int = 1,
        inputs: Sequence[str] = (),
    ) -> list[Array]:
        """Run some nodes on so many blank images."""
        from onnx import ValueInfoProto, helper, numpy_helper

        if not nodes:
            return [values[name] if name in values else numpy_helper.to_array(self.initial[name]) for name in wanted]
        read = {name for node in nodes for name in reads(node)}
        given = [numpy_helper.from_array(values[name], name) for name in sorted(read & values.keys())]
        given += [self.initial[name] for name in sorted((read & self.initial.keys()) - values.keys())]
        blank, described = {}, []
        for name in inputs:
            typed = self.inputs[name].type.tensor_type
            shape = _sizes_of(self.inputs[name], count)
            blank[name] = np.zeros(shape, helper.tensor_dtype_to_np_dtype(typed.elem_type))
            described.append(helper.make_tensor_value_info(name, typed.elem_type, shape))
        graph = helper.make_graph(nodes, "known", described, [ValueInfoProto(name=name) for name in wanted], given)
        imports, version = self.model.opset_import, max(self.model.ir_version, 4)
        try:
            part = rewrite(helper.make_model(graph, opset_imports=imports, ir_version=version))
            return [np.asarray(value) for value in _session(part.SerializeToString()).run(None, blank)]
        except Exception as error:  # noqa: BLE001  # a refusal of `rewrite`, or onnxruntime's, which raises several types of its own
            raise Unknown(f"cannot be computed ({quote(error)})") from None


def _session(content: bytes) -> Any:
    """Return a session of onnxruntime, or of onnx's ReferenceEvaluator where that lacks a kernel."""
    try:
        return onnx_runtime.session(content)
    except Exception as error:
        if not lacks_kernel(error):
            raise
        return Evaluator(content)


def _sizes_of(value: onnx.ValueInfoProto, count: int) -> list[int]:
    """Return the shape of an input of so many images; the file's own number if that is fixed.

    Raises
    ------
    Unknown
        Another axis has no fixed size.
    """
    dims = value.type.tensor_type.shape.dim
    sizes = [dim.dim_value for dim in dims]
    if not sizes or any(size < 1 for size in sizes[1:]):
        raise Unknown(f"depends on the shape of the input {value.name!r}, which is not fixed")
    return [sizes[0] if sizes[0] > 0 else count, *sizes[1:]]
