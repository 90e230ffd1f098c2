"""Operators with random or batch-dependent results are refused."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, stem

from qsnnc import ModelError, verify


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "outputs"),
    [
        ("BatchNormalization", [[1.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3], {"training_mode": 1}, ["mean", "var"]),
        ("Dropout", [0.5, True], {}, []),
        ("RandomNormalLike", [], {}, []),
    ],
)
def test_training_and_random_operators_are_refused(op, inputs, attributes, outputs, save) -> None:
    """torch exports a model left in training mode as it is."""
    net = stem(channels=3)
    values = [np.asarray(value, bool if value is True else np.float32) for value in inputs]
    net.node(op, "odd", *(net.const(f"odd.{n}", value) for n, value in enumerate(values)), **attributes)
    net.nodes[-1].output.extend(outputs)
    net.quantize("q", 1, 3)
    with pytest.raises(ModelError, match=f"^odd: {op}.*model.eval") as refusal:
        verify(save(finish(net, (3, 6, 6)).model()))
    assert refusal.value.code == "model-chance"


@pytest.mark.slow
def test_dropout_with_ratio_zero_is_allowed(save) -> None:
    net = stem(channels=3)
    net.node("Dropout", "drop", net.const("ratio", np.float32(0)), net.const("mode", np.array(True)))
    equal(finish(net, (3, 6, 6)), save)
