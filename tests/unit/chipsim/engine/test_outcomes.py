"""Which images a network takes for what, counted block by block."""

from __future__ import annotations

import numpy as np
import pytest

from chipsim.engine import outcomes


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_outcomes_do_not_depend_on_the_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(block)
    labels, predictions = rng.integers(0, 5, 50), rng.integers(-2, 4, 50)
    scores = rng.integers(-3, 3, (50, 5)).astype(np.float32)  # ties, which the earlier image wins
    monkeypatch.setattr(outcomes, "BLOCK", block)
    pairs = list(zip(labels.tolist(), predictions.tolist(), strict=True))
    assert outcomes.confusion(labels, predictions) == [[*pair, pairs.count(pair)] for pair in sorted(set(pairs))]
    margins = [
        row[own] - max(score for at, score in enumerate(row) if at != own)
        for row, own in zip(scores.tolist(), labels.tolist(), strict=True)
    ]
    order = sorted(range(50), key=lambda image: (margins[image], image))[:10]
    found = outcomes.worst(labels, predictions, scores)
    assert [(each["image"], each["margin"]) for each in found] == [(image, margins[image]) for image in order]
    assert outcomes.worst(labels, predictions, scores[:, :1]) == []
