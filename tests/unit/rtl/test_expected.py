"""What the SystemVerilog is compared with is what chipsim's profile counts and what a chip without frames does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.format_reader import read
from support.hand_mappings import relayed, two_cores
from support.streaming import stream as literal_stream
from support.timed_maps import fired, timed_map

from chipsim.engine.host import load_host
from chipsim.mapping import write_mapping
from chipsim.timing.profile import profile

sys.path.append(str(Path(__file__).resolve().parents[3] / "rtl"))

import expected

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_ticks_take_as_long_as_the_profile_says(seed: int) -> None:
    mapping, data = timed_map(np.random.default_rng(seed))
    mapping = replace(mapping, chip=mapping.chip.model_copy(update={"ports": mapping.chip.ports[:1]}))
    found = profile(mapping, data, timing_limit=len(data))
    alone = expected.alone(mapping, fired(mapping, data))
    assert alone.lengths.tolist() == found.tick_cycles.ravel().tolist()
    # the frames in a circle: from tick `ticks - 1` of a stream on, every layer is at work on one of them
    encoder = np.ascontiguousarray(load_host(mapping).spikes(data.images).T)
    rounds = np.concatenate([encoder] * (1 + mapping.ticks // len(encoder) + 1))
    flow = expected.stream(mapping, rounds)
    full = np.arange(mapping.ticks - 1, len(rounds))
    intervals = found.stream_increments.sum(axis=1)
    assert flow.lengths[full].tolist() == intervals[full % len(encoder)].tolist()


@pytest.mark.parametrize("make", [two_cores, relayed])
def test_a_stream_is_that_of_a_chip_that_knows_no_frames(tmp_path: Path, make) -> None:
    mapping = make().build()
    encoder = np.random.default_rng(0).integers(0, 2, (6, mapping.encoder_neurons)).astype(np.uint8)
    write_mapping(mapping, tmp_path / "m.map")
    wanted = literal_stream(read(str(tmp_path / "m.map")), encoder[:, None])
    found = expected.stream(mapping, encoder).updates
    spikes = np.zeros((len(encoder) + mapping.ticks - 1, mapping.neurons), bool)
    spikes[found[:, 0], found[:, 1]] = found[:, 4]
    np.testing.assert_array_equal(spikes, wanted.fired[: len(spikes), mapping.encoder_neurons :])
