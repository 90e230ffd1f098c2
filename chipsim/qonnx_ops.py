"""Rewrite QONNX operators as standard ONNX operators, so that onnxruntime can run them.

Supports Quant (IntQuant), BipolarQuant, Trunc and MultiThreshold of the domains ``qonnx.custom_op.general``,
``onnx.brevitas`` and ``finn.custom_op.general``, with the semantics of qonnx 1.0, operation by operation: in float32, and in
float64 where a scale or zero point is of a type that NumPy promotes to it, unless that cannot change the result. Those of
``qonnx.custom_op.channels_last`` are in `qonnx_layout`, TensorFlow's fake quantizers in `tensorflow_ops`,
those of Sony's toolkit in `mct_ops`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim import mct_ops, qonnx_layout, tensorflow_ops
from chipsim.errors import InputError
from chipsim.node_rewrite import Rewrite
from chipsim.onnx_graphs import initial_values
from chipsim.onnx_repair import MCT, QONNX_CHANNELS_LAST, QONNX_DOMAINS, TENSORFLOW, opset_of, upgraded

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

DOMAINS = (*QONNX_DOMAINS, QONNX_CHANNELS_LAST, TENSORFLOW, MCT)
#: how the doc_string of a node begins that replaces another; that node and its output follow, a line each
ORIGIN = "replaces "
#: oldest opset that has Round
OLDEST = 11


def rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with every node of QONNX, TensorFlow or MCT replaced; the model itself if there is none.

    A model whose opset lacks the standard operators is converted to opset `OLDEST`.

    Raises
    ------
    InputError
        An operator, an attribute, a bit width or the opset is not supported.
    """
    first = next((node for node in model.graph.node if node.domain in DOMAINS), None)
    if first is None:
        return model
    model = upgraded(model, OLDEST, first.op_type)
    out = replace_nodes(model, lambda node: node.domain in QONNX_DOMAINS, _WRITERS)
    known = qonnx_layout.ranks(model.graph)
    out = replace_nodes(out, lambda node: node.domain == QONNX_CHANNELS_LAST, qonnx_layout.writers(known))
    out = replace_nodes(out, lambda node: node.domain == TENSORFLOW, tensorflow_ops.writers())
    out = replace_nodes(out, lambda node: node.domain == MCT, mct_ops.writers())
    kept = [entry for entry in out.opset_import if entry.domain not in DOMAINS]
    out.ClearField("opset_import")
    out.opset_import.extend(kept)
    return out


def origins(nodes: Iterable[onnx.NodeProto]) -> dict[str, str]:
    """Map the names of rewritten nodes, and of the tensors between them, to the node and tensor of the file."""
    found: dict[str, str] = {}
    for node in nodes:
        if node.doc_string.startswith(ORIGIN):
            label, _, tensor = node.doc_string.removeprefix(ORIGIN).partition("\n")
            found[node.name] = label
            found.update((name, tensor) for name in node.output if name != tensor)
    return found


def replace_nodes(
    model: onnx.ModelProto, selected: Callable[[onnx.NodeProto], bool], writers: Mapping[str, Callable[[Rewrite], None]]
) -> onnx.ModelProto:
    """Replace the selected nodes of a model by standard operators; ``writers`` has a function for each operator's name.

    Raises
    ------
    InputError
        There is no function for an operator.
    """
    import onnx

    opset = opset_of(model)
    out = onnx.ModelProto()
    out.CopyFrom(model)
    constants = initial_values(model.graph)
    for node in model.graph.node:
        value = _constant(node)
        if value is not None:
            constants[node.output[0]] = value
    out.graph.ClearField("node")
    for node in model.graph.node:
        if not selected(node):
            out.graph.node.append(node)
            continue
        label = node.name or node.output[0]
        made = Rewrite(node, label, constants, opset)
        write = writers.get(node.op_type)
        if write is None:
            raise InputError(
                label,
                f"operator {node.domain}:{node.op_type} is not supported; allowed in that domain: {', '.join(writers)}",
                code="model-operator",
                found=node.op_type,
            )
        write(made)
        for entry in made.nodes:  # messages name the file's node
            entry.doc_string = (
                node.doc_string if node.doc_string.startswith(ORIGIN) else f"{ORIGIN}{label}\n{node.output[0]}"
            )
        out.graph.node.extend(made.nodes)
        out.graph.initializer.extend(made.initializers)
    return out


def _constant(node: onnx.NodeProto) -> Array | None:
    """Return the value of a Constant node; None for every other node."""
    from onnx import helper, numpy_helper

    if node.op_type != "Constant" or node.domain or len(node.attribute) != 1:
        return None
    (entry,) = node.attribute
    if entry.name == "value":
        return numpy_helper.to_array(entry.t)
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if entry.name not in kinds:
        return None
    return np.asarray(helper.get_attribute_value(entry), kinds[entry.name])


def _quant(s: Rewrite) -> None:
    """Compute (round(clamp(x / scale + zero)) - zero) * scale."""
    x, scale, zero = s.node.input[0], s.parameter(1, scale=True), s.parameter(2)
    bits = s.constant(3, "bit width").astype(np.float64)
    signed, narrow = bool(s.option("signed", 1)), bool(s.option("narrow", 1))
    mode = s.option("rounding_mode", "ROUND")
    s.all_read()
    here = s.put("Add", s.put("Div", x, scale), zero)
    if signed and bits.size == 1 and float(bits.reshape(-1)[0]) == 1:
        negative = s.put("Less", here, s.value("zero", 0.0))
        here = s.put("Where", negative, s.value("minus", -1.0), s.value("plus", 1.0))
    else:
        here = _round(s, _clamp(s, here, bits, signed, narrow), mode)
    s.put("Mul", s.put("Sub", here, zero), scale, last=True)


def _bipolar(s: Rewrite) -> None:
    """Compute scale where x >= 0, and -scale elsewhere."""
    x, scale = s.node.input[0], s.parameter(1, scale=True)
    s.all_read()
    negative = s.put("Less", x, s.value("zero", 0.0))
    sign = s.put("Where", negative, s.value("minus", -1.0), s.value("plus", 1.0))
    s.put("Mul", sign, scale, last=True)


def _trunc(s: Rewrite) -> None:
    """Round to the input's grid, divide by a power of two, round that, and scale."""
    x, scale, zero = s.node.input[0], s.parameter(1, scale=True), s.parameter(2)
    mode = s.option("rounding_mode", "FLOOR")
    here = s.put("Round", s.put("Add", s.put("Div", x, scale), zero))
    if len(s.node.input) == 6:  # version 2: a separate output scale, and a clamp
        signed, narrow = bool(s.option("signed", 1)), bool(s.option("narrow", 0))
        s.all_read()
        ratio = s.constant(4, "output scale").astype(np.float64) / s.constant(1, "scale").astype(np.float64)
        power = s.value("power", 2.0 ** np.round(np.log2(ratio)))
        bits = s.constant(5, "output bit width").astype(np.float64)
        here = _round(s, _clamp(s, s.put("Div", here, power), bits, signed, narrow), mode)
        s.put("Mul", s.put("Sub", here, s.put("Div", zero, power)), s.parameter(4, scale=True), last=True)
        return
    s.all_read()
    bits = s.constant(3, "input bit width").astype(np.float64) - s.constant(4, "output bit width").astype(np.float64)
    here = _round(s, s.put("Div", here, s.value("power", 2.0**bits)), mode)
    s.put("Mul", s.put("Sub", here, zero), scale, last=True)


def _multi_threshold(s: Rewrite) -> None:
    """Count the thresholds that x reaches, as FINN defines it: scale * count + bias."""
    scale, bias = float(s.option("out_scale", 1.0)), float(s.option("out_bias", 0.0))
    layout = s.option("data_layout", "")
    s.option("out_dtype", "")
    s.all_read()
    table = _rounded_up(s.constant(1, "table of thresholds"))
    trailing = {"": 0, "NC": 0, "NWC": 0, "NHWC": 0, "NCW": 1, "NCHW": 2}.get(layout)
    if trailing is None:
        raise InputError(
            s.label,
            f"MultiThreshold with data_layout {layout!r}; allowed: NC, NCW, NCHW, NWC, NHWC, or none",
            code="model-attribute",
            found=layout,
        )
    total = ""
    shape = _by_rank(s, len(table)) if not layout and len(table) > 1 else ""
    for number, column in enumerate(table.T):
        row = s.value(f"threshold_{number}", column.reshape(-1, *[1] * trailing) if len(column) > 1 else column.reshape(()))
        row = s.put("Reshape", row, shape) if shape else row
        one = s.put("Cast", s.put("GreaterOrEqual", s.node.input[0], row), to=1)
        total = s.put("Add", total, one) if total else one
    scaled = s.put("Mul", total, s.value("scale", scale))
    s.put("Add", scaled, s.value("bias", bias), last=True)


def _rounded_up(table: Array) -> npt.NDArray[np.float32]:
    """Return the smallest float32 that is not below each threshold: the same decisions on float32 values."""
    single = table.astype(np.float32)
    return np.where(single < table, np.nextafter(single, np.float32(np.inf)), single).astype(np.float32)


def _by_rank(s: Rewrite, channels: int) -> str:
    """Return the shape (channels, 1, ...) of thresholds without a layout: NC, NWC and NCHW for two, three and four axes."""
    rank = s.put("Reshape", s.put("Size", s.put("Shape", s.node.input[0])), s.integers("one", [1]))
    positions = s.put("Sub", rank, s.integers("two", [2]))
    last = s.put("Cast", s.put("Equal", rank, s.integers("three", [3])), to=7)  # with three axes, the channels are last
    count = s.put("Mul", positions, s.put("Sub", s.integers("unit", [1]), last))
    ones = s.put("Expand", s.integers("ones", [1]), count)
    return s.put("Concat", s.integers("channels", [channels]), ones, axis=0)


def _clamp(s: Rewrite, x: str, bits: Array, signed: bool, narrow: bool) -> str:
    """Clamp to the integers of the given number of bits."""
    top = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - (2 if narrow else 1)
    bottom = -(2.0 ** (bits - 1)) + (1 if narrow else 0) if signed else np.zeros_like(bits)
    return s.put("Max", s.put("Min", x, s.value("highest", top)), s.value("lowest", bottom))


def _round(s: Rewrite, x: str, mode: str) -> str:
    """Round in the named mode."""
    name = mode.upper()
    if name in ("ROUND", "HALF_EVEN"):
        return s.put("Round", x)
    if name in ("CEIL", "FLOOR"):
        return s.put(name.capitalize(), x)
    size = s.put("Abs", x)
    if name == "UP":
        whole = s.put("Ceil", size)
    elif name in ("DOWN", "ROUND_TO_ZERO"):
        whole = s.put("Floor", size)
    elif name == "HALF_UP":
        whole = s.put("Floor", s.put("Add", size, s.value("half", 0.5)))
    elif name == "HALF_DOWN":
        whole = s.put("Ceil", s.put("Sub", size, s.value("half", 0.5)))
    else:
        raise InputError(s.label, f"unknown rounding mode {mode!r}", code="model-attribute", found=mode)
    return s.put("Mul", s.put("Sign", x), whole)


_WRITERS: dict[str, Callable[[Rewrite], None]] = {
    "Quant": _quant,
    "IntQuant": _quant,
    "BipolarQuant": _bipolar,
    "Trunc": _trunc,
    "MultiThreshold": _multi_threshold,
}
