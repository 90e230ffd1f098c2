"""Explain why a node cannot be compiled, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from chipsim import paths
from chipsim.errors import InputError
from qsnnc.errors import ModelError
from qsnnc.frontend.host.subgraphs import ancestors
from qsnnc.frontend.integerize.state import Moved, Pooled
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.layers.add_enumerated import Pair
from qsnnc.frontend.linear.tensors import Quantized
from qsnnc.frontend.model.dtypes import integer_range
from qsnnc.frontend.model.images_apart import with_outputs
from qsnnc.frontend.model.messages import label
from qsnnc.frontend.model.model import FLOATS, HALF, SINGLE, Model, Node
from qsnnc.frontend.model.operators import ELEMENTWISE, POOLS, RELABEL, WEIGHTED
from qsnnc.frontend.model.outcomes import TooManyLevels, UnevenLevels, WeightsNotQuantized
from qsnnc.frontend.model.reference import session
from qsnnc.frontend.quantizers.levels import MOST_LEVELS

#: what quantizers are made of where there is no QuantizeLinear
ROUNDING = frozenset({"Round", "Floor", "Ceil"})
#: keys of AIMET's encodings, one of which every version has, and the bytes up to which a file is taken for some
AIMET_KEYS, MOST_ENCODINGS = frozenset({"encodings", "activation_encodings"}), 1 << 26


def why_not(walk: Walk, node: Node, data: list[str]) -> ModelError:
    """Return the error that explains why a node's inputs are not levels."""
    name_of_node = walk.namer.peek(node)
    known = ELEMENTWISE | WEIGHTED | POOLS | RELABEL
    if node.op not in known:
        return ModelError(
            name_of_node,
            f"{node.op} on activations is not supported on the chip; only operators after the last weights run on the host. "
            f"Allowed: {', '.join(sorted(WEIGHTED | POOLS | RELABEL))} and elementwise operators before a quantizer",
            code="model-operator",
            node=node.name,
            found=node.op,
        )
    for name in data:
        if isinstance(walk.known.get(name), Quantized):
            continue
        blocked = _blocked(walk, name) or _batch_lost(walk, name)
        if blocked is not None:
            return blocked
        return ModelError(
            name_of_node,
            f"reads {_of_file(walk, name)!r}, which is not quantized to at most {MOST_LEVELS:,} levels; put a quantizer "
            "(scale, round, clip) before it",
            code="activation-not-quantized",
            node=node.name,
        )
    return ModelError(
        name_of_node, f"{node.op} on quantized values is not supported", code="model-operator", node=node.name, found=node.op
    )


def _batch_lost(walk: Walk, name: str) -> ModelError | None:
    """Return the error for the first node before a tensor behind which one image has no batch axis."""
    model, graph = walk.model, walk.model.reference.graph
    before = {node.outputs[0] for node in ancestors(model, name, model.input)}
    nodes = [node for node in graph.node if node.op_type in RELABEL and node.output[0] in before]
    if not nodes:
        return None
    run = session(with_outputs(model.reference, [node.output[0] for node in nodes]), evaluator=True)
    found = run.run(None, {model.input: np.zeros((1, *model.shapes[model.input]), np.dtype(model.input_dtype))})
    for node, value in zip(nodes, found, strict=True):
        if value.shape[:1] != (1,):
            text = f"{node.op_type} moves the batch axis: one image has shape {value.shape} behind it; keep axis 0"
            return ModelError(label(node), text, code="batch-moved", node=label(node))
    return None


def _of_file(walk: Walk, name: str) -> str:
    """Return the nearest tensor before one that our rewriting made which the file has as well."""
    while name not in walk.model.written and (node := walk.analysis.producer.get(name)) is not None:
        data = [entry for entry in node.inputs if entry and entry not in walk.model.constants]
        if not data:
            break
        name = data[0]
    return name


def _blocked(walk: Walk, name: str) -> ModelError | None:
    """Return the error for an operator before a tensor that is not supported: unknown, or a product of activations."""
    roots, inside = walk.analysis.growth(name)
    for root in sorted(roots):
        known = walk.known.get(root)
        if isinstance(known, Pair) and known.refusal is not None:
            return known.refusal
        if isinstance(known, Moved | Pooled) and (blocked := _blocked(walk, known.before)) is not None:
            return blocked
        maker = walk.analysis.producer.get(root)
        if maker is None or root in walk.known or root in walk.known.host:
            continue
        if maker.op not in WEIGHTED | POOLS | RELABEL | ELEMENTWISE:
            return why_not(walk, maker, [])
        if maker.op in POOLS | RELABEL:  # the cause is before it
            for before in (n for n in maker.inputs if n and n not in walk.model.constants):
                found = _blocked(walk, before)
                if found is not None:
                    return found
    if len(roots) < 2:
        return None
    for node in walk.model.nodes:
        if id(node) not in inside:
            continue
        reads = [n for n in node.inputs if n and n not in walk.model.constants]
        if len({frozenset(walk.analysis.growth(n)[0]) for n in reads}) > 1:
            return ModelError(
                walk.namer.peek(node),
                f"{node.op} of two activations ({', '.join(repr(n) for n in reads)}) is not a sum of weighted levels; "
                "branches can only be combined by Add, Sub and Sum, each operand quantized or directly from a linear "
                "operator: remove the gate or the attention, or replace it by a sum, and train again",
                code="two-activations",
                node=node.name,
                found=node.op,
                allowed="Add, Sub, Sum",
            )
    return None


def not_quantized(model: Model) -> ModelError:
    """Return the error for a model without quantized activations, naming what it has instead."""
    for node in model.nodes:
        typed = model.constants.get(node.inputs[2]) if node.op == "QuantizeLinear" and len(node.inputs) > 2 else None
        ends = integer_range(typed.dtype) if typed is not None else None
        if typed is not None and ends is not None and ends[1] - ends[0] >= MOST_LEVELS:
            count = int(ends[1] - ends[0]) + 1
            return TooManyLevels(
                node.name,
                f"quantizes to {typed.dtype}, {count:,} levels; at most {MOST_LEVELS:,} are "
                "supported (each level is a neuron): quantize activations to 8 bits or fewer",
                node=node.name,
                found=count,
                allowed=MOST_LEVELS,
            )
    rounding = [node for node in model.nodes if node.op in ROUNDING]
    if rounding:
        others = f" and {len(rounding) - 1} more operators that round" if len(rounding) > 1 else ""
        return ModelError(
            str(model.path),
            f"nothing in it that rounds is a quantizer: {rounding[0].op} {rounding[0].name!r}{others} must lie between a "
            "scale and its inverse and be cut to a range by Clip, and may not wrap around (a remainder, as of an overflow); "
            "export with saturation, as QuantizeLinear and DequantizeLinear or as Quant of QONNX (docs/onnx.md)",
            code="model-not-quantized",
            node=rounding[0].name,
            found=rounding[0].op,
        )
    beside = model.path.with_suffix(".encodings")
    if model.path.suffix == ".onnx" and _is_of_aimet(beside):
        error = ModelError(
            str(model.path),
            f"nothing in it is quantized: AIMET wrote the quantizers into {beside.name!r} beside it; save what "
            "QuantizationSimModel.to_onnx_qdq() returns instead of calling export(), or join both files (aimet-onnx 2.40 or "
            "newer):",
            code="model-not-quantized",
        )
        error.lines = _joined_by_aimet(model.path, beside)
        return error
    kind = _unlike_float32(model)
    otherwise = f"export it in float32, which onnxruntime can quantize, instead of {kind}" if kind else ""
    error = ModelError(
        str(model.path),
        "nothing in it is quantized; train with quantized activations and weights, then export "
        f"(docs/bring-your-own-network.md), or {otherwise or 'quantize it to 8 bits with onnxruntime:'}",
        code="model-not-quantized",
    )
    error.lines = () if kind else _quantize_static(model)
    return error


def _unlike_float32(model: Model) -> str:
    """Return the type of weights that onnxruntime leaves as they are (float64) or gives float16 scales; '' if none has."""
    from onnx import helper

    read = {node.input[1] for node in model.reference.graph.node if node.op_type in WEIGHTED and len(node.input) > 1}
    kinds = (tensor.data_type for tensor in model.reference.graph.initializer if tensor.name in read)
    other = next((kind for kind in kinds if kind in FLOATS and kind != SINGLE), None)
    return "" if other is None else str(helper.tensor_dtype_to_np_dtype(other))


def _is_of_aimet(path: Path) -> bool:
    """Return whether a file holds the encodings that AIMET's ``export`` writes, of any version."""
    if paths.look(path).kind != "file":
        return False
    try:
        found = json.loads(paths.read(path, MOST_ENCODINGS, "file-unreadable"))
    except (InputError, ValueError):
        return False
    return isinstance(found, dict) and "version" in found and not AIMET_KEYS.isdisjoint(found)


def _joined_by_aimet(model: Path, encodings: Path) -> tuple[str, ...]:
    """Return three lines of Python that write a float model of AIMET's and its encodings as one file."""
    joined = str(model.with_suffix(".qdq.onnx"))
    return (
        "import onnx",
        "from aimet_onnx.quantsim import encodings_to_onnx_qdq",
        f"onnx.save(encodings_to_onnx_qdq({str(model)!r}, {str(encodings)!r}), {joined!r})",
    )


def _quantize_static(model: Model) -> tuple[str, ...]:
    """Return five lines of Python that quantize a float model with onnxruntime."""
    path = model.path if model.path.suffix == ".onnx" else Path("model.onnx")
    shape, dtype = model.shapes[model.input], model.input_dtype
    if not model.batch_rows:
        shape = (model.batch or 1, *shape)
    numbers = f"np.random.rand{shape}" if dtype.startswith("float") else f"np.random.randint(0, 128, {shape})"
    return (
        "import numpy as np",
        "from onnxruntime.quantization import QuantType, quantize_static",
        f"images = iter([{{{model.input!r}: {numbers}.astype({dtype!r})}} for _ in range(100)])  # put images of yours here",
        'reader = type("Images", (), {"get_next": lambda self: next(images, None)})()',
        f"quantize_static({str(path)!r}, {str(path.with_suffix('.quantized.onnx'))!r}, reader, "
        "activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)",
    )


def of_half_precision(model: Model, error: ModelError) -> ModelError:
    """Return the error for levels or weights that are uneven because their scales are float16; any other error unchanged."""
    if not isinstance(error, UnevenLevels | WeightsNotQuantized):
        return error
    graph = model.reference.graph
    half = {tensor.name for tensor in graph.initializer if tensor.data_type == HALF}
    if not any(node.op_type == "DequantizeLinear" and node.input[1] in half for node in graph.node):
        return error
    own = next((node for node in graph.node if node.name and node.name == error.fields.get("node")), None)
    if isinstance(error, WeightsNotQuantized) and own and any(own.input[1] == tensor.name for tensor in graph.initializer):
        return error  # the weights are no integers times a scale, of whatever type
    what = "levels" if isinstance(error, UnevenLevels) else "weights"
    return type(error)(
        error.subject,
        f"has {what} that float16 rounds off their grid (the scales are float16); export with scales in float32 "
        "(nvidia-modelopt: high_precision_dtype='fp32')",
        **error.fields,
    )
