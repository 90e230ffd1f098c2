"""Cut out the host's two parts: up to the first quantized activation, and from the potentials to the output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.onnx_graphs import initial_values
from chipsim.quoting import quote
from qsnnc.errors import ModelError
from qsnnc.frontend.host.handed_levels import Head, Values
from qsnnc.frontend.linear.data_movement import mixes
from qsnnc.frontend.linear.tensors import Accumulator
from qsnnc.frontend.linear.weight_bits import channels_of
from qsnnc.frontend.model.batch_axis import free_shapes
from qsnnc.frontend.model.images_apart import refuse_mixing_host
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.operators import ELEMENTWISE, MAXIMUM, RELABEL, WEIGHTED
from qsnnc.frontend.model.reference import session
from qsnnc.frontend.numerics.exactness import EXACT_BELOW, sums_are_exact
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Int, Population
from qsnnc.ir.names import free_name

if TYPE_CHECKING:
    import onnx

#: the encoder's output and the readout's input; all other tensors that are added begin with "qsnnc."
ADDED = ("levels", "potentials")
#: encoder thresholds are checked for uint8 pixels
PIXEL_MAX = 255
#: largest distance of a byte from its zero point
BYTE_MAX = 255


def ancestors(model: Model, end: str, stop: str) -> list[Node]:
    """Return the nodes between ``stop`` and ``end``, in order."""
    needed = {end}
    nodes = []
    for node in reversed(model.nodes):
        if needed.intersection(node.outputs) and stop not in node.outputs:
            nodes.append(node)
            needed.update(n for n in node.inputs if n)
    return nodes[::-1]


def encoder(model: Model, population: Population, region: Region, end: str = "", elements: Int | None = None) -> bytes:
    """Build encoder.onnx, which ends in integer levels: input [N, ...] -> ``levels`` int32 [N, ...].

    Parameters
    ----------
    end : str, optional
        The tensor that holds the levels' values in the order in which they are sent; by default the population's, or the
        region's output.
    elements : ndarray, int64, optional
        If no tensor does: the element of the region's output at each place of that order, flat.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes = ancestors(model, end, model.input) if end else _before_levels(model, population, region)
    end = end or population.tensor or region.output
    _refuse_large_sums(model, nodes)
    part = _part(region.model, nodes, end)
    end = _set_apart(part, model.input).get(end, end)
    if elements is not None:
        end = _reordered(part, end, elements, population.tensor_shape)
    shift = population.scale * population.zero_point
    part.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(shift, np.float64), "qsnnc.lowest"),
            numpy_helper.from_array(np.array(population.scale, np.float64), "qsnnc.step"),
        ]
    )
    chain: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Cast", [end], "qsnnc.value", {"to": TensorProto.DOUBLE}),
        ("Sub", ["qsnnc.value", "qsnnc.lowest"], "qsnnc.above", {}),
        ("Div", ["qsnnc.above", "qsnnc.step"], "qsnnc.steps", {}),
        ("Add", ["qsnnc.steps", "qsnnc.half"], "qsnnc.shifted", {}),
        ("Floor", ["qsnnc.shifted"], "qsnnc.whole", {}),
        ("Cast", ["qsnnc.whole"], "levels", {"to": TensorProto.INT32}),
    )
    part.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float64), "qsnnc.half"))
    part.graph.node.extend(helper.make_node(op, i, [o], **a) for op, i, o, a in chain)
    part.graph.input.append(
        helper.make_tensor_value_info(
            model.input, helper.np_dtype_to_tensor_dtype(np.dtype(model.input_dtype)), ("N", *model.shapes[model.input])
        )
    )
    part.graph.output.append(helper.make_tensor_value_info("levels", TensorProto.INT32, ("N", *population.tensor_shape)))
    return _finished(part, model, "encoder")


def _reordered(part: onnx.ModelProto, tensor: str, elements: Int, shape: tuple[int, ...]) -> str:
    """Append the reordering of a tensor's elements to a model; return the new tensor."""
    from onnx import helper, numpy_helper

    for name, value in (("flat", [0, -1]), ("elements", elements), ("shape", [0, *shape])):
        part.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), f"qsnnc.{name}"))
    part.graph.node.extend(
        [
            helper.make_node("Reshape", [tensor, "qsnnc.flat"], ["qsnnc.row"]),
            helper.make_node("Gather", ["qsnnc.row", "qsnnc.elements"], ["qsnnc.ordered"], axis=1),
            helper.make_node("Reshape", ["qsnnc.ordered", "qsnnc.shape"], ["qsnnc.moved"]),
        ]
    )
    return "qsnnc.moved"


def _before_levels(model: Model, population: Population, region: Region) -> list[Node]:
    """Return the nodes up to the levels: those of the file, or the nodes before the region and the region's own."""
    if population.tensor:
        return ancestors(model, population.tensor, model.input)
    return [*ancestors(model, region.input, model.input), *region.nodes]


def readout(model: Model, head: Head, tensor: str) -> bytes:
    """Build readout.onnx: ``potentials`` int64 [N, features] to the model's output.

    ``tensor`` is the ONNX tensor that the potentials give, scaled; '' if that is the model's output itself.
    """
    from onnx import TensorProto, helper, numpy_helper

    start, root = tensor or model.output, head.sums
    nodes = [] if start == model.output else ancestors(model, model.output, start)
    _refuse_large_sums(model, nodes)
    part = _part(model, nodes, model.output)
    shape = np.array([-1, *model.shapes[start]], np.int64)
    given = _set_apart(part, model.output).get(start, start)
    constants, values = _looked_up(head.values) if head.values is not None and not head.on_line else _scaled(root)
    for name, value in (*constants.items(), ("qsnnc.shape", shape)):
        part.graph.initializer.append(numpy_helper.from_array(value, name))
    order = "qsnnc.float"
    if not root.canonical:
        part.graph.initializer.append(numpy_helper.from_array(root.layout.reshape(-1), "qsnnc.layout"))
        order = "qsnnc.ordered"
    kind = model.kind(start) if start != model.output else TensorProto.FLOAT  # its readers need its type
    chain = [
        helper.make_node("Cast", ["potentials"], ["qsnnc.exact"], to=TensorProto.DOUBLE),
        *values,
        helper.make_node("Cast", ["qsnnc.value"], ["qsnnc.float"], to=kind),
        helper.make_node("Reshape", [order, "qsnnc.shape"], [given]),
    ]
    if not root.canonical:
        chain.insert(-1, helper.make_node("Gather", ["qsnnc.float", "qsnnc.layout"], [order], axis=1))
    for node in reversed(chain):
        part.graph.node.insert(0, node)
    features = int(np.prod(root.shape))
    part.graph.input.append(helper.make_tensor_value_info("potentials", TensorProto.INT64, ("N", features)))
    part.graph.output.append(helper.make_tensor_value_info(model.output, _output_type(model, start), None))
    return _finished(part, model, "readout")


def _refuse_large_sums(model: Model, nodes: list[Node]) -> None:
    """Refuse integer products on the host that float32, in which it computes them, may not hold exactly.

    Raises
    ------
    ModelError
    """
    for node in nodes:
        found = channels_of(model, node) if node.op in WEIGHTED and node.name in model.integral else None
        if found is None:
            continue
        position, index = found
        largest = int(np.abs(model.constants[node.inputs[position]].reshape(-1)[index]).sum(axis=1).max()) * BYTE_MAX
        if largest >= EXACT_BELOW:
            raise ModelError(
                node.name,
                f"its integer sums may reach {largest:,}, beyond the {EXACT_BELOW:,} that the host's float32 holds exactly; "
                "leave it to the chip: --readout chip, or another --encoder",
                code="host-integers",
                node=node.name,
                found=largest,
                allowed=EXACT_BELOW,
            )


def _scaled(root: Accumulator) -> tuple[dict[str, npt.NDArray[Any]], list[onnx.NodeProto]]:
    """Return constants and nodes of value = scale * potential + offset, in double."""
    from onnx import helper

    scale, offset = (each[root.border].transpose(2, 0, 1).reshape(-1) for each in (root.scale, root.offset))
    return {"qsnnc.scale": scale, "qsnnc.offset": offset}, [
        helper.make_node("Mul", ["qsnnc.exact", "qsnnc.scale"], ["qsnnc.scaled"]),
        helper.make_node("Add", ["qsnnc.scaled", "qsnnc.offset"], ["qsnnc.value"]),
    ]


def _looked_up(values: Values) -> tuple[dict[str, npt.NDArray[Any]], list[onnx.NodeProto]]:
    """Return constants and nodes that look up the value of each level; a broken chip's potential takes the nearest."""
    from onnx import TensorProto, helper

    constants = {
        "qsnnc.least": np.zeros((), np.float64),
        "qsnnc.most": values.most.astype(np.float64),
        "qsnnc.first": values.first.astype(np.float64),
        "qsnnc.table": values.table,
    }
    return constants, [
        helper.make_node("Max", ["qsnnc.exact", "qsnnc.least"], ["qsnnc.above"]),
        helper.make_node("Min", ["qsnnc.above", "qsnnc.most"], ["qsnnc.level"]),
        helper.make_node("Add", ["qsnnc.level", "qsnnc.first"], ["qsnnc.place"]),
        helper.make_node("Cast", ["qsnnc.place"], ["qsnnc.index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["qsnnc.table", "qsnnc.index"], ["qsnnc.value"], axis=0),
    ]


def output_shape(model: Model) -> tuple[int, ...]:
    """Return the shape of the output for one image."""
    shape = model.shapes.get(model.output)
    if shape is None or any(size <= 0 for size in shape):
        raise ModelError(
            model.output,
            "the output's shape depends on the data; export with fixed shapes",
            code="model-shapes",
            node=model.output,
        )
    return shape


def encoder_is_exact(model: Model, population: Population, region: Region, pixels: str) -> bool:
    """Return whether the encoder gives the same levels in any order of summation, for every uint8 image.

    True if it has no sums, or one linear operator directly on raw pixels all of whose float32 partial sums are exact, and
    rounding cannot carry any reachable sum across a decision.
    """
    from qsnnc.frontend.numerics.exactness import dyadic_unit

    nodes = _before_levels(model, population, region)
    summing = [node for node in nodes if node.op in WEIGHTED]
    if not summing:
        return all(node.op in ELEMENTWISE | RELABEL | MAXIMUM and not mixes(node) for node in nodes)
    if len(summing) > 1 or region.input != summing[0].outputs[0] or pixels != "raw":
        return False
    node = summing[0]
    if node.op != "Conv" or node.inputs[0] != model.input or node.inputs[1] not in model.constants:
        return False
    weights = model.constants[node.inputs[1]].astype(np.float64)
    weights = weights.reshape(len(weights), -1)
    bias = model.constants[node.inputs[2]].astype(np.float64) if len(node.inputs) > 2 else np.zeros(len(weights))
    if not sums_are_exact(weights, bias, 1.0, PIXEL_MAX).all():
        return False
    units = np.array(
        [min(dyadic_unit(row), dyadic_unit(np.array([b])) if b else 1.0) for row, b in zip(weights, bias, strict=True)]
    )
    low = (np.minimum(weights, 0).sum(axis=1) * PIXEL_MAX + bias) / units
    high = (np.maximum(weights, 0).sum(axis=1) * PIXEL_MAX + bias) / units
    return _decisions_are_clear(region, population, units, low.astype(np.int64), high.astype(np.int64))


def _decisions_are_clear(
    region: Region,
    population: Population,
    units: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,  # type: ignore[type-arg]
) -> bool:
    f = region.function()
    cut = population.scale * (np.arange(population.levels) + 0.5 + population.zero_point)[:, None]
    falling = f((low * units).astype(np.float32)[None])[0] > f((high * units).astype(np.float32)[None])[0]
    first = np.repeat(low[None], population.levels, axis=0)
    last = np.repeat(high[None] + 1, population.levels, axis=0)
    while (first < last).any():  # smallest sum above the cut; for a decreasing f, below it
        middle = (first + last) // 2
        beyond = (f((middle * units).astype(np.float32)) > cut) ^ falling
        open_ = first < last
        last = np.where(open_ & beyond, middle, last)
        first = np.where(open_ & ~beyond, middle + 1, first)
    for at, above in ((first, ~falling), (first - 1, falling)):
        x = np.clip(at, low, high) * units
        bounds = propagate(region, (x, x))
        if bounds is None:
            return False
        inside = (at >= low) & (at <= high)
        sure = np.where(above, bounds[0] > cut, bounds[1] < cut)
        if (inside & ~sure).any():
            return False
    return True


def _part(model: Model, nodes: list[Node], end: str) -> onnx.ModelProto:
    """Build a model of some nodes, with inputs and outputs still to be declared."""
    part = model.subgraph({}, [end], nodes)
    part.graph.ClearField("output")
    return part


def _set_apart(part: onnx.ModelProto, end: str) -> dict[str, str]:
    """Rename the file's tensors that are called as one that is added, except for the ``end``; return the new names."""
    graph = part.graph
    names = {name for node in graph.node for name in (*node.input, *node.output)} | {t.name for t in graph.initializer}
    same = sorted(name for name in names - {end} if name in ADDED or name.startswith("qsnnc."))
    new = {name: free_name(f"file.{name}", names) for name in same}
    for node in graph.node if new else ():
        for own in (node.input, node.output):
            own[:] = [new.get(name, name) for name in own]
    for tensor in graph.initializer if new else ():
        tensor.name = new.get(tensor.name, tensor.name)
    return new


def _output_type(model: Model, start: str) -> int:
    """Return the type of the output: float if the potentials are read out directly, otherwise the model's own."""
    from onnx import TensorProto

    return int(TensorProto.FLOAT if start == model.output else model.kinds.get(model.output) or TensorProto.FLOAT)


def _finished(part: onnx.ModelProto, model: Model, name: str) -> bytes:
    """Serialise a model after checking that onnxruntime loads it and runs it on several images as on each alone."""
    part.graph.name = name
    known = {**model.constants, **initial_values(part.graph)}  # some have other names here
    free_shapes(part.graph, known, 1, "qsnnc.shape")
    content = part.SerializeToString(deterministic=True)
    try:
        run = session(content)
    except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
        raise ModelError(
            str(model.path), f"its {name} cannot be run on its own: {quote(error)}", code="reference-refuses"
        ) from None
    refuse_mixing_host(part, run)
    return bytes(content)
