"""Branches of different depth carry the same frame: frame by frame, and in stream order with an image a tick."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import format_reader
from support.branching import Branches, branching
from support.streaming import stream
from test_equality import assert_same, compiled, reference

import chipsim
from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset
from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare
from qsnnc import compile_model

steps = st.tuples(st.sampled_from(["conv", "point", "pool", "add", "add", "cat"]), st.integers(0, 1), st.integers(0, 6))
networks = st.builds(
    Branches,
    size=st.integers(3, 5),
    channels=st.integers(1, 3),
    levels=st.integers(1, 3),
    steps=st.lists(steps, min_size=2, max_size=9).map(tuple),
    seed=st.integers(0, 2**32 - 1),
    odd=st.booleans(),
)


def roomy(max_delay: int, **changes: object) -> ChipSpec:
    """Mini's rules with room, so that only the delay bites."""
    room = {"grid": (30, 30), "max_fold": 16, "targets": 600, "potential_bits": 16, "threshold_bits": 15}
    return load_chip("mini").model_copy(update={**room, "max_delay": max_delay, **changes})


def images_for(recipe: Branches, count: int) -> np.ndarray:
    return np.random.default_rng(recipe.seed).integers(0, 256, (count, recipe.size, recipe.size)).astype(np.uint8)


def assert_streams(mapping: Mapping, images: np.ndarray) -> None:
    """In stream order every source sends frame n in tick n + its own, and frame n's potentials come out in theirs."""
    frames = load_host(mapping).spikes(prepare(images, mapping.input, "random"))
    spikes, potentials = load(mapping).step(frames)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.map"
        chipsim.write_mapping(mapping, path)
        seen = stream(format_reader.read(str(path)), frames.T[:, None].astype(bool))
    owner = np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset))
    ticks = np.array([layer.tick for layer in mapping.layers])
    tick = np.concatenate([np.zeros(mapping.encoder_neurons, int), ticks[owner]])
    for frame in range(len(images)):
        np.testing.assert_array_equal(seen.fired[frame + tick, np.arange(len(tick))], spikes[:, frame])
        out = next(layer.tick for layer in mapping.layers if layer.levels == 0)
        np.testing.assert_array_equal(seen.potentials[frame + out], potentials[frame])


@pytest.mark.slow
@settings(max_examples=30)
@given(networks, st.integers(1, 4))
def test_an_image_a_tick_gives_what_an_image_at_a_time_gives(recipe: Branches, max_delay: int) -> None:
    model = branching(recipe)
    done = compiled(model, roomy(max_delay))
    assume(done.fits)
    images = images_for(recipe, 5)
    assert_streams(done.mapping, images)
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None), threads=1)
    np.testing.assert_array_equal(result.scores, reference(model, images))


@pytest.mark.slow
@settings(max_examples=25)
@given(networks, st.integers(1, 3), st.booleans())
def test_relays_change_no_count_of_the_network(recipe: Branches, max_delay: int, keep_dead: bool) -> None:
    """Spikes, SOPs and paper SOPs are the same with short delays; relays are the fewest, and counted apart."""
    data = Dataset("random", "test", images_for(recipe, 6), None)
    model = branching(recipe)
    chips = roomy(max_delay), roomy(15), load_chip("xbar1152")
    done = [compiled(model, chip, keep_dead=keep_dead) for chip in chips]
    assume(all(one.fits for one in done))
    short, *rest = results = [chipsim.run(one.mapping, data, noise=0.1, seed=4, per_image=True) for one in done]
    for other in rest:
        np.testing.assert_array_equal(short.potentials, other.potentials)
        np.testing.assert_array_equal(short.image_spikes, other.image_spikes)
        np.testing.assert_array_equal(short.image_paper_sops, other.image_paper_sops)
        for name in ("spikes", "sops", "encoder_spikes", "paper_sops", "ticks_per_image"):
            assert getattr(short, name) == getattr(other, name), name
        own = [(layer.name, layer.spikes, layer.sops) for layer in other.layers]
        kinds = {layer.name: layer.kind for layer in done[0].mapping.layers}
        assert [(e.name, e.spikes, e.sops) for e in short.layers if kinds[e.name] != "relay"] == own
        assert other.relay_spikes == other.relay_sops == 0
    for result, one in zip(results, done, strict=True):
        for parts in (result.cores, result.layers):
            assert sum(part.spikes for part in parts) == result.spikes
            assert sum(part.sops for part in parts) == result.sops
        assert sum(core.axon_events for core in result.cores) == result.axon_events == result.packets
        assert_fewest_relays(one.mapping, rest[0], one.chip.max_delay)


def assert_fewest_relays(mapping: Mapping, unlimited, max_delay: int) -> None:
    """For each source as many relays as its most distant reader needs, none twice, and in them no neuron that is not read."""
    names = ["", *(layer.name for layer in mapping.layers)]
    kind = {layer.name: layer.kind for layer in mapping.layers}
    owner = np.concatenate(
        [[0] * mapping.encoder_neurons, 1 + np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset))]
    )
    links = {
        (names[owner[s]], names[1 + mapping.core_layer[c]])
        for c in range(mapping.cores)
        for s in mapping.axon_source[mapping.axon_offset[c] : mapping.axon_offset[c + 1]]
    }
    relayed = {name for name, its in kind.items() if its == "relay" and any(name in link for link in links)}
    for relay in relayed:
        (source,) = {a for a, b in links if b == relay}
        ahead = [b for a, b in links if a == relay]
        tick = {"": 0, **{layer.name: layer.tick for layer in mapping.layers}}
        assert tick[relay] - tick[source] == max_delay  # as far as it goes
        assert ahead  # something reads it
        assert sum(kind[b] == "relay" for b in ahead) <= 1  # one chain a source
        assert max(tick[b] for b in ahead) > tick[source] + max_delay  # and cannot do without
    entries = np.diff(mapping.target_offset)[mapping.encoder_neurons :]
    held = np.repeat(mapping.relay_cores, np.diff(mapping.neuron_offset))
    if not any(layer.removed for layer in mapping.layers):
        return
    assert (entries[held] > 0).all()


@pytest.mark.slow
def test_a_residual_by_hand(tmp_path: Path) -> None:
    """One operand three ticks longer on a chip that delays by one: three relays of those neurons that the addition reads."""
    steps = (("point", 0, 0), ("point", 0, 0), ("point", 0, 0), ("add", 0, 3))
    path = tmp_path / "net.onnx"
    path.write_bytes(branching(Branches(3, 2, 2, steps, 7, odd=False)).SerializeToString())
    for max_delay, ticks in ((1, [1, 2, 3]), (2, [2]), (3, [3]), (4, [])):
        done = compile_model(path, roomy(max_delay), keep_dead=True)
        relays = [layer for layer in done.mapping.layers if layer.kind == "relay"]
        assert [layer.tick for layer in relays] == ticks
        assert [layer.name for layer in relays] == [f"stem_relay{n + 1}" for n in range(len(ticks))]
        assert all(layer.neurons == layer.synapses == 2 * 9 * 2 for layer in relays)
        assert all((layer.fan_in, layer.weight_bits, layer.removed) == (1, 1, 0) for layer in relays)
        images = np.random.default_rng(0).integers(0, 256, (4, 3, 3)).astype(np.uint8)
        result = chipsim.run(done.mapping, Dataset("random", "test", images, None))
        sent = result.encoder_spikes
        assert (result.relay_spikes, result.relay_sops) == (sent * len(ticks), sent * len(ticks))
        # what the chip does, relays included: one-bit relays beside two-bit layers
        width = {layer.name: layer.weight_bits for layer in done.mapping.layers}
        own = sum(layer.sops * width[layer.name] for layer in result.layers)
        assert result.column_operations == own + result.relay_sops


@pytest.mark.slow
@settings(max_examples=12)
@given(networks, st.integers(1, 2))
def test_the_reader_of_the_page_agrees_on_relays(recipe: Branches, max_delay: int) -> None:
    done = compiled(branching(recipe), roomy(max_delay))
    assume(done.fits)
    images = images_for(recipe, 2)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.map"
        chipsim.write_mapping(done.mapping, path)
        mine = chipsim.run(path, Dataset("random", "test", images, None))
        theirs = format_reader.execute(format_reader.read(str(path)), images)
    assert_same(mine, theirs)
    assert (mine.relay_spikes, mine.relay_sops) == (theirs.relay_spikes, theirs.relay_sops)
    assert mine.column_operations == theirs.column_operations


def test_a_delay_that_is_wrong_shows_in_the_stream(tmp_path: Path) -> None:
    """The oracle is one: a spike a tick late makes another frame of it."""
    steps = (("conv", 0, 0), ("conv", 0, 0), ("add", 0, 2))
    path = tmp_path / "net.onnx"
    path.write_bytes(branching(Branches(4, 2, 2, steps, 3, odd=False)).SerializeToString())
    mapping = compile_model(path, roomy(3)).mapping
    images = np.random.default_rng(1).integers(0, 256, (5, 4, 4)).astype(np.uint8)
    assert_streams(mapping, images)
    late = mapping.target_delay.copy()
    late[np.flatnonzero(late == 3)] = 2
    chipsim.write_mapping(mapping, tmp_path / "right.map")
    program = format_reader.read(str(tmp_path / "right.map"))
    frames = load_host(mapping).spikes(prepare(images, mapping.input, "random")).T[:, None].astype(bool)
    right = stream(program, frames).potentials
    wrong = stream(replace(program, arrays={**program.arrays, "target_delay": late}), frames).potentials
    assert not np.array_equal(right, wrong)
