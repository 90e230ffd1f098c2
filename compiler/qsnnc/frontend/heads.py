"""Several linear layers that the host computes one output from: detection heads, a value and its advantages.

The chip has one layer that is read out. So the heads become one: side by side as channels where they have the same rows and
columns, feature by feature where they do not; the host takes their potentials apart again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from qsnnc.frontend.linear import classes, span
from qsnnc.frontend.read import Model, Node
from qsnnc.frontend.spread import MOST_WEIGHTS, ungrouped
from qsnnc.frontend.tensors import Accumulator
from qsnnc.ir.layers import Connection, Int, reachable

#: the tensor of all heads' values
HEADS = "qsnnc.heads"


def side_by_side(heads: Sequence[Accumulator], name: str) -> Accumulator | None:
    """All heads as one; its tensor has the elements of theirs, one after the other. None where that takes too much."""
    if len({head.shape[1:] for head in heads}) > 1:
        if sum(map(_written, heads)) > MOST_WEIGHTS:
            return None
        heads = [_by_feature(head) for head in heads]
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


def taken_apart(model: Model, heads: Mapping[str, Accumulator]) -> Model:
    """The model in which the heads' tensors are made of the tensor of all their values."""
    from onnx import helper

    constants, shapes, made = dict(model.constants), dict(model.shapes), []
    start = 0
    for name, head in heads.items():
        shape, kind = model.shapes[name], model.kinds.get(name, 1)
        places, sizes = f"{HEADS}.{name}.places", f"{HEADS}.{name}.sizes"
        constants[places] = np.arange(start, start + head.layout.size)
        constants[sizes] = np.array([-1, *shape], np.int64)
        start += head.layout.size
        chain = [
            helper.make_node("Gather", [HEADS, places], [f"{HEADS}.{name}.flat"], axis=1),
            helper.make_node("Reshape", [f"{HEADS}.{name}.flat", sizes], [f"{HEADS}.{name}"]),
            helper.make_node("Cast", [f"{HEADS}.{name}"], [name], to=kind if model.whole(name) else 1),
        ]
        made += [Node(f"{HEADS}.{name}", p.op_type, tuple(p.input), tuple(p.output), {}, p) for p in chain]
    shapes[HEADS] = (start,)
    rest = [node for node in model.nodes if not heads.keys() & set(node.outputs)]
    return replace(model, nodes=(*made, *rest), constants=constants, shapes=shapes)


def _written(head: Accumulator) -> int:
    """Weights of a head that is written out feature by feature."""
    return int(np.prod(head.shape)) * sum(head.sources[link.source].features for link in head.connections)


def _by_feature(head: Accumulator) -> Accumulator:
    """Channel o at position p becomes output o * positions + p."""
    border = head.border.reshape(-1)
    links = tuple(_matrix(link, head) for link in head.connections)
    shape = (head.shape[0] * border.size, 1, 1)
    whole = np.zeros((1, 1), np.int64)
    return replace(
        head,
        shape=shape,
        connections=links,
        scale=head.scale[border].T.reshape(1, -1),
        offset=head.offset[border].T.reshape(1, -1),
        border=whole,
        reach=span(reachable(links, head.sources, shape), whole),
        exact=head.exact.repeat(border.size),
        grid=head.grid.repeat(border.size),
        magnitude=head.magnitude.repeat(border.size),
    )


def _matrix(link: Connection, head: Accumulator) -> Connection:
    """A convolution as a matrix on all features of its source."""
    channels, rows, columns = head.shape
    source = head.sources[link.source].shape
    weights = ungrouped(link.weights, link.groups, source[0]).reshape(channels, source[0], -1)
    taps: Int = link.taps(source[1:], (rows, columns))
    full = np.zeros((channels, len(taps), source[0], source[1] * source[2]), np.int64)
    for tap in range(taps.shape[1]):  # at one tap, no two windows read the same position
        at = np.flatnonzero(taps[:, tap] >= 0)
        full[:, at, :, taps[at, tap]] += weights[:, :, tap]
    return Connection(link.source, full.reshape(-1, *source))
