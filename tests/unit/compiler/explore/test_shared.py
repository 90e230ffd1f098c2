"""What chips share is made once, and nobody can tell: compilations and timings are those of a plain compile."""

from __future__ import annotations

import random
from dataclasses import fields
from itertools import product

import numpy as np
import pytest
from support.places import ROOT

from chipsim import profile
from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset, load_dataset
from chipsim.mapping import Mapping
from chipsim.mapping.write import to_bytes
from chipsim.timing.profile import replay
from qsnnc.explore.shared import Shared
from qsnnc.explore.space import merged
from qsnnc.ir.cores import CoreLayer
from qsnnc.pipeline import check_layers, read_layers

MINI = load_chip("mini").model_dump(mode="json") | {"provenance": {}}
KEYS = {
    "axons": [8, 64, 256],  # on the first, a neuron fits no core
    "columns": [64, 128],
    "grid": [[1, 1], [3, 3], [4, 8], [8, 8], [46, 46]],  # the last is beyond what is laid out whether it fits or not
    "ports": [[[0, 0]], [[0, 0], [0, 2]]],
    "dead_links": [[], [[[0, 0], [1, 0]]]],
    "targets": [64, 4096],
    "timing.router_cycles": [1, 3],
    "timing.multicast": [False, True],
    "timing.word_bits": [8, 64],
    "clock_mhz": [100.0, 200.0],
    "energy.hop_pj": [1.0, 2.0],
}


def chips(count: int, seed: int) -> list[ChipSpec]:
    """Chips that differ in one key or several from one before."""
    rng, found = random.Random(seed), []
    values = {key: rng.choice(each) for key, each in KEYS.items()}
    while len(found) < count:
        for key in rng.sample(list(KEYS), rng.choice([1, 1, 2, 5])):
            values[key] = rng.choice(KEYS[key])
        ports = values["grid"][1] > max(y for _, y in values["ports"])
        if ports and (1 < values["grid"][0] < 40 or not values["dead_links"]):
            found.append(ChipSpec.model_validate(merged(MINI, values) | {"name": "chip"}))
    return found


def counted(entry: CoreLayer) -> dict[str, object]:
    return {each.name: getattr(entry, each.name) for each in fields(entry) if each.name != "layer"}


@pytest.mark.slow
def test_chips_that_share_are_compiled_and_timed_as_if_they_were_alone() -> None:
    graph, shared = read_layers(ROOT / "models" / "tiny.onnx"), Shared()
    images = Dataset("digits", "test", load_dataset("digits").images[:3])
    fits = 0
    for chip in chips(24, seed=1):
        plain, found = check_layers(graph, chip), shared.compiled("tiny", graph, chip)
        assert (found.violations, found.chip) == (plain.violations, chip)
        assert [counted(entry) for entry in found.layers] == [counted(entry) for entry in plain.layers]
        assert set(found.seconds) >= set(plain.seconds)
        assert found.fits == plain.fits
        if not found.fits:
            assert found.estimated == plain.estimated
            continue
        fits += 1
        assert isinstance(found.mapping, Mapping)
        assert isinstance(plain.mapping, Mapping)
        assert to_bytes(found.mapping) == to_bytes(plain.mapping)
        one = profile(plain.mapping, images, timing_limit=3, threads=1)
        other = replay(shared.plan("tiny", graph, chip), shared.spikes("tiny", graph, chip, images, "three"))
        for name in ("cycles", "interval_cycles", "parts", "models", "stream_models", "sample"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert one.busiest_link == other.busiest_link
    assert 8 <= fits <= 20


@pytest.mark.slow
def test_a_chip_that_is_far_too_small_is_refused_by_bounds_for_a_reason_that_compile_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qsnnc.partition.layout.costly", lambda _: True)
    graph, shared, refused = read_layers(ROOT / "models" / "tiny.onnx"), Shared(), 0
    for chip in chips(20, seed=2):
        plain, found, alone = check_layers(graph, chip), shared.compiled("tiny", graph, chip), Shared()
        again = alone.compiled("tiny", graph, chip)
        assert (found.fits, found.violations, found.cores) == (plain.fits, again.violations, again.cores)
        assert found.cores_bound <= plain.cores_bound <= plain.cores
        if set(found.seconds) != {"bound"}:
            assert found.violations == plain.violations
            continue
        refused += 1
        assert chip.cores < found.cores <= plain.cores
        reasons = {(each.code, each.layer, each.allowed) for each in plain.violations}
        assert {(each.code, each.layer, each.allowed) for each in found.violations} <= reasons
    assert refused > 2


def test_what_is_shared_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from qsnnc.explore import shared as module

    made = {"lay_out": 0, "plan": 0}
    for name in made:

        def counted(*given, name=name, plain=getattr(module, name), **named):
            made[name] += 1
            return plain(*given, **named)

        monkeypatch.setattr(module, name, counted)
    graph, shared = read_layers(ROOT / "models" / "tiny.onnx"), Shared()
    for grid, ports, cycles in product([[8, 8], [6, 6], [1, 1]], [[[0, 0]], [[0, 0], [0, 1]]], [1, 2, 3]):
        values = {"grid": grid, "ports": ports[: grid[1]], "timing.router_cycles": cycles, "columns": 64, "axons": 64}
        chip = ChipSpec.model_validate(merged(MINI, values) | {"name": "chip"})
        if shared.compiled("tiny", graph, chip).fits:
            shared.plan("tiny", graph, chip)
    assert made == {"lay_out": 1, "plan": 4}
