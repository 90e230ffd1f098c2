"""What counts as a SOP is decided in one function: both engines follow it, and what a file says does not."""

from __future__ import annotations

import numpy as np
import pytest

import chipsim
from chipsim.engine import count
from chipsim.engine.fast import merge
from chipsim.mapping.totals import totals


def small() -> chipsim.Mapping:
    net = chipsim.MappingBuilder("mini")
    image = net.input(3, levels=2)
    hidden = net.layer("hidden", 3)
    net.core(hidden, image, [[1, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 1, 0], [-1, 1, 0]], thresholds=[1, 1, 2])
    net.core(net.readout("scores", 2), hidden, [[3, 0], [0, 4], [1, 1]])
    return net.build()


IMAGES = chipsim.Dataset("by hand", "test", np.array([[2, 1, 0], [0, 2, 2], [2, 2, 2]], np.uint8))


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_another_definition_of_a_sop_changes_the_sops_and_nothing_else(engine, monkeypatch) -> None:
    mapping = small()
    before = chipsim.run(mapping, IMAGES, engine=engine, threads=1)
    described = totals(mapping)
    for module in (count, merge):
        monkeypatch.setattr(module, "axon_sops", lambda crossbar: np.full(len(crossbar), crossbar.shape[1], np.int64))
    after = chipsim.run(mapping, IMAGES, engine=engine, threads=1)
    widths = [3, 2]  # zero weights too: every neuron of the core
    assert [core.sops for core in after.cores] == [
        core.axon_events * width for core, width in zip(before.cores, widths, strict=True)
    ]
    assert after.sops > before.sops
    assert after.spikes == before.spikes
    np.testing.assert_array_equal(after.scores, before.scores)
    assert totals(mapping) == described
