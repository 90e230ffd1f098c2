"""Networks of several steps: the interpreter, the compiler and both engines against a plain interpreter, spike for spike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import format_reader
from support.stepping import Recipe, draw, frames_of, interpret
from support.streaming import stream
from test_engines import check_equal
from test_faults import check_same, ran, random_faults

import chipsim
from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset
from chipsim.engine.engines import ReferenceEngine
from chipsim.engine.fast.engine import load_fast
from chipsim.engine.fast.native import Code
from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.faults import inflict
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare
from qsnnc import compile_layers
from qsnnc.errors import DoesNotFit
from qsnnc.ir.execute import execute_steps, read_out
from qsnnc.ir.layers import LayerGraph

recipes = st.builds(
    Recipe,
    steps=st.integers(1, 6),
    layers=st.integers(1, 5),
    code=st.sampled_from(["direct", "spikes"]),
    readout_of=st.sampled_from(["last", "largest", "count"]),
    seed=st.integers(0, 2**32 - 1),
)


def roomy(**changes: object) -> ChipSpec:
    """xbar1152's rules on small cores, so that layers take several, and short delays, so that there are relays."""
    chip = load_chip("xbar1152")
    return chip.model_copy(update={"axons": 24, "columns": 24, "max_delay": 2, "targets": 400, **changes})


def written(mapping: Mapping) -> format_reader.Program:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.map"
        chipsim.write_mapping(mapping, path)
        return format_reader.read(str(path))


def compiled(graph: LayerGraph, chip: ChipSpec, **options: object):
    try:
        return compile_layers(graph, chip, **options)
    except DoesNotFit:
        assume(False)
        raise


@settings(max_examples=100, deadline=None)
@given(recipes)
def test_the_interpreter_is_the_plain_one(recipe: Recipe) -> None:
    graph = draw(recipe)
    frames = frames_of(graph, 3, recipe.seed)
    shaped = frames if recipe.code == "spikes" else frames[:, None]
    found = execute_steps(graph, shaped.astype(np.int64))
    outputs = read_out(graph, found)
    for number, frame in enumerate(frames):
        plain = interpret(graph, frame)
        for entry in (graph.encoder, *graph.layers):
            np.testing.assert_array_equal(found[entry.name][number].reshape(graph.steps, -1), plain[entry.name], entry.name)
        np.testing.assert_array_equal(outputs[number], plain[""])


@settings(max_examples=60, deadline=None)
@given(recipes, st.integers(1, 3), st.booleans())
def test_the_chip_is_the_interpreter(recipe: Recipe, max_delay: int, keep_dead: bool) -> None:
    graph = draw(recipe)
    frames = frames_of(graph, 4, recipe.seed)
    shaped = frames if recipe.code == "spikes" else frames[:, None]
    done = compiled(graph, roomy(max_delay=max_delay), keep_dead=keep_dead)
    expected = read_out(graph, execute_steps(graph, shaped.astype(np.int64)))
    result = chipsim.run(done.mapping, Dataset("random", "test", frames, None), engine="reference")
    np.testing.assert_array_equal(result.potentials, expected)


@settings(max_examples=30, deadline=None)
@given(recipes, st.integers(1, 3))
def test_a_reader_of_the_file_alone_gives_the_same(recipe: Recipe, max_delay: int) -> None:
    graph = draw(recipe)
    frames = frames_of(graph, 3, recipe.seed)
    mapping = compiled(graph, roomy(max_delay=max_delay)).mapping
    result = chipsim.run(mapping, Dataset("random", "test", frames, None), engine="reference", noise=0.2, seed=3)
    read = format_reader.execute(written(mapping), frames, 0.2, 3)
    np.testing.assert_array_equal(result.potentials, read.potentials)
    np.testing.assert_array_equal([core.sops for core in result.cores], read.core_sops)
    np.testing.assert_array_equal([core.spikes for core in result.cores], read.core_spikes)
    np.testing.assert_array_equal([core.axon_events for core in result.cores], read.core_events)
    assert (result.encoder_spikes, result.packets, result.relay_spikes, result.relay_sops, result.column_operations) == (
        read.encoder_spikes, read.packets, read.relay_spikes, read.relay_sops, read.column_operations
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(recipes, st.integers(1, 3))
def test_frames_that_follow_one_another_do_not_meet(recipe: Recipe, max_delay: int) -> None:
    """On a chip that knows of a frame only when its potentials are to be reset, every spike is that of the frame alone."""
    graph = draw(recipe)
    mapping = compiled(graph, roomy(max_delay=max_delay)).mapping
    sent = load_host(mapping).frames(frames_of(graph, 3, recipe.seed))
    spikes, potentials = load(mapping).run(sent)
    seen = stream(written(mapping), sent.transpose(2, 0, 1).astype(bool))
    layer = np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset))
    ticks, delays = (
        np.concatenate([np.zeros(mapping.encoder_neurons, int), np.array(values)[layer]])
        for values in ([e.tick for e in mapping.layers], [e.tick - e.sent_tick for e in mapping.layers])
    )
    out = mapping.layers[mapping.readout].tick
    for frame in range(3):
        for step in range(mapping.steps):
            sent_in = np.minimum(step + delays, mapping.steps - 1)  # one that is held back was sent by nobody
            expected = spikes[sent_in, np.arange(len(ticks)), frame] * (step + delays < mapping.steps)
            at = frame * mapping.steps + step + ticks
            np.testing.assert_array_equal(seen.fired[at, np.arange(len(ticks))], expected)
        read = seen.potentials[frame * mapping.steps + out :][: mapping.steps]
        whole = {"count": read.sum(0), "largest": read.max(0)}.get(mapping.readout_of, read[-1])
        np.testing.assert_array_equal(whole, potentials[frame])


@settings(max_examples=60, deadline=None)
@given(recipes, st.integers(1, 3), st.integers(1, 70), st.sampled_from([0.0, 0.3]), st.booleans())
def test_the_fast_engine_is_the_reference(recipe: Recipe, max_delay: int, count: int, noise: float, keep_dead: bool) -> None:
    graph = draw(recipe)
    mapping = compiled(graph, roomy(max_delay=max_delay), keep_dead=keep_dead).mapping
    frames = prepare(frames_of(graph, count, recipe.seed), mapping.input, "random", mapping.steps)
    check_equal(mapping, frames, noise)


@settings(max_examples=40, deadline=None)
@given(recipes, st.integers(1, 3), st.integers(1, 70))
def test_the_engines_agree_under_faults(recipe: Recipe, max_delay: int, count: int) -> None:
    rng = np.random.default_rng(recipe.seed)
    graph = draw(recipe)
    mapping = compiled(graph, roomy(max_delay=max_delay)).mapping
    damage = inflict(mapping, random_faults(rng))
    assume(not damage.wraps.any())
    host, images = load_host(mapping), prepare(frames_of(graph, count, 1), mapping.input, "random", mapping.steps)
    fast = load_fast(damage, host, Code())
    assert fast is not None
    want = ran(ReferenceEngine(damage, host), images, [count], 1)
    check_same(ran(fast, images, [count], 1), want)
    parts = [part for part in (count // 3, count - count // 3) if part]
    check_same(ran(fast, images, parts, 2), want)
    check_same(ran(ReferenceEngine(damage, host), images, parts, 2), want)


@settings(max_examples=40, deadline=None)
@given(recipes, st.integers(1, 3), st.sampled_from(["reference", "fast"]), st.integers(1, 40), st.integers(1, 40))
def test_every_spike_of_every_layer(recipe: Recipe, max_delay: int, engine: str, batch: int, count: int) -> None:
    """What each neuron sends in each step, in batches on two threads; and counts, rates and packets are sums of it."""
    graph = draw(recipe)
    frames = frames_of(graph, count, recipe.seed)
    mapping = compiled(graph, roomy(max_delay=max_delay), keep_dead=True).mapping
    data = Dataset("random", "test", frames, None)
    result = chipsim.run(mapping, data, engine=engine, batch=batch, threads=2, trains=True, per_image=True)
    shaped = frames if recipe.code == "spikes" else frames[:, None]
    expected = execute_steps(graph, shaped.astype(np.int64))
    names = [layer.name for layer in graph.layers if layer.levels]
    assert set(result.trains) == {"encoder", *names}
    for name in names:
        np.testing.assert_array_equal(result.trains[name].reshape(expected[name].shape), expected[name], name)
        layer = next(layer for layer in result.layers if layer.name == name)
        assert layer.spikes == expected[name].sum()
        assert layer.rate == layer.spikes / expected[name].size
    np.testing.assert_array_equal(result.by_image.encoder_spikes, result.trains["encoder"].reshape(count, -1).sum(axis=1))
    assert result.by_image.spikes.sum() == result.spikes
    assert result.by_image.sops.sum() == result.sops
    assert (result.steps, result.ticks_per_image) == (graph.steps, mapping.ticks + graph.steps - 1)
