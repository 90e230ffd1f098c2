"""Turn an ONNX graph into a layer graph, recording for every tensor whether it is quantized, an accumulator, or the host's.

Elementwise operators are skipped until another operator reads their result. Then the whole region back to the last
non-elementwise operator is evaluated: if it takes finitely many values it is a quantizer, and the accumulator before it
becomes a layer.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from chipsim.mapping import InputSpec
from qsnnc.errors import ModelError
from qsnnc.frontend.host import subgraphs
from qsnnc.frontend.host.pixel_input import encoder as encoder_of_pixels
from qsnnc.frontend.integerize.absorb import resolve
from qsnnc.frontend.integerize.diagnosis import why_not
from qsnnc.frontend.integerize.host_parts import Boundaries
from qsnnc.frontend.integerize.implicit_levels import largest, materialise
from qsnnc.frontend.integerize.linear_terms import moved_terms, terms_of
from qsnnc.frontend.integerize.problems import Problems
from qsnnc.frontend.integerize.readout import read_out
from qsnnc.frontend.integerize.residual import add_branches, adds_branches
from qsnnc.frontend.integerize.state import Encoder, Gathered, Moved, Pooled
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.layers.thresholds import readout_of
from qsnnc.frontend.linear import add, matmul, pooling
from qsnnc.frontend.linear.convolution import convolution, transposed
from qsnnc.frontend.linear.data_movement import move, moved_index
from qsnnc.frontend.linear.interpolation import interpolated
from qsnnc.frontend.linear.pooled_sums import average_of_sums
from qsnnc.frontend.linear.tensors import Accumulator, Quantized, Terms
from qsnnc.frontend.linear.weight_bits import ChangedWeights
from qsnnc.frontend.model.messages import names_of_file
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.operators import ELEMENTWISE, JOINS, LINEAR, MAXIMUM, POOLS, RELABEL, WEIGHTED
from qsnnc.frontend.model.outcomes import TooManyLevels, UnevenLevels, WeightsNotQuantized, WindowReordered
from qsnnc.ir.layers import Int, Layer, LayerGraph, Population


@dataclass(frozen=True, slots=True, eq=False)
class Integerized:
    """A layer graph, and what became of the model on the way."""

    graph: LayerGraph
    changed: tuple[ChangedWeights, ...]  # weights that were quantized because it was asked for


def integerize(model: Model, rule: InputSpec, chosen: Boundaries | None = None) -> Integerized:
    """Turn an ONNX graph into a layer graph with integer weights and thresholds.

    Parameters
    ----------
    model : Model
    rule : InputSpec
        The pixel rule; the encoder's sums on uint8 images can be exact only for ``"raw"``.
    chosen : Boundaries, optional
        Where the chip's part begins and ends, and how many bits its weights may have.

    Raises
    ------
    ModelError
        A node cannot be compiled; the message names it and says what to do.
    UsageError
        A choice names a layer that is unknown.
    """
    chosen = chosen or Boundaries()
    walk = Walk.of(model, rule, chosen)
    with names_of_file(model.reference.graph.node, (node.proto for node in model.nodes)):
        walk.weights.refuse_unknown()
        run(walk)
        walk.weights.refuse_hosts()
        readout = read_out(walk)
    encoder = walk.known.encoder
    assert encoder is not None
    onnx, exact = _host_encoder(walk, encoder, rule.pixels)
    sums = readout.head.sums
    tensor = readout.tensor if sums.canonical and readout.model is model else ""
    graph = LayerGraph(
        encoder=encoder.population,
        layers=_used((*walk.sink.layers, readout_of(sums, tensor, model))),
        encoder_onnx=onnx,
        readout_onnx=subgraphs.readout(readout.model, readout.head, readout.tensor),
        encoder_exact=exact,
        input=rule,
        output_tensor=model.output,
        output_shape=subgraphs.output_shape(model),
        model_sha256=model.sha256,
        of_pixels=encoder.region is None,
        image_on_chip=chosen.image_on_chip,
        readout_layers=tuple(walk.namer.layer(node) for node in model.nodes if walk.host.is_last(node)),
        readout_exact=readout.exact,
        batch_rows=model.batch_rows,
    )
    return Integerized(graph, walk.weights.changed)


def first_encoder(model: Model, rule: InputSpec, chosen: Boundaries) -> Population | None:
    """Return the activations that the host hands over, without reading the network behind them; None if there are none."""
    walk = Walk.of(model, rule, chosen)
    for node in model.nodes:
        try:
            _find_encoder(walk, node)
            if walk.known.encoder is None:
                visit(walk, node)
        except ModelError:  # reported when the whole network is read
            break
        if walk.known.encoder is not None:
            break
    return None if walk.known.encoder is None else walk.known.encoder.population


def _find_encoder(walk: Walk, node: Node) -> None:
    """Find the levels that a weighted node reads: its weights, which may be many, are not needed for that."""
    if node.op in WEIGHTED and not walk.host.is_before(node) and not walk.host.is_last(node):
        with suppress(ModelError):  # raised again when the node is visited
            for name in node.inputs:
                if name and name not in walk.model.constants:
                    resolve(walk, name)


def _host_encoder(walk: Walk, encoder: Encoder, pixels: str) -> tuple[bytes, bool]:
    """Return the encoder as ONNX, and whether its sums are exact."""
    if encoder.region is None:
        assert walk.pixels is not None
        elements = encoder.order.elements if encoder.order else None
        return encoder_of_pixels(walk.pixels.rule, encoder.population.tensor_shape, elements), True
    population, region, order = encoder.population, encoder.region, encoder.order
    exact = not encoder.turns and subgraphs.encoder_is_exact(walk.model, population, region, pixels)
    if order is None or order.tensor:
        return subgraphs.encoder(walk.model, population, region, order.tensor if order else ""), exact
    return subgraphs.encoder(walk.model, population, region, elements=order.elements), exact


def run(walk: Walk) -> None:
    """Visit every node in order; raise all their errors at once."""
    problems = Problems(visit)
    for node in walk.model.nodes:
        problems.visit(walk, node)
    problems.raise_any()


def visit(walk: Walk, node: Node) -> None:
    """Process one node."""
    data = [name for name in node.inputs if name and name not in walk.model.constants]
    if walk.host.is_before(node):
        roots = {walk.analysis.growth(name)[0] for name in data} if node.op in ELEMENTWISE else set()
        walk.known.leave_to_host(node.outputs, junction=len(roots) > 1)
        return
    if walk.host.is_last(node) and not all(name in walk.known.host for name in data):
        excused: list[ModelError] = []
        if not all(_levels_before(walk, name, excused) for name in data):
            raise excused[0] if excused else why_not(walk, node, data)
        return
    try:
        _visit_on_chip(walk, node, data)
    except WeightsNotQuantized as error:
        raise walk.host.refusal(node, error) from None
    except ModelError:
        if not walk.host.is_behind_chip(node):
            raise


def _levels_before(walk: Walk, name: str, excused: list[ModelError]) -> bool:
    """Find the nearest levels before a tensor, for the host to compute it from; errors on the way go to ``excused``."""
    try:
        if resolve(walk, name) is not None:
            return True
    except ModelError as error:
        excused.append(error)
    node = walk.analysis.producer.get(name)
    data = [] if node is None else [entry for entry in node.inputs if entry and entry not in walk.model.constants]
    if node is not None and node.op not in WEIGHTED and data and all(_levels_before(walk, entry, excused) for entry in data):
        return True
    found = materialise(walk, name)
    if found is not None:
        walk.known.define(name, found)
    return found is not None


def _visit_on_chip(walk: Walk, node: Node, data: list[str]) -> None:
    """Process a node that is not left to the host by choice."""
    if node.op in JOINS and adds_branches(walk, node, data):
        if not walk.analysis.leads_out(node.outputs[0]) or all(resolve(walk, name) is not None for name in data):
            walk.known.define(node.outputs[0], add_branches(walk, node, data))
        return
    if node.op in ELEMENTWISE:
        if all(name in walk.known.host for name in data):
            roots = {walk.analysis.growth(name)[0] for name in data}
            walk.known.leave_to_host(node.outputs, junction=len(roots) > 1)
        return
    tensors = [_resolved(walk, node, name) for name in data]
    if tensors and all(tensor is not None for tensor in tensors):
        _on_levels(walk, node, [t for t in tensors if t is not None])
    elif all(name in walk.known.host for name in data):
        walk.known.leave_to_host(node.outputs)
    elif not _on_sums(walk, node, data) and node.op in WEIGHTED | POOLS:
        if walk.analysis.leads_out(node.outputs[0]) and node.op not in WEIGHTED:
            return
        _on_open(walk, node, data)


def _resolved(walk: Walk, node: Node, name: str) -> Quantized | None:
    """Resolve a tensor; None if its values are not equally spaced but a later quantizer can be moved before the node."""
    try:
        return resolve(walk, name)
    except (UnevenLevels, TooManyLevels):
        movable = node.op in RELABEL | MAXIMUM and any(map(walk.analysis.is_quantized_later, node.outputs))
        if not movable:
            raise
        return None


def _on_levels(walk: Walk, node: Node, tensors: list[Quantized]) -> None:
    """Process a node whose inputs are all quantized."""
    model, out = walk.model, node.outputs[0]
    if node.op in RELABEL:
        given: list[Quantized | None] = list(tensors)
        if node.op == "Concat":
            left = iter(tensors)
            given = [None if name in model.constants else next(left) for name in node.inputs]
        names = [name for name in node.outputs if name]
        for name, moved in zip(names, move(model, node, given), strict=False):
            walk.known.define(name, moved)
    elif node.op in MAXIMUM:
        walk.known.define(out, largest(walk, node, tensors[0], out))
    elif node.op in WEIGHTED | POOLS:
        walk.known.define(out, _linear(walk, node, Terms.of(tensors[0])))
    elif walk.analysis.feeds_weights(out):
        raise why_not(walk, node, [])


def _linear(walk: Walk, node: Node, terms: Terms) -> Accumulator:
    """Apply a linear operator to a sum of levels."""
    name, last = walk.namer.layer(node), walk.analysis.leads_out(node.outputs[0])
    if node.op in LINEAR:
        return interpolated(walk.model, node, terms, name)
    if node.op in POOLS:
        return pooling.average(walk.model, node, terms, name)
    model, node = walk.weights.read(node, name)
    if node.op == "Conv":
        return convolution(model, node, terms, name)
    if node.op == "ConvTranspose":
        return transposed(model, node, terms, name)
    return matmul.multiply(model, node, terms, name, last=last)


def _on_open(walk: Walk, node: Node, data: list[str]) -> None:
    """Process a node that reads an unquantized tensor: by the terms of a sum, or by materialising it."""
    terms = terms_of(walk, data[0], resolve) if len(data) == 1 else None
    if terms is not None and _on_terms(walk, node, terms):
        return
    stepless = len(data) == 1 and data[0] not in walk.known.steps
    tensors = [materialise(walk, name, summed=stepless) for name in data]
    if any(tensor is None for tensor in tensors):
        if stepless and data[0] in walk.known.steps:
            return _on_open(walk, node, data)
        raise why_not(walk, node, data)
    _on_levels(walk, node, [tensor for tensor in tensors if tensor is not None])


def _on_terms(walk: Walk, node: Node, terms: Terms) -> bool:
    """Apply a linear operator to the terms of a sum; return whether that is possible."""
    flat = node.op in ("Gemm", "MatMul") and len(terms.shape) == 1
    if flat or node.op in MAXIMUM:
        return False
    try:
        walk.known.define(node.outputs[0], _linear(walk, node, terms))
    except WindowReordered:
        return False
    return True


def _on_sums(walk: Walk, node: Node, data: list[str]) -> bool:
    """Defer a node until its quantizer is found, or merge it with the linear operator before; return whether possible."""
    out = node.outputs[0]
    last = all(walk.analysis.leads_out(name) for name in node.outputs if name)
    if node.op in ("Gemm", "MatMul") and (sums := _plain_sums(walk, data[0])) is not None and sums[1].ndim == 1:
        inner, index = sums
        name = walk.namer.layer(node)
        model, own = walk.weights.read(node, name)
        walk.known.define(out, matmul.multiply_sums(model, own, inner, index, name, last=last))
    elif last or not all(walk.analysis.is_on_chip(name) for name in data):
        return False
    elif node.op == "Concat":
        walk.known.define(out, Gathered(node))
    elif node.op in RELABEL and data[0] in walk.known.steps and _move_steps(walk, node, walk.known.steps[data[0]]):
        pass
    elif node.op in RELABEL:
        for name in filter(None, node.outputs):
            walk.known.define(name, Moved(data[0], node, name))
    elif node.op in MAXIMUM:
        if walk.model.shapes.get(out) == ():
            raise pooling.over_every_axis(node)
        walk.known.define(out, Pooled(data[0], node))
    elif node.op in POOLS - LINEAR and (sums := _sums(walk, data[0])) is not None:
        found = average_of_sums(walk.model, node, *sums, walk.namer.layer(node))
        if found is None:
            return False
        walk.known.define(out, found)
    else:
        return False
    return True


def _move_steps(walk: Walk, node: Node, terms: Terms) -> bool:
    """Move both tensors of a nonmonotonic activation in the same way; return whether that is possible."""
    for name in (name for name in node.outputs if name):
        moved = moved_terms(walk.model, node, terms, name)
        if moved is None:
            return False
        walk.known.define_steps(name, moved, add.add_levels(node, moved.tensors, walk.namer.text(name), moved.signs))
    return True


def _plain_sums(walk: Walk, name: str) -> tuple[Accumulator, Int] | None:
    """Return sums of one scale that a tensor holds unchanged, and their layout; None if there are none."""
    found = _sums(walk, name)
    return found if found is not None and np.unique(found[0].scale).size == 1 and (found[1] >= 0).all() else None


def _sums(walk: Walk, name: str) -> tuple[Accumulator, Int] | None:
    """Return sums that a tensor holds, and where: -1 for a constant that a Pad put there; None if there are none."""
    known = walk.known.get(name)
    if isinstance(known, Accumulator):
        return known, known.layout
    if isinstance(known, Moved) and (inner := _sums(walk, known.before)) is not None:
        return inner[0], moved_index(walk.model, known.node, inner[1], known.output)
    return None


def _used(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Drop layers that nothing reads; the readout counts as read."""
    wanted = {layers[-1].name}
    kept = []
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(link.source for link in layer.connections)
            kept.append(layer)
    return tuple(reversed(kept))
