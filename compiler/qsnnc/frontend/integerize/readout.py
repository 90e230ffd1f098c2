"""Find what the host computes the output from: the potentials of the last linear layer, or levels that it is handed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chipsim.mapping.program import FEATURES, OUTPUT
from qsnnc.errors import ModelError
from qsnnc.frontend.host.handed_levels import Head, hand_over
from qsnnc.frontend.host.output_heads import HEADS, side_by_side, taken_apart
from qsnnc.frontend.integerize.absorb import resolve
from qsnnc.frontend.integerize.diagnosis import not_quantized
from qsnnc.frontend.integerize.requantize import copied
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.tensors import Accumulator, Quantized
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.operators import MAXIMUM, POOLS, WEIGHTED


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """What the output is computed from."""

    head: Head
    tensor: str  # the ONNX tensor that its potentials give
    model: Model  # the model that has this tensor
    exact: bool = True  # whether the host computes no float sums from levels, which may depend on their order


def read_out(walk: Walk) -> Readout:
    """Find the linear layer, or the output heads, from which the host computes the output."""
    model = walk.model
    root = model.output if resolve(walk, model.output) is not None else _frontier(walk)
    if walk.known.encoder is None:
        raise not_quantized(model)
    one = _head(walk, root)
    if one is not None:
        return Readout(one, root, model, _is_exact(model, one, {root}))
    heads = {name: head for name in sorted(_frontier_of(walk)) if (head := _head(walk, name)) is not None}
    if heads.keys() == _frontier_of(walk):
        joined = side_by_side(list(heads.values()), walk.sink.free_name(walk.namer.text("heads")))
        if joined is not None:
            return Readout(joined, HEADS, taken_apart(model, heads), _is_exact(model, joined, set(heads)))
    several = sorted(_frontier_of(walk))
    raise ModelError(
        model.output,
        f"the output is computed from {len(several)} tensors "
        f"({', '.join(repr(name) for name in several[:4])}) instead of one linear "
        "layer on quantized activations; choose one with --output, or quantize and concatenate them before the last layer",
        code="model-ends",
        node=model.output,
        found=several,
    )


def _is_exact(model: Model, head: Head, roots: set[str]) -> bool:
    """Return whether the host computes no linear operator from levels that it is handed."""
    if head.values is None:
        return True
    needed = {model.output}
    for node in reversed(model.nodes):
        if needed.intersection(node.outputs) - roots:
            needed.update(node.inputs)
            if node.op in WEIGHTED | POOLS - MAXIMUM:
                return False
    return True


def _head(walk: Walk, name: str) -> Head | None:
    """Return the potentials that give a tensor; None if there are none."""
    known = walk.known.get(name)
    if isinstance(known, Quantized) and name in walk.analysis.producer:
        kind = FEATURES if walk.host.has_readout else OUTPUT
        node = walk.analysis.producer[name]
        return hand_over(node, _once_each(walk, node, known), walk.namer.text("levels"), kind)
    return Head(known) if isinstance(known, Accumulator) else None


def _once_each(walk: Walk, node: Node, tensor: Quantized) -> Quantized:
    """Return a tensor that has no population twice: its levels as they are, and scaled, are handed over by two layers."""
    seen: set[str] = set()
    parts = []
    for part in tensor.parts:
        name = part.population.name
        if name in seen:
            layer = copied(node, part, walk.sink.free_name(walk.namer.text(f"{name}.again")))
            walk.sink.add(layer)
            part = replace(part, population=layer)
        seen.add(name)
        parts.append(part)
    return replace(tensor, parts=tuple(parts))


def _frontier(walk: Walk) -> str:
    """Return the one chip tensor from which the host computes the output; '' if there is none or several."""
    roots = _frontier_of(walk)
    return roots.pop() if len(roots) == 1 else ""


def _frontier_of(walk: Walk) -> set[str]:
    """Return the chip tensors and inputs from which the output is computed."""
    needed: set[str] = set()
    pending = [walk.model.output]
    roots: set[str] = set()
    while pending:
        name = pending.pop()
        if name in needed or name in walk.model.constants:
            continue
        needed.add(name)
        # float sums are the host's own where it computes the last layer: it starts from levels
        found = Quantized if walk.host.has_readout else Accumulator | Quantized
        if isinstance(walk.known.get(name), found) or name not in walk.analysis.producer:
            roots.add(name)
            continue
        pending += [n for n in walk.analysis.producer[name].inputs if n]
    return roots
