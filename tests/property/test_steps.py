"""Networks of several steps: the interpreter, the compiler and both engines against a plain interpreter, spike for spike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import format_reader
from support.command_line import call
from support.stepping import Recipe, draw, frames_of, interpret
from support.streaming import stream
from test_engines import check_equal
from test_faults import check_same, ran, random_faults

import chipsim
from chipsim.chip import ChipSpec, load_any_chip, load_chip
from chipsim.datasets import Dataset
from chipsim.engine.compare_trains import compare_trains
from chipsim.engine.engines import ReferenceEngine
from chipsim.engine.fast import arrivals, changes, tables
from chipsim.engine.fast.engine import load_fast
from chipsim.engine.fast.native import Code
from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.errors import InputError
from chipsim.faults import inflict
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare
from chipsim.report.trace import writer
from chipsim.timing.history import history
from chipsim.timing.plan import plan
from chipsim.timing.profile import Seen, _Timer
from chipsim.timing.record import ADDS, ROWS, SPIKES, UPDATES
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


@pytest.mark.slow
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


@pytest.mark.slow
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
@given(
    recipes,
    st.integers(1, 3),
    st.integers(1, 140),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
    st.sampled_from([1, 2, 3, 8]),
)
def test_the_fast_engine_is_the_reference(
    recipe: Recipe, max_delay: int, count: int, noise: float, keep_dead: bool, block: int
) -> None:
    graph = draw(recipe)
    mapping = compiled(graph, roomy(max_delay=max_delay), keep_dead=keep_dead).mapping
    frames = prepare(frames_of(graph, count, recipe.seed), mapping.input, "random", mapping.steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK", block)  # steps whose values are held at a time
        check_equal(mapping, frames, noise)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(recipes, st.integers(1, 3), st.integers(1, 70))
def test_the_engines_agree_under_faults(recipe: Recipe, max_delay: int, count: int) -> None:
    rng = np.random.default_rng(recipe.seed)
    graph = draw(recipe)
    mapping = compiled(graph, roomy(max_delay=max_delay)).mapping
    damage = inflict(mapping, random_faults(rng))
    assume(not damage.wraps.any())
    host, images = load_host(mapping), prepare(frames_of(graph, count, 1), mapping.input, "random", mapping.steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "OWN", int(rng.choice([-1, 32])))  # matrices of stuck axons' own, or axon by axon
        patch.setattr(changes, "MOST", float(rng.integers(2)))  # matrices of stuck synapses' own, or what differs
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


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(recipes, st.integers(1, 3), st.integers(1, 5))
def test_the_timing_counts_what_the_run_counts(recipe: Recipe, max_delay: int, count: int) -> None:
    graph = draw(recipe)
    mapping = compiled(graph, roomy(max_delay=max_delay), keep_dead=True).mapping
    data = Dataset("random", "test", frames_of(graph, count, recipe.seed), None)
    result = chipsim.run(mapping, data, trains=True)
    ideal, found = (chipsim.profile(mapping, data, mode=mode, threads=1) for mode in ("ideal", "cycle"))
    steps, outputs = mapping.steps, mapping.outputs
    for one in (ideal, found):
        core = one.work.core.sum(axis=0)
        assert one.work.packets.sum() == result.packets
        assert one.work.tick_packets.sum() == result.packets + one.work.potentials.sum()
        assert core[ROWS] == result.axon_events
        assert core[ADDS] == result.column_operations
        assert core[UPDATES] == count * steps * mapping.neurons
        assert core[SPIKES] == result.spikes + result.relay_spikes
        read = {"last": count * outputs, "largest": count * outputs * steps, "count": int(result.potentials.sum())}
        assert one.work.potentials.sum() == read[mapping.readout_of]
        assert one.models.shape[1] == mapping.ticks + steps - 1
        for links, hops in ((one.host_links, one.work.hops[:, 0]), (one.chip_links, one.work.hops[:, 1])):
            assert (links >= 0).all()
            assert links.sum() == hops.sum(), "the host's packets are told from the cores'"
        assert one.work.tick_host.sum() == one.work.packets[-1]
        assert not one.work.tick_host[steps:].any()
        assert [tick.enters for tick in one.ticks] == [tick < steps for tick in range(len(one.ticks))]
        assert (one.chip_cycles == one.tick_cycles[:, steps:].sum(axis=1)).all()
        assert (np.diff(one.models, axis=2) >= 0).all()
        assert (np.diff(one.stream_models, axis=1) >= 0).all()
        np.testing.assert_array_equal(one.cycles, one.increments.sum(axis=(1, 2)))
    assert (found.models >= ideal.models).all()
    assert (found.interval_cycles >= ideal.interval_cycles).all()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(recipes, st.integers(1, 3))
def test_a_tick_of_the_stream_is_everyone_at_work(recipe: Recipe, max_delay: int) -> None:
    """What each core reads and sends in the ticks of a stream is what the stream's own model, which knows no frame, does."""
    graph = draw(recipe)
    mapping = compiled(graph, roomy(max_delay=max_delay)).mapping
    count = 3 + -(-mapping.ticks // mapping.steps)  # so many that a whole frame's ticks have passed
    sent = load_host(mapping).frames(frames_of(graph, count, recipe.seed))
    trains, _ = load(mapping).run(sent)
    tables = plan(mapping)
    seen = stream(written(mapping), sent.transpose(2, 0, 1).astype(bool))
    timer = _Timer(tables, "cycle", np.arange(count), 1)
    timer.frames(Seen(np.ascontiguousarray(trains.reshape(-1, count).T), None), 0)
    told: list[tuple[np.ndarray, bool]] = []
    batch = timer.batches.get()
    batch.stream = lambda fired, cycles, reads: told.extend(zip(fired, reads, strict=True)) or [0]
    timer.batches.put(batch)
    number = count - 1  # the newest frame, behind which all layers are at work
    timer.stream([number])
    for tick, (fired, _) in enumerate(told):
        now = seen.fired[number * mapping.steps + tick]
        np.testing.assert_array_equal(fired[~tables.potential], now[~tables.potential])


def test_a_chip_without_neuron_models_refuses_by_name() -> None:
    graph = draw(Recipe(steps=3, layers=2, code="spikes", readout_of="count", seed=1))
    for chip, code, text in (
        (load_any_chip("paicore25"), "steps", "compiled for frames of one step without"),
        (roomy(neuron=None), "neuron-model", "keep potentials that are kept from step to step"),
        (roomy(neuron=load_chip("mini").neuron.model_copy(update={"resets": ("value",)})), "neuron-model", "by value"),
        (roomy(potential_bits=4, threshold_bits=4), "potential", "Its 3 steps take"),
    ):
        with pytest.raises(DoesNotFit) as caught:
            compile_layers(graph, chip)
        assert caught.value.exit_code == 4
        assert code in {violation.code for violation in caught.value.violations}
        assert any(text in violation.advice for violation in caught.value.violations), [
            str(v) for v in caught.value.violations
        ]


def test_crosschecks_and_an_onnx_model_cover_one_step(tmp_path: Path) -> None:
    path = tmp_path / "net.map"
    graph = draw(Recipe(steps=2, layers=1, code="spikes", readout_of="last", seed=4))
    chipsim.write_mapping(compile_layers(graph, roomy()).mapping, path)
    data = Dataset("random", "test", frames_of(graph, 1, 0), None)
    with pytest.raises(InputError, match="an ONNX model covers frames of one step"):
        chipsim.compare(path, tmp_path / "net.onnx", data)


@pytest.mark.parametrize("suffix", ["perfetto-trace", "vcd"])
def test_a_trace_shows_every_step(suffix: str) -> None:
    graph = draw(Recipe(steps=3, layers=2, code="spikes", readout_of="largest", seed=2))
    mapping = compile_layers(graph, roomy(), keep_dead=True).mapping
    found = history(mapping, Dataset("random", "test", frames_of(graph, 2, 0), None), image=1)
    assert len(found.frame.ticks) == mapping.ticks + 2
    assert len(found.shifts.core) == 3 * mapping.cores
    assert (np.bincount(found.shifts.core) == 3).all()
    assert (found.shifts.begin <= found.shifts.sweep).all()
    assert len(writer(f"trace.{suffix}")(found)) > 0


def test_recorded_trains_are_compared_spike_by_spike(tmp_path: Path) -> None:
    graph = draw(Recipe(steps=4, layers=3, code="spikes", readout_of="count", seed=11))
    mapping = compile_layers(graph, roomy(), keep_dead=True).mapping
    frames = frames_of(graph, 70, 5)
    data = Dataset("random", "test", frames, None)
    trains = {f"spikes_{name}": train.copy() for name, train in chipsim.run(mapping, data, trains=True).trains.items()}
    path, file, given = tmp_path / "trains.npz", tmp_path / "net.map", tmp_path / "given.npz"
    np.savez(path, **trains)
    np.savez(given, images=frames)
    chipsim.write_mapping(mapping, file)
    found = compare_trains(mapping, path, data)
    assert (found.equal, found.images, found.values) == (True, 70, sum(train.size for train in trains.values()))
    done = call("chipsim", "compare", file, "--model", path, "--dataset", given)
    assert (done.returncode, done.stdout.split(b",")[0]) == (0, b"equal: 70 images")
    name = f"spikes_{graph.layers[1].name}"
    trains[name].reshape(70, 4, -1)[63, 2, 0] ^= 1
    np.savez(path, **trains)
    wrong = compare_trains(mapping, path, data).difference
    assert (wrong.image, wrong.layer, wrong.step, wrong.element) == (63, graph.layers[1].name, 2, 0)
    done = call("chipsim", "compare", file, "--model", path, "--dataset", given)
    line = f"{graph.layers[1].name}: image 63, step 2, element 0: the file has"
    assert (done.returncode, done.stdout.decode().startswith(line)) == (1, True)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({}, "holds trains of: none"),
        ({"spikes_other": np.zeros((2, 4, 3))}, "holds trains of: other; allowed: spikes_LAYER of encoder"),
        ({"spikes_encoder": np.zeros((2, 3, 3))}, "expected: at least 2 images of 4 steps"),
        ({"spikes_encoder": 2}, "holds other values than 0 and 1"),
    ],
)
def test_trains_that_cannot_be_compared(tmp_path: Path, arrays: dict, text: str) -> None:
    graph = draw(Recipe(steps=4, layers=1, code="spikes", readout_of="last", seed=3))
    frames = frames_of(graph, 2, 5)
    np.savez(tmp_path / "a.npz", **{k: np.full(frames.shape, v) if np.ndim(v) == 0 else v for k, v in arrays.items()})
    with pytest.raises(InputError, match=text) as caught:
        compare_trains(compile_layers(graph, roomy()).mapping, tmp_path / "a.npz", Dataset("random", "test", frames, None))
    assert caught.value.exit_code == 3
