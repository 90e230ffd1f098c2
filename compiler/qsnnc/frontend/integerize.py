"""ONNX graph to layer graph: a walk that knows, of every tensor, whether it is quantized, an accumulator, or the host's.

Elementwise operators are passed over until something reads their result. Then the whole region back to the last other
operator is evaluated: if it takes finitely many values it is a quantizer, and the accumulator before it becomes a layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend import ends, linear
from qsnnc.frontend.linear import Accumulator, Quantized
from qsnnc.frontend.names import Namer
from qsnnc.frontend.problems import Problems
from qsnnc.frontend.read import Model, Node, session
from qsnnc.frontend.region import MOST_LEVELS, Region, find_levels
from qsnnc.frontend.thresholds import layer_of, readout_of
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population, reachable

ELEMENTWISE = frozenset(
    "Abs Add BatchNormalization Cast CastLike Ceil Clip DequantizeLinear Div Dropout Elu Equal Erf Exp Floor Greater "
    "GreaterOrEqual HardSigmoid HardSwish Identity LeakyRelu Less LessOrEqual Log Max Min Mul Neg Not PRelu Pow "
    "QuantizeLinear Reciprocal Relu Round Selu Sigmoid Sign Softplus Softsign Sqrt Sub Sum Tanh ThresholdedRelu Where And "
    "Or".split()
)
RELABEL = frozenset("Flatten Reshape Squeeze Unsqueeze Transpose Identity Dropout".split())
WEIGHTED = frozenset("Conv Gemm MatMul".split())
POOLS = frozenset("MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean".split())


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Max pool of an unquantized accumulator: moved behind the quantizer when that is found."""

    before: str  # the pool's input tensor
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Reshaped:
    """An unquantized tensor in another order or shape: moved behind the quantizer when that is found."""

    before: str  # the operator's input tensor
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """Sums of a linear operator in another order or shape: what a matrix may read, and nothing else."""

    sums: Accumulator
    index: Int


@dataclass(slots=True)
class Walk:
    """What is known so far; lives for one call of `integerize`."""

    model: Model
    namer: Namer
    producer: dict[str, Node]
    state: dict[str, Quantized | Accumulator | Pooled | Reshaped] = field(default_factory=dict)
    host: set[str] = field(default_factory=set)  # tensors that only the host computes
    encoder: Population | None = None
    encoder_region: Region | None = None
    layers: list[Layer] = field(default_factory=list)

    # -- regions ---------------------------------------------------------------------------------------------

    def region(self, end: str) -> Region | None:
        """The elementwise region that ends in a tensor; None where it grows from two roots or from none."""
        roots: set[str] = set()
        inside: set[int] = set()
        pending = [end]
        while pending:
            name = pending.pop()
            node = self.producer.get(name)
            if name in self.state or node is None or node.op not in ELEMENTWISE:
                roots.add(name)
            elif id(node) not in inside:
                inside.add(id(node))
                pending += [n for n in node.inputs if n and n not in self.model.constants]
        if len(roots) != 1:
            return None
        root = roots.pop()
        shape = self.model.shapes.get(root)
        if not shape:
            return None
        nodes = tuple(node for node in self.model.nodes if id(node) in inside)
        return Region(self.model, root, end, nodes, shape[0])

    def resolve(self, name: str) -> Quantized | None:
        """The quantized tensor behind a name, closing its region if that is open; None if it is not quantized."""
        known = self.state.get(name)
        if isinstance(known, Quantized):
            return known
        # close the region at a tensor that the reference has; what follows only moves and scales its levels
        before = self._written(name)
        if before is not None and self.resolve(before) is None:
            return None
        region = self.region(name)
        if region is None:
            return None
        root = self.state.get(region.root)
        if isinstance(root, Quantized):
            found = self._rescaled(root, region)
        elif isinstance(root, Accumulator):
            found = self._close(root, region, region.root)
        elif isinstance(root, Pooled):
            found = self._close_pooled(root, region)
        elif isinstance(root, Reshaped):
            found = self._close_reshaped(root, region)
        else:
            found = self._encode(region)
        if found is not None:
            self.state[name] = found
        return found

    def _written(self, name: str) -> str | None:
        """The nearest tensor before one of the spelling's own that stands in the file; None where this one does."""
        first = name
        while name not in self.model.written and name in self.producer and self.producer[name].op in ELEMENTWISE:
            data = [n for n in self.producer[name].inputs if n and n not in self.model.constants]
            if len(data) != 1:
                return None
            name = data[0]
        return name if name != first and name in self.model.written else None

    def _encode(self, region: Region) -> Quantized | None:
        """The host's activation becomes the encoder population if it is quantized."""
        levels = find_levels(region)
        if levels is None:
            return None
        if self.encoder is not None:
            raise ModelError(
                region.end,
                f"the host would have to hand over two activations ({self.encoder.tensor!r} and this one); "
                "quantize the input once, before the branches",
                code="two-encoders",
                node=region.end,
            )
        self.encoder_region = region
        shape = self.model.shapes[region.root]
        source = self.producer.get(region.root)
        name = self.namer.layer(source) if source and source.op in WEIGHTED | POOLS else self.namer.text(region.root)
        size = linear.as_map(shape, source or self.model.nodes[0])
        self.encoder = Population(name, region.end, shape, size, levels.count, levels.scale, levels.zero_point)
        return _whole(self.encoder, shape)

    def _close(self, root: Accumulator, region: Region, tensor: str, *, internal: bool = False) -> Quantized | None:
        levels = find_levels(region)
        if levels is None:
            return None
        shape = self.model.shapes[tensor]
        layer = layer_of(root, region, levels, "" if internal else region.end, shape)
        self.layers.append(layer)
        return _whole(layer, shape)

    def _close_pooled(self, pool: Pooled, region: Region) -> Quantized | None:
        """f(max p) = max f(p) for a rising f, and min f(p) for a falling one."""
        before = self.region(pool.before)
        root = self.state.get(before.root) if before else None
        if before is None or not isinstance(root, Accumulator):
            return None
        after = find_levels(region)
        if after is None:
            return None
        joined = self._joined(before, pool.node, region)
        inner = self._close(root, joined, before.root, internal=True)
        if inner is None:
            return None
        layer = self._max_pool(pool.node, inner, after.falling, region.end)
        return _whole(layer, self.model.shapes[pool.node.outputs[0]])

    def _joined(self, before: Region, node: Node, after: Region) -> Region:
        """Two regions as one, the operator between them stepped over."""
        from onnx import helper

        ends = before.end, node.outputs[0]
        bridge = Node("", "Identity", ends[:1], ends[1:], {}, helper.make_node("Identity", ends[:1], ends[1:]))
        return Region(self.model, before.root, after.end, (*before.nodes, bridge, *after.nodes), before.channels)

    def _close_reshaped(self, moved: Reshaped, region: Region) -> Quantized | None:
        """A quantizer with one scale for all commutes with an operator that only moves values."""
        before = self.region(moved.before)
        if before is None or find_levels(region) is None:
            return None
        constants = [n for node in region.nodes for n in node.inputs if n in self.model.constants]
        if any(self.model.constants[name].size > 1 for name in constants):
            raise ModelError(
                moved.node.name,
                f"{moved.node.op} stands between sums and a quantizer with a scale a channel; put the quantizer before it",
                code="reshape-before-quantizer",
                node=moved.node.name,
            )
        joined = self._joined(before, moved.node, region)
        root = self.state.get(before.root)
        if isinstance(root, Accumulator):
            found = self._close(root, joined, before.root)
        elif isinstance(root, Pooled):
            found = self._close_pooled(root, joined)
        else:
            return None
        if found is None:
            return None
        index = self._relabel(moved.node, found.index)
        if not (index.reshape(-1) == np.arange(index.size)).all():  # the tensor has another order than the population
            self.layers[-1] = replace(self.layers[-1], tensor="")
        return replace(found, index=index)

    def _rescaled(self, root: Quantized, region: Region) -> Quantized | None:
        """Elementwise operators on levels that only move and scale them."""
        values = root.scale * (np.arange(root.population.levels + 1) + root.zero_point)
        found = region.function()(np.repeat(values.astype(np.float32)[:, None], region.channels, axis=1))
        steps = np.diff(found, axis=0)
        scale = float((found[-1, 0] - found[0, 0]) / root.population.levels)
        if scale <= 0 or np.abs(steps - scale).max() > 1e-6 * scale * root.population.levels:
            raise ModelError(
                region.end,
                "changes quantized values in a way that is no shift and scale of all; quantize only once",
                code="requantized",
                node=region.end,
            )
        return Quantized(root.population, root.index, scale, float(found[0, 0]) / scale)

    # -- operators -------------------------------------------------------------------------------------------

    def visit(self, node: Node) -> None:
        """Advance over one node."""
        if node.op in ELEMENTWISE and not (node.op == "Add" and self._adds_levels(node)):
            if all(name in self.host or name in self.model.constants for name in node.inputs if name):
                self.host.update(node.outputs)
            return
        data = [name for name in node.inputs if name and name not in self.model.constants]
        tensors = [self.resolve(name) for name in data]
        out = node.outputs[0]
        if tensors and all(tensor is not None for tensor in tensors):
            self.state[out] = self._on_levels(node, [t for t in tensors if t is not None])
        elif all(name in self.host for name in data):
            self.host.update(node.outputs)
        elif node.op in RELABEL and self._is_ours(data[0]) and not self._leads_out(out):
            self.state[out] = Reshaped(data[0], node)
        elif node.op in ("Gemm", "MatMul") and (sums := self._sums(data[0])) is not None:
            last = self._leads_out(out)
            name = self.namer.layer(node)
            self.state[out] = linear.matrix_of_sums(self.model, node, sums.sums, sums.index, name, last=last)
        elif node.op in ("MaxPool", "GlobalMaxPool") and self._accumulates(data[0]):
            self.state[out] = Pooled(data[0], node)
        elif node.op in WEIGHTED or node.op in POOLS or node.op == "Add":
            if self._leads_out(out) and node.op not in WEIGHTED:
                return
            raise ModelError(
                self.namer.peek(node),
                f"reads {data[0]!r}, which is not quantized to at most {MOST_LEVELS:,} levels; put a quantizer (scale, "
                "round, clip) before it",
                code="activation-not-quantized",
                node=node.name,
            )

    def _on_levels(self, node: Node, tensors: list[Quantized]) -> Quantized | Accumulator:
        tensor = tensors[0]
        if node.op in RELABEL:
            return replace(tensor, index=self._relabel(node, tensor.index))
        name = self.namer.layer(node)
        if node.op == "Conv":
            return linear.convolution(self.model, node, tensor, name)
        if node.op in ("Gemm", "MatMul"):
            last = self._leads_out(node.outputs[0])
            return linear.matrix(self.model, node, tensor, name, last=last)
        if node.op == "Add" and len(tensors) == 2:
            return linear.addition(self.model, node, tensors[0], tensors[1], name)
        if node.op in ("AveragePool", "GlobalAveragePool") or (node.op == "ReduceMean" and self._over_space(node, tensor)):
            return linear.sum_pool(self.model, node, tensor, name)
        if node.op in ("MaxPool", "GlobalMaxPool"):
            layer = self._max_pool(node, tensor, np.zeros(tensor.index.shape[0], bool), node.outputs[0], name)
            return replace(
                _whole(layer, self.model.shapes[node.outputs[0]]), scale=tensor.scale, zero_point=tensor.zero_point
            )
        raise ModelError(node.name, f"{node.op} on quantized values is not supported", code="model-operator", node=node.name)

    def _max_pool(self, node: Node, tensor: Quantized, falling: np.ndarray, end: str, name: str = "") -> Layer:  # type: ignore[type-arg]
        """ANY neuron i of the window fired, or ALL of them where a falling map follows."""
        source = tensor.population
        if not tensor.canonical:
            raise ModelError(
                node.name,
                "a pool after a reshape that reorders features is not supported",
                code="reshape-before-window",
                node=node.name,
            )
        tensor_shape = self.model.shapes[node.outputs[0]]
        shape = linear.as_map(tensor_shape, node)
        space = tensor.index.shape[1:]
        kernel = tuple(node.attributes.get("kernel_shape", space))
        geometry = linear.windows(node, kernel, space, tensor_shape[1:])
        two = (1,) * (2 - len(kernel)) + kernel
        channels = shape[0]
        link = Connection(source.name, np.ones((channels, 1, *two), np.int64), groups=channels, level_wise=True, **geometry)  # type: ignore[arg-type]
        valid = link.taps(source.shape[1:], shape[1:]) >= 0
        if falling.any():
            border, example = linear.border_classes(valid, shape[1:])
        else:
            border, example = np.zeros(shape[1:], np.int64), np.zeros(1, np.int64)
        everyone = valid[example].sum(axis=1)
        wanted = np.where(falling[None, :], everyone[:, None], 1)
        reach = reachable((link,), {source.name: source}, shape)
        span = np.stack([reach[border.reshape(-1) == c].max(axis=0) for c in range(len(example))])
        span[..., 0] = 0
        layer = Layer(
            name or self.namer.layer(node),
            end,
            tensor_shape,
            shape,
            source.levels,
            source.scale,
            source.zero_point,
            "pool",
            (link,),
            np.repeat(wanted[..., None], source.levels, axis=2).astype(np.int64),
            border,
            span,
            True,
        )
        self.layers.append(layer)
        return layer

    def _relabel(self, node: Node, index: Int) -> Int:
        """Let the reference move feature numbers instead of values."""
        from onnx import TensorProto

        if node.op in ("Identity", "Dropout"):
            return index
        name, out = next(n for n in node.inputs if n not in self.model.constants), node.outputs[0]
        part = self.model.subgraph({name: (TensorProto.INT64, (1, *index.shape))}, [out], [node])
        (moved,) = session(part).run([out], {name: index[None]})
        if moved.shape[0] != 1:
            raise ModelError(node.name, f"{node.op} moves the batch axis", code="batch-moved", node=node.name)
        return np.asarray(moved[0], np.int64)

    def _sums(self, name: str) -> Moved | None:
        """The sums that a tensor holds as they are, with no operator between that changes them."""
        known = self.state.get(name)
        if isinstance(known, Accumulator):
            return Moved(known, np.arange(int(np.prod(known.shape))).reshape(self.model.shapes[name]))
        if isinstance(known, Reshaped) and (inner := self._sums(known.before)) is not None:
            return replace(inner, index=self._relabel(known.node, inner.index))
        return None

    def _is_ours(self, name: str) -> bool:
        """Whether a tensor comes, elementwise, from a linear operator on levels."""
        region = self.region(name)
        return region is not None and isinstance(self.state.get(region.root), Accumulator | Pooled | Reshaped)

    def _adds_levels(self, node: Node) -> bool:
        """Whether an Add joins two branches instead of being elementwise on one."""
        data = [name for name in node.inputs if name not in self.model.constants]
        if len(data) != 2 or all(name in self.host for name in data):
            return False
        regions = [self.region(name) for name in data]
        return regions[0] is None or regions[1] is None or regions[0].root != regions[1].root

    def _over_space(self, node: Node, tensor: Quantized) -> bool:
        axes = node.attributes.get("axes")
        if axes is None and len(node.inputs) > 1:
            axes = linear.constant(self.model, node, 1).tolist()
        rank = tensor.index.ndim + 1
        return axes is not None and sorted(axis % rank for axis in axes) == list(range(2, rank))

    def _accumulates(self, name: str) -> bool:
        region = self.region(name)
        return region is not None and isinstance(self.state.get(region.root), Accumulator) and not self._leads_out(name)

    def _leads_out(self, name: str) -> bool:
        """Whether no weighted operator reads what follows from a tensor, nor anything quantized."""
        reached = {name}
        for node in self.model.nodes:
            if reached.intersection(node.inputs):
                if node.op in WEIGHTED:
                    return False
                reached.update(node.outputs)
        return self._no_quantizer_after(name)

    def _no_quantizer_after(self, name: str) -> bool:
        region = self.region(self.model.output)
        return region is None or region.root != name or find_levels(region) is None


def _whole(population: Population, shape: tuple[int, ...]) -> Quantized:
    index = np.arange(population.features).reshape(shape)
    return Quantized(population, index, population.scale, population.zero_point)


def integerize(model: Model, pixels: str = "unit") -> LayerGraph:
    """Turn an ONNX graph into a layer graph with integer weights and thresholds.

    Parameters
    ----------
    model : Model
    pixels : str
        The pixel rule, which decides whether the encoder's sums are exact on uint8 images: they can be for ``"raw"``.

    Raises
    ------
    ModelError
        Names the node that cannot be compiled and what to do.
    """
    producer = {name: node for node in model.nodes for name in node.outputs}
    walk = Walk(model, Namer(model.origins), producer, host={model.input})
    problems = Problems()
    for node in model.nodes:
        problems.visit(walk, node)
    problems.raise_any()
    quantized = walk.resolve(model.output) if model.output not in walk.host else None
    if quantized is not None:
        node = producer[model.output]
        readout = linear.identity(node, quantized, walk.namer.text("levels"))
        root = ""
    else:
        readout, root = _last_accumulator(walk)
    if walk.encoder is None:
        raise _not_quantized(model)
    layer = readout_of(readout, root, model)
    layers = (*walk.layers, layer)
    return LayerGraph(
        encoder=walk.encoder,
        layers=_used(layers),
        encoder_onnx=ends.encoder(model, walk.encoder),
        readout_onnx=ends.readout(model, readout, root),
        encoder_exact=ends.encoder_is_exact(model, walk.encoder, walk.encoder_region, pixels),
        output_tensor=model.output,
        output_shape=ends.output_shape(model),
    )


def _not_quantized(model: Model) -> ModelError:
    """Nothing quantized was found: say what there is instead."""
    for node in model.nodes:
        typed = model.constants.get(node.inputs[2]) if node.op == "QuantizeLinear" and len(node.inputs) > 2 else None
        if typed is not None and np.iinfo(typed.dtype).bits > 8:
            return ModelError(
                node.name,
                f"quantizes to {typed.dtype}, {1 << np.iinfo(typed.dtype).bits:,} levels; at most {MOST_LEVELS:,} are "
                "supported, each level being a neuron: quantize activations to 8 bits or fewer",
                code="levels-many",
                node=node.name,
                found=1 << np.iinfo(typed.dtype).bits,
                allowed=MOST_LEVELS,
            )
    return ModelError(
        str(model.path),
        "nothing in it is quantized; train with quantized activations (and weights on a grid), then export",
        code="model-not-quantized",
    )


def _last_accumulator(walk: Walk) -> tuple[Accumulator, str]:
    """The one accumulator that the output is computed from."""
    model = walk.model
    needed: set[str] = set()
    pending = [model.output]
    roots: set[str] = set()
    while pending:
        name = pending.pop()
        if name in needed or name in model.constants:
            continue
        needed.add(name)
        known = walk.state.get(name)
        if isinstance(known, Accumulator | Quantized) or name not in walk.producer:
            roots.add(name)
            continue
        pending += [n for n in walk.producer[name].inputs if n]
    if len(roots) == 1:
        root = roots.pop()
        known = walk.state.get(root)
        if isinstance(known, Accumulator):
            return known, root
    if walk.encoder is None:
        raise _not_quantized(model)
    raise ModelError(
        model.output,
        "the output does not come from one linear layer on quantized activations",
        code="readout-unclear",
        node=model.output,
    )


def _used(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Layers that something reads, the read-out first of all."""
    wanted = {layers[-1].name}
    kept = []
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(link.source for link in layer.connections)
            kept.append(layer)
    return tuple(reversed(kept))
