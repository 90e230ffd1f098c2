"""Random networks built by hand: both engines and a plain NumPy evaluation agree."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import chipsim


@given(st.integers(0, 2**32 - 1))
def test_both_engines_compute_what_was_built(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = chipsim.MappingBuilder("mini")
    features, levels = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    images = rng.integers(0, levels + 1, (5, features)).astype(np.uint8)
    group = net.input(features, levels)
    fired = (images[:, :, None] > np.arange(levels)).reshape(5, -1).astype(int)  # (images, neurons)
    known, sent = [group], [fired]
    for number in range(int(rng.integers(1, 4))):
        last = slice(-2, None)  # groups that a delay of the chip reaches
        sources, bits = known[last][0], np.concatenate(sent[last], axis=1)
        for other in known[last][1:]:
            sources = sources + other
        pick = rng.integers(0, len(sources), int(rng.integers(1, 20)))
        neurons = int(rng.integers(2, 7))
        weights, thresholds = rng.integers(-4, 4, (len(pick), neurons)), rng.integers(-3, 6, neurons)
        layer = net.layer(f"layer{number}", neurons)
        half = neurons // 2  # two cores, the second half of the neurons first
        order = np.roll(np.arange(neurons), half)
        for part in np.array_split(order, 2):
            net.core(layer, sources[pick], weights[:, part], thresholds[part], elements=part.tolist())
        known.append(layer)
        sent.append((bits[:, pick] @ weights >= thresholds).astype(int))
    weights = rng.integers(-8, 8, (len(known[-1]), 3))
    net.core(net.readout("scores", 3, scale=0.25), known[-1], weights)
    mapping, data = net.build(), chipsim.Dataset("random", "test", images)
    for engine in ("fast", "reference"):
        result = chipsim.run(mapping, data, engine=engine, threads=1)
        assert (result.potentials == sent[-1] @ weights).all()
        assert (result.scores == 0.25 * result.potentials).all()
        assert result.spikes == sum(int(fired.sum()) for fired in sent[1:])
        assert result.encoder_spikes == int(sent[0].sum())
