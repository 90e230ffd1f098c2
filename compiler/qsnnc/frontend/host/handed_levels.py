"""Hand levels over to the host: the readout of a network whose last linear layer the host computes, or that ends in levels.

Each neuron of the output layer adds up the spikes of one feature, so that its potential is the feature's level. The host
looks up the float that the model has for a level, so that the operators behind it read the model's own values, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qsnnc.frontend.linear.add import read_levels
from qsnnc.frontend.linear.tensors import F64, Accumulator, Part, Quantized
from qsnnc.frontend.model.model import Node
from qsnnc.ir.layers import Int


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The model's value of each level of each feature: ``table[first + level]``."""

    first: Int  # (features,)
    most: Int  # (features,): the largest level
    table: F64

    @staticmethod
    def joined(several: Sequence[Values]) -> Values:
        """Return the values of several tensors, one tensor's features after the other's."""
        starts = np.cumsum([0, *(len(values.table) for values in several[:-1])])
        return Values(
            np.concatenate([values.first + start for values, start in zip(several, starts, strict=True)]),
            np.concatenate([values.most for values in several]),
            np.concatenate([values.table for values in several]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What the host computes an output from: potentials, and the values that they stand for if they are levels."""

    sums: Accumulator
    values: Values | None = None
    on_line: bool = True  # whether scale * potential + offset is the model's value of every level, to the bit


def hand_over(node: Node, tensor: Quantized, name: str, kind: str) -> Head:
    """Return a tensor's levels as potentials, with the model's values.

    The sums have a scale and an offset as well, for a host that needs no table, and for heads of which some are potentials.
    """
    plain = Quantized(tuple(map(_plain, tensor.parts)), tensor.index, np.zeros_like(tensor.fixed))
    found = read_levels(node, plain, name)
    values = _values(tensor)
    features = int(np.prod(found.shape))
    owner = np.append(np.repeat(np.arange(len(tensor.parts)), np.diff(tensor.starts)), np.full(len(tensor.fixed), -1))
    assert len(owner) >= features, "constants have features of their own only where they were asked for"
    channel = owner[:features].reshape(found.shape[0], -1)[:, 0]
    scale = np.array([*(part.scale for part in tensor.parts), 1.0])[channel]
    offset = np.array([*(part.scale * part.zero_point for part in tensor.parts), 0.0])[channel]
    offset[channel < 0] = tensor.fixed[: int((channel < 0).sum())]
    on_line = np.array([*map(_on_line, tensor.parts), True])[channel]
    known = np.array([*(not part.slack for part in tensor.parts), True])[channel]
    sums = replace(
        found,
        kind=kind,
        scale=np.broadcast_to(scale, found.scale.shape).copy(),
        offset=np.broadcast_to(offset, found.offset.shape).copy(),
        exact=known,
    )
    values = replace(values, first=values.first[:features], most=values.most[:features])
    return Head(sums, values, bool(on_line.all()))


def _plain(part: Part) -> Part:
    """Return the population's levels as the values."""
    return replace(part, scale=1.0, zero_point=0.0, values=np.arange(len(part.values), dtype=np.float64), slack=0)


def _on_line(part: Part) -> bool:
    """Return whether scale * (level + zero point), rounded to float32, is the model's value of every level."""
    return bool((part.said.astype(np.float32) == part.values.astype(np.float32)).all())


def _values(tensor: Quantized) -> Values:
    """Return the values of all features, those of the constants last."""
    sizes = [part.population.features for part in tensor.parts]
    starts = np.cumsum([0, *(len(part.values) for part in tensor.parts)])
    first = np.append(np.repeat(starts[:-1], sizes), starts[-1] + np.arange(len(tensor.fixed)))
    most = np.append(
        np.repeat([len(part.values) - 1 for part in tensor.parts], sizes), np.zeros(len(tensor.fixed), np.int64)
    )
    table = np.concatenate([*(part.values for part in tensor.parts), tensor.fixed])
    return Values(first.astype(np.int64), most.astype(np.int64), table)
