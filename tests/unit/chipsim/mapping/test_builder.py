"""Mappings built by hand: the example, the defaults, and what the builder refuses."""

from __future__ import annotations

import numpy as np
import pytest
from support import format_reader

import chipsim
from chipsim.errors import MappingError
from chipsim.mapping import Mapping, builder
from chipsim.mapping.dynamics import NeuronModel
from chipsim.mapping.totals import neuron_sums


def example() -> chipsim.MappingBuilder:
    net = chipsim.MappingBuilder("mini")
    image = net.input(3, levels=2)
    hidden = net.layer("hidden", 2)
    net.core(hidden, image, [[1, 0], [1, 0], [0, 1], [0, 1], [-1, 1], [-1, 1]], thresholds=[1, 3])
    scores = net.readout("scores", 2)
    net.core(scores, hidden + image[:1], [[3, -1], [-2, 4], [0, 1]])
    return net


def images(*values: list[int]) -> chipsim.Dataset:
    return chipsim.Dataset("by hand", "test", np.array(values, np.uint8))


def test_the_example_by_hand() -> None:
    # image (2, 1, 0): neuron 0 sums 2 and fires, neuron 1 sums 1: scores [3, -1] + [0, 1] of the input's first neuron
    # image (0, 2, 2): neuron 0 sums -2, neuron 1 sums 4 and fires: scores [-2, 4]
    for engine in ("fast", "reference"):
        result = chipsim.run(example().build(), images([2, 1, 0], [0, 2, 2]), engine=engine)
        assert result.potentials.tolist() == [[3, 0], [-2, 4]]
        assert result.scores.tolist() == [[3, 0], [-2, 4]]
        assert result.spikes == 2


def test_the_module_shows_the_example() -> None:
    lines = [line.strip() for line in (builder.__doc__ or "").split("::")[1].splitlines() if line.strip()]
    names: dict[str, object] = {"chipsim": chipsim}
    exec("\n".join(lines), names)
    mine, shown = example().build(), names["mapping"]
    assert isinstance(shown, chipsim.Mapping)
    assert all((array == shown.arrays[name]).all() for name, array in mine.arrays.items())
    assert len(lines) <= 10


def test_defaults() -> None:
    mapping = example().build()
    assert [(layer.tick, layer.weight_bits, layer.fold, layer.synapses) for layer in mapping.layers] == [
        (1, 2, 1, 8),
        (2, 4, 1, 5),
    ]
    assert mapping.core_position.tolist() == [[0, 0], [1, 0]]
    assert mapping.neuron_threshold.tolist() == [1, 3, 0, 0]
    assert mapping.target_delay.tolist() == [1, 2, 1, 1, 1, 1, 1, 1, 1]  # the input's first neuron has two targets


def test_a_wide_core_is_folded_and_dead_cores_are_left_out() -> None:
    chip = chipsim.load_chip("mini").model_copy(update={"dead_cores": ((0, 0),)})
    net = chipsim.MappingBuilder(chip)
    image = net.input(130)
    net.core(net.readout("scores", 1), image, np.ones((130, 1), int))
    mapping = net.build()
    assert mapping.core_fold.tolist() == [4]  # 130 axons, 64 a segment; mini folds by 1, 2, 4
    assert mapping.core_position.tolist() == [[1, 0]]
    assert chipsim.run(mapping, images([1] * 130)).potentials.tolist() == [[130]]


def test_spikes_as_input_and_a_relay() -> None:
    net = chipsim.MappingBuilder("mini")
    image = net.input((2, 2), spikes=True)
    relay = net.layer("again", (2, 2), relay=True)
    net.core(relay, image, np.eye(4, dtype=int))
    net.core(net.readout("scores", (1, 2), scale=0.5), relay, [[1, 0], [2, 0], [0, 3], [0, 4]])
    result = chipsim.run(net.build(), chipsim.Dataset("spikes", "test", np.array([[[[1], [0]], [[1], [1]]]], np.uint8)))
    assert result.scores.tolist() == [[[0.5, 3.5]]]
    assert (result.spikes, result.relay_spikes) == (0, 3)


def test_a_file_holds_what_was_built(tmp_path) -> None:
    chipsim.write_mapping(example().build(), tmp_path / "m.map")
    assert chipsim.run(tmp_path / "m.map", images([2, 1, 0])).potentials.tolist() == [[3, 0]]


def refused(net: chipsim.MappingBuilder, **change: object) -> None:
    image = net.input(2)
    given: dict[str, object] = {"weights": [[1, 1], [1, 1]], "sources": image, "thresholds": 1, **change}
    net.core(net.layer("hidden", 3), given.pop("sources"), given.pop("weights"), given.pop("thresholds"), **given)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"weights": [[1, 1]]}, "builder-rule", "one row for each of 2 sources"),
        ({"weights": [1, 1]}, "builder-rule", r"shape \[2\]"),
        ({"weights": [[0.5, 1], [1, 1]]}, "builder-rule", "not whole numbers"),
        ({"thresholds": [1, 2, 3]}, "builder-rule", "one for each of 2 neurons"),
        ({"elements": [0, 3]}, "builder-rule", "no neuron 3; allowed: 0 to 2"),
        ({"elements": [1, 1]}, "builder-rule", "neuron 1 is on a core already"),
        ({"weights": np.ones((2, 4), int)}, "builder-rule", "has 3 neurons; 4 are put on cores"),
        ({"sources": chipsim.MappingBuilder().input(2)}, "builder-rule", "of another builder"),
    ],
)
def test_a_core_that_cannot_be_is_refused(change: dict[str, object], code: str, said: str) -> None:
    with pytest.raises(chipsim.MappingError, match=said) as caught:
        refused(chipsim.MappingBuilder("mini"), **change)
    assert (caught.value.code, caught.value.subject) == (code, "hidden")


def test_groups_that_cannot_be_are_refused() -> None:
    net = chipsim.MappingBuilder("mini")
    with pytest.raises(chipsim.MappingError, match="has no input"):
        net.build()
    with pytest.raises(chipsim.MappingError, match="0 levels"):
        net.input(2, levels=0)
    image = net.input(2)
    with pytest.raises(chipsim.MappingError, match="declared already"):
        net.input(2)
    hidden = net.layer("hidden", 2)
    with pytest.raises(chipsim.MappingError, match="hidden: is the name of another group"):
        net.layer("hidden", 2)
    with pytest.raises(chipsim.MappingError, match="is not a layer of this builder"):
        net.core(image, hidden, np.eye(2))
    net.core(hidden, image, [[1], [1]])
    with pytest.raises(chipsim.MappingError, match="has no readout"):
        net.build()
    out = net.readout("out", 1)
    with pytest.raises(chipsim.MappingError, match="second readout"):
        net.readout("more", 1)
    with pytest.raises(chipsim.MappingError, match="out: is on no core"):
        net.build()
    net.core(out, hidden, [[1], [1]])
    with pytest.raises(chipsim.MappingError, match="out: has neuron 1 of hidden as a source, and no core holds it"):
        net.build()


def test_ticks_that_cannot_be_are_refused() -> None:
    net = chipsim.MappingBuilder("mini")
    image, late = net.input(1), net.layer("late", 1)
    later = net.layer("later", 1)
    net.core(late, later, [[1]])
    net.core(later, image, [[1]])
    net.core(net.readout("out", 1), late, [[1]])
    with pytest.raises(chipsim.MappingError, match="late: has sources in later, which was added after it"):
        net.build()


@pytest.mark.parametrize(("weight", "tick", "code"), [(300, None, "builder-rule"), (1, 1, "map-rule"), (1, 9, "map-rule")])
def test_the_chips_limits_hold(weight: int, tick: int | None, code: str) -> None:
    net = chipsim.MappingBuilder("mini")
    hidden = net.layer("hidden", 1)
    net.core(hidden, net.input(1), [[weight]])
    net.core(net.readout("out", 1, tick=tick), hidden, [[1]])
    with pytest.raises(chipsim.MappingError) as caught:
        net.build()
    assert caught.value.code == code


def test_no_more_cores_than_the_chip_has() -> None:
    net = chipsim.MappingBuilder("mini")
    image, hidden = net.input(1), net.layer("hidden", 17)
    for _ in range(16):
        net.core(hidden, image, [[1]])
    with pytest.raises(chipsim.MappingError, match="hidden: needs another core; chip 'mini' has 16"):
        net.core(hidden, image, [[1]])


def stateful(**given: object) -> tuple[chipsim.MappingBuilder, Mapping]:
    """Five steps of two leaky neurons that read the input and themselves, one step late, and a leaky readout."""
    net = chipsim.MappingBuilder("xbar1152", steps=5)
    image = net.input(3, **given)
    loop = net.layer("loop", 2, tick=1, neuron=NeuronModel(reset="subtract", delay=1))
    net.core(
        loop, image + loop, [[1, -1], [2, 1], [0, 1], [-1, 2], [1, -2]], thresholds=[1, 2], amounts=[1, 2], biases=[0, 1]
    )
    out = net.readout("out", 2, of="last", neuron=NeuronModel(reset="none", leak=(1, 1), fraction_bits=4))
    net.core(out, loop, [[3, -1], [-2, 4]])
    return net, net.build()


def by_hand(frame: np.ndarray) -> np.ndarray:
    """The potentials that `stateful` reads out of the spikes of five steps."""
    weights, read = np.array([[1, -1], [2, 1], [0, 1], [-1, 2], [1, -2]]), np.array([[3, -1], [-2, 4]])
    v, u, fired = np.zeros(2, int), np.zeros(2, int), np.zeros(2, int)
    for step in frame:
        v = v + np.concatenate([step, fired]) @ weights + [0, 1]
        u = u // 2 + (fired @ read) * 16
        fired = (v >= [1, 2]).astype(int)
        v = v - fired * [1, 2]
    return u


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_a_recurrent_layer_of_several_steps(tmp_path, engine) -> None:
    mapping = stateful(spikes=True)[1]
    frames = (np.random.default_rng(0).random((20, 5, 3)) < 0.5).astype(np.uint8)
    found = chipsim.run(mapping, chipsim.Dataset("s", "all", frames), engine=engine, threads=1)
    np.testing.assert_array_equal(found.potentials, [by_hand(frame) for frame in frames])
    chipsim.write_mapping(mapping, tmp_path / "net.map")
    read = format_reader.execute(format_reader.read(str(tmp_path / "net.map")), frames)
    np.testing.assert_array_equal(found.potentials, read.potentials)
    assert found.spikes == read.core_spikes.sum()


@pytest.mark.parametrize("given", [{"levels": 2}, {"rate": "bernoulli", "seed": 3}, {"rate": "regular"}], ids=str)
def test_what_enters_in_several_steps_is_as_the_page_says(tmp_path, given) -> None:
    if "levels" in given:
        net = chipsim.MappingBuilder("xbar1152", steps=4)
        image = net.input(3, **given)
        out = net.readout("out", 2, of="count", neuron=NeuronModel(reset="value"))
        net.core(out, image, [[1, -1], [2, 1], [0, 1], [-1, 2], [1, -2], [2, 1]], thresholds=[3, 2])
        mapping, images = net.build(), np.random.default_rng(1).integers(0, 4, (12, 3)).astype(np.float32)
    else:
        mapping, images = stateful(**given)[1], np.random.default_rng(1).random((12, 3), np.float32)
    chipsim.write_mapping(mapping, tmp_path / "net.map")
    read = format_reader.execute(format_reader.read(str(tmp_path / "net.map")), images)
    assert len(np.unique(read.potentials)) > 2
    for engine in ("reference", "fast"):
        found = chipsim.run(mapping, chipsim.Dataset("s", "all", images), engine=engine, threads=1)
        np.testing.assert_array_equal(found.potentials, read.potentials)


def test_steps_that_cannot_be_are_refused() -> None:
    with pytest.raises(MappingError, match="allowed: 1 or more"):
        chipsim.MappingBuilder("mini", steps=0)
    with pytest.raises(MappingError, match="spikes in steps have 1"):
        chipsim.MappingBuilder("xbar1152", steps=2).input(3, levels=2, spikes=True)
    net = chipsim.MappingBuilder("mini", steps=3)
    image = net.input(2, spikes=True)
    back = net.layer("back", 1, tick=1, neuron=NeuronModel(reset="none"))
    net.core(back, image + back, [[1], [1], [1]])
    out = net.readout("out", 1)
    net.core(out, back, [[1]])
    with pytest.raises(MappingError, match="back: fires 0 ticks after one of its sources"):
        net.build()


def test_sums_of_weights_are_those_of_the_weights() -> None:
    rng = np.random.default_rng(0)
    for axons in (0, 1, 7, 3000):
        weights = rng.integers(-128, 128, (axons, 9)).astype(np.int8)
        low, high = neuron_sums(weights)
        np.testing.assert_array_equal(low, np.minimum(weights, 0).sum(axis=0, dtype=np.int64))
        np.testing.assert_array_equal(high, np.maximum(weights, 0).sum(axis=0, dtype=np.int64))
    low, high = neuron_sums(np.full((1 << 16, 2), -128, np.int8))
    assert (low.tolist(), high.tolist()) == ([-128 << 16] * 2, [0, 0])
