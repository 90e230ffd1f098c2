"""The rewrite of a node as standard ONNX operators, in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: operators whose result is a truth value
COMPARISONS = frozenset({"Less", "GreaterOrEqual"})


class Rewrite:
    """The rewrite of one node in progress: collects the standard nodes that replace it, in order."""

    def __init__(self, node: onnx.NodeProto, label: str, constants: dict[str, Array], opset: int) -> None:
        from onnx import helper

        self.node, self.label, self.known, self.opset = node, label, constants, opset
        self.attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.used: set[str] = set()
        self.wide = {name for name in node.input[:1] if name in constants and constants[name].dtype == np.float64}

    def option(self, name: str, default: Any) -> Any:
        """Return an attribute, or its default, which an attribute of another type than that must not have.

        Raises
        ------
        InputError
        """
        self.used.add(name)
        value = self.attributes.get(name, default)
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        kind = type(default)
        if default is not None and not isinstance(value, (int, float) if kind is float else kind):
            raise InputError(
                self.label,
                f"{self.node.op_type} has the attribute {name} = {value!r}; allowed: a value of type {kind.__name__}",
                code="model-attribute",
                found=str(value),
                allowed=kind.__name__,
            )
        return value

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of the named attributes that the node has, unchanged."""
        self.used.update(names)
        return {name: self.attributes[name] for name in names if name in self.attributes}

    def all_read(self) -> None:
        """Refuse the node if it has attributes that were not read."""
        unknown = sorted(set(self.attributes) - self.used)
        if unknown:
            raise InputError(
                self.label, f"{self.node.op_type} has no attribute {unknown[0]!r}", code="model-attribute", found=unknown
            )

    def constant(self, position: int, what: str) -> Array:
        """Return the value of a constant input; ``what`` names it in the error."""
        name = self.node.input[position] if position < len(self.node.input) else ""
        if name not in self.known:
            raise InputError(
                self.label, f"its {what} must be a constant", code="not-static", found=name, allowed="a constant"
            )
        return self.known[name]

    def put(self, op: str, *inputs: str, last: bool = False, **attributes: Any) -> str:
        """Append an operator and return its output name: that of the replaced node if ``last``."""
        from onnx import helper

        wide = op != "Cast" and not self.wide.isdisjoint(inputs)
        if wide:  # as NumPy promotes the other operands; the condition of a Where has no number type
            kept = inputs[:1] if op == "Where" else ()
            inputs = (*kept, *(n if n in self.wide else self.put("Cast", n, to=11) for n in inputs[len(kept) :]))
        if wide and last:
            return self.put("Cast", self.put(op, *inputs, **attributes), last=True, to=1)
        number = len(self.nodes)
        out = self.node.output[0] if last else f"{self.node.output[0]}/{op.lower()}_{number}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=f"{self.label}/{op}_{number}", **attributes))
        if attributes.get("to") == 11 or (wide and op not in COMPARISONS):  # of type float64
            self.wide.add(out)
        return out

    def parameter(self, position: int, *, scale: bool = False) -> str:
        """Return a scale or zero point as float32, or as float64 if it has a type that NumPy promotes to that.

        A zero point of zero, and a scale that is a power of two, give the same result in float32. An input that is not a
        constant is taken to be float32.
        """
        name = str(self.node.input[position])
        value = self.known.get(name)
        if value is None or value.dtype == np.float32:
            return name
        single = value.astype(np.float32)
        plain = bool((np.abs(np.frexp(single)[0]) == 0.5).all()) if scale else not value.any()
        if np.result_type(np.float32, value) == np.float32 or (plain and (single == value).all()):
            return self.value(f"input_{position}", single)
        return self.double(f"input_{position}", value)

    def value(self, name: str, value: Array | float) -> str:
        """Add a float32 constant and return its name."""
        return self._initializer(name, np.asarray(value, np.float32))

    def double(self, name: str, value: Array | float) -> str:
        """Add a float64 constant, which makes what is computed from it float64, and return its name."""
        full = self._initializer(name, np.asarray(value, np.float64))
        self.wide.add(full)
        return full

    def integers(self, name: str, value: list[int] | int) -> str:
        """Add an int64 constant and return its name."""
        return self._initializer(name, np.asarray(value, np.int64))

    def _initializer(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        full = f"{self.node.output[0]}/{name}"
        assert all(tensor.name != full for tensor in self.initializers), full
        self.initializers.append(numpy_helper.from_array(value, full))
        return full
