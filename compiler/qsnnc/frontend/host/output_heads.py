"""Merge several output heads into one readout layer: detection heads, or the value and advantage of a dueling network.

A mapping has one readout layer. Heads with the same rows and columns are concatenated as channels, others feature by
feature; the host splits their potentials again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from qsnnc.frontend.host.handed_levels import Head, Values
from qsnnc.frontend.linear.accumulate import classes, span
from qsnnc.frontend.linear.tensors import Accumulator
from qsnnc.frontend.linear.unrolled import MOST_WEIGHTS, by_feature, ungrouped, weights_of
from qsnnc.frontend.model.model import Model, Node
from qsnnc.ir.layers import reachable

#: the tensor of all heads' values
HEADS = "qsnnc.heads"


def side_by_side(several: Sequence[Head], name: str) -> Head | None:
    """Merge heads into one, whose tensor is the concatenation of theirs; None if that needs too many weights."""
    joined = _joined([head.sums for head in several], name)
    values = [head.values for head in several if head.values is not None]
    if joined is None:
        return None
    if len(values) < len(several):  # some are potentials
        kind = next(head.sums.kind for head in several if head.values is None)
        return Head(replace(joined, kind=kind))
    return Head(joined, Values.joined(values), all(head.on_line for head in several))


def _joined(heads: Sequence[Accumulator], name: str) -> Accumulator | None:
    if len({head.shape[1:] for head in heads}) > 1:
        if sum(map(weights_of, heads)) > MOST_WEIGHTS:
            return None
        heads = [by_feature(head) for head in heads]
    first = heads[0]
    space, area = first.shape[1:], first.border.size
    starts = np.cumsum([0, *(head.shape[0] for head in heads)])
    total = int(starts[-1])
    border, example = classes(np.stack([head.border.reshape(-1) for head in heads], axis=1), space)
    own = [head.border.reshape(-1)[example] for head in heads]
    sources = {key: value for head in heads for key, value in head.sources.items()}
    links = []
    for head, start in zip(heads, starts[:-1], strict=True):
        for link in head.connections:
            weights = ungrouped(link.weights, link.groups, sources[link.source].shape[0])
            among = np.zeros((total, *weights.shape[1:]), np.int64)
            among[start : start + head.shape[0]] = weights
            links.append(replace(link, weights=among, groups=1))
    return replace(
        first,
        name=name,
        shape=(total, *space),
        connections=tuple(links),
        scale=np.concatenate([head.scale[at] for head, at in zip(heads, own, strict=True)], axis=1),
        offset=np.concatenate([head.offset[at] for head, at in zip(heads, own, strict=True)], axis=1),
        border=border,
        reach=span(reachable(tuple(links), sources, (total, *space)), border),
        exact=np.concatenate([head.exact for head in heads]),
        grid=np.concatenate([head.grid for head in heads]),
        magnitude=np.concatenate([head.magnitude for head in heads]),
        terms=max(head.terms for head in heads),
        sources=sources,
        layout=np.concatenate(
            [start * area + head.layout.reshape(-1) for head, start in zip(heads, starts[:-1], strict=True)]
        ),
        axis=1,
    )


def taken_apart(model: Model, heads: Mapping[str, Head]) -> Model:
    """Return the model in which the heads' tensors are slices of the tensor of all their values."""
    from onnx import helper

    constants, shapes, made = dict(model.constants), dict(model.shapes), []
    start = 0
    for name, head in heads.items():
        shape, kind = model.shapes[name], model.kind(name)
        places, sizes = f"{HEADS}.{name}.places", f"{HEADS}.{name}.sizes"
        size = head.sums.layout.size
        constants[places] = np.arange(start, start + size)
        constants[sizes] = np.array([-1, *shape], np.int64)
        start += size
        chain = [
            helper.make_node("Gather", [HEADS, places], [f"{HEADS}.{name}.flat"], axis=1),
            helper.make_node("Reshape", [f"{HEADS}.{name}.flat", sizes], [f"{HEADS}.{name}"]),
            helper.make_node("Cast", [f"{HEADS}.{name}"], [name], to=kind),
        ]
        made += [Node(f"{HEADS}.{name}", p.op_type, tuple(p.input), tuple(p.output), {}, p) for p in chain]
    shapes[HEADS] = (start,)
    rest = [node for node in model.nodes if not heads.keys() & set(node.outputs)]
    return replace(model, nodes=(*made, *rest), constants=constants, shapes=shapes)
