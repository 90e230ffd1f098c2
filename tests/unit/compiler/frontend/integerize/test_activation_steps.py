"""Blocks of potentials show the same steps, and the same doubts, as every potential looked at alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.against_reference import finish, stem, turning

from qsnnc import read_layers
from qsnnc.frontend.integerize import activation_steps
from qsnnc.ir.layers import Layer

FIELDS = ("channel", "border_class", "level", "bound", "count")


def turned(save, op: str, seed: int, *, round_sums: bool, pads: int) -> Path:
    """Sums of thousands of potentials, some channels of which fall, below an activation of a hundred levels."""
    rng = np.random.default_rng(seed)
    net = stem()
    weights = rng.integers(-60, 61, (4, 3, 3, 3)) / (60.0 if round_sums else 64.0)
    bias = rng.normal(0, 1, 4) if round_sums else rng.integers(-64, 65, 4) / 64
    net.conv("conv", weights, bias, pads=[pads] * 4)
    turning(net, "act", op, scale=float(rng.choice([0.125, 0.1, 0.031])), low=-40, high=60)
    return save(finish(net).model(opset=20))


def layers_of(path: Path) -> list[Layer]:
    return [layer for layer in read_layers(path).layers if layer.name.startswith("conv")]


@pytest.mark.slow
@pytest.mark.parametrize("round_sums", [False, True])
@pytest.mark.parametrize(("op", "pads"), [("SiLU", 1), ("HardSwish", 0), ("Gelu", 1), ("Mish", 0), ("Abs", 1)])
@pytest.mark.parametrize(("block", "at_once"), [(64, 1 << 19), (16, 1 << 10), (100, 64)])
def test_blocks_are_their_potentials(save, monkeypatch, op, pads, round_sums, block, at_once) -> None:
    path = turned(save, op, block, round_sums=round_sums, pads=pads)
    monkeypatch.setattr(activation_steps, "BLOCK", block)
    monkeypatch.setattr(activation_steps, "AT_ONCE", at_once)
    found = layers_of(path)
    monkeypatch.setattr(activation_steps, "BLOCK", 1)
    alone = layers_of(path)
    assert [layer.name for layer in found] == [layer.name for layer in alone] == ["conv", "conv.falls"]
    assert max(int(np.ptp(layer.reach, axis=2).max()) for layer in alone) > 10 * block
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one.thresholds, other.thresholds)
        assert all(np.array_equal(getattr(one.uncertain, name), getattr(other.uncertain, name)) for name in FIELDS)
    assert op != "SiLU" or not round_sums or any(layer.uncertain for layer in alone)


def test_few_potentials_are_evaluated(save, monkeypatch) -> None:
    looked_at = []
    evaluated = activation_steps._Evaluation.one_by_one

    def counted(self: activation_steps._Evaluation, potential: np.ndarray) -> object:
        looked_at.append(potential.size)
        return evaluated(self, potential)

    monkeypatch.setattr(activation_steps, "BLOCK", 8)
    monkeypatch.setattr(activation_steps._Evaluation, "one_by_one", counted)
    path = turned(save, "SiLU", 0, round_sums=True, pads=0)
    (first, *_) = layers_of(path)
    assert 0 < sum(looked_at) < (np.ptp(first.reach, axis=2) + 1).sum() / 3
