"""Cores, bounds, targets and places."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import finish, stem, ternary
from support.networks import Recipe, build, lenet

import chipsim
from chipsim.chip import load_chip
from chipsim.errors import MappingError
from qsnnc import check, compile_model
from qsnnc.ir.layers import Connection
from qsnnc.partition.bounds import fewest_positions


def big(chip: str = "xbar1152", **changes):
    return load_chip(chip).model_copy(update=changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "levels", "cores", "limiting"),
    [
        (0, 1, [36, 9, 8, 2, 1, 1], "columns"),
        (0, 2, [144, 18, 16, 4, 2, 1], "axons"),
        (1, 4, [288, 36, 64, 8, 8, 1], "columns"),
    ],
)
def test_lenet_reaches_its_bound(save, k, levels, cores, limiting) -> None:
    done = compile_model(save(lenet(np.random.default_rng(0), k, levels)))
    assert [layer.cores for layer in done.mapping.layers] == cores
    assert [layer.bound for layer in done.mapping.layers] == cores
    assert done.mapping.layers[0].limiting == limiting


@pytest.mark.slow
def test_eight_levels_are_bound_by_the_target_table(save) -> None:
    path = save(lenet(np.random.default_rng(0), 1, 8))
    small = check(path)
    assert not small.fits
    assert [v.limit for v in small.violations] == ["cores"]
    assert small.violations[0].allowed == 1024
    done = compile_model(path, big(grid=(40, 40)))
    down1 = done.mapping.layers[1]
    assert (down1.bound, down1.limiting) == (100, "targets")
    assert down1.cores <= 110
    assert sum(layer.bound for layer in done.mapping.layers) == 1557
    m = done.mapping
    entries = np.diff(m.target_offset[m.encoder_neurons + m.neuron_offset])
    assert entries.max() <= 8192


@pytest.mark.parametrize(
    ("kernel", "stride", "outputs", "fewest"),
    [(5, 1, 1, 25), (5, 1, 2, 30), (5, 1, 4, 36), (5, 1, 6, 42), (2, 2, 4, 16), (1, 1, 7, 7), (3, 2, 2, 15)],
)
def test_fewest_positions_by_hand(kernel, stride, outputs, fewest) -> None:
    link = Connection("x", np.ones((1, 1, kernel, kernel), np.int64), strides=(stride, stride))
    size = 9 * stride + kernel
    assert fewest_positions(link, (size, size), (10, 10), outputs) == fewest


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 1, 0), (3, 1, 0), (3, 2, 0), (3, 1, 1), (3, 2, 1), (2, 2, 0)])
def test_fewest_positions_is_below_every_choice_of_windows(kernel, stride, pad) -> None:
    out = 3
    size = (out - 1) * stride + kernel - 2 * pad
    link = Connection("x", np.ones((1, 1, kernel, kernel), np.int64), strides=(stride,) * 2, pads=(pad,) * 4)
    taps = link.taps((size, size), (out, out))
    least = [size * size] * (out * out + 1)
    for chosen in range(1, 1 << (out * out)):
        rows = [i for i in range(out * out) if chosen >> i & 1]
        covered = np.unique(taps[rows])
        least[len(rows)] = min(least[len(rows)], int((covered >= 0).sum()))
    for outputs in range(1, out * out + 1):
        bound = fewest_positions(link, (size, size), (out, out), outputs)
        assert bound <= least[outputs]
        if not pad:
            assert bound >= least[outputs] - 1  # and close to it


@pytest.mark.slow
def test_a_layer_too_wide_for_a_core_is_cut_at_any_neuron(save) -> None:
    chip = big("mini", grid=(30, 30), columns=20, axons=40, max_fold=16, targets=4000, potential_bits=20, threshold_bits=19)
    done = compile_model(save(build(Recipe(6, 3, 1, 5, ("conv", "dense"), 3, seed=1, odd=True))), chip)
    neurons = np.diff(done.mapping.neuron_offset)
    assert len(set(neurons.tolist())) > 1
    assert (neurons * done.mapping.core_fold * done.mapping.core_weight_bits <= 20).all()


@pytest.mark.slow
def test_core_graph_and_placement(save) -> None:
    from qsnnc.ir.layers import verify_layers
    from qsnnc.lower.neurons import lower
    from qsnnc.partition.cores import partition
    from qsnnc.place.positions import figures, place
    from qsnnc.place.traffic import traffic_of
    from qsnnc.reading import front

    path = save(lenet(np.random.default_rng(3), 0, 1))
    _, graph = front(path)
    verify_layers(graph)
    chip = big(grid=(9, 7))
    neurons, _ = lower(graph, chip)
    cores, _, _ = partition(graph, neurons, chip)
    net = cores.to_networkx()
    assert net.number_of_nodes() == cores.cores + 1  # and the host
    assert sum(d["entries"] for _, _, d in net.edges(data=True)) == len(cores.axon_source)
    placed = place(cores, chip)
    traffic = traffic_of(cores)
    for found, counted in zip((traffic.sender, traffic.receiver, traffic.packets), cores.traffic(), strict=True):
        np.testing.assert_array_equal(found[: len(counted)], counted)  # behind them the potentials that the host reads
    rates = np.random.default_rng(1).random(cores.encoder_neurons + len(cores.neuron_element))
    assert traffic_of(cores, rates).packets[: len(counted)].sum() == pytest.approx(rates[cores.axon_source].sum(), rel=1e-3)
    assert placed.figures == figures(traffic, chip, placed.position)
    assert placed.figures.chip_hops < 0.8 * placed.row_major.chip_hops
    assert placed.figures.busiest_link < 0.6 * placed.row_major.busiest_link
    shuffled = np.random.default_rng(0).permutation(63)[: cores.cores]
    random = np.stack([shuffled % 9, shuffled // 9], axis=1)
    assert placed.figures.chip_hops < 0.8 * figures(traffic, chip, random).chip_hops


def test_results_do_not_depend_on_the_placement(small) -> None:
    from dataclasses import replace

    import chipsim

    done, _, data = small
    m = done.mapping
    order = np.random.default_rng(1).permutation(m.cores)
    moved = replace(m, arrays={**m.arrays, "core_position": m.core_position[order]})
    first, second = chipsim.run(m, data), chipsim.run(moved, data)
    np.testing.assert_array_equal(first.potentials, second.potentials)
    assert [(c.spikes, c.sops, c.axon_events) for c in first.cores] == [
        (c.spikes, c.sops, c.axon_events) for c in second.cores
    ]


@pytest.mark.slow
@pytest.mark.parametrize("targets", [80, 200])
def test_two_connections_to_one_source_take_two_entries(targets, save) -> None:
    """A depthwise convolution and a plain one of the same levels, added: a core that holds both has an axon for each."""
    rng = np.random.default_rng(3)
    net = stem(channels=4)
    levels = net.here
    net.conv("depthwise", ternary(rng, 4, 1, 3, 3), group=4, pads=[1] * 4)
    operand, net.here = net.here, levels
    net.conv("plain", ternary(rng, 4, 4, 1, 1))
    net.node("Add", "add", operand)
    net.quantize("quant", 0, 3)
    net.conv("after", ternary(rng, 4, 4, 3, 3), pads=[1] * 4)
    net.node("Add", "again", net.nodes[-1].input[0])
    net.quantize("quant2", 0, 3)
    done = check(save(finish(net).model()), big(columns=64, targets=targets))
    assert done.fits or {violation.code for violation in done.violations} == {"targets"}


@pytest.mark.slow
def test_a_chip_whose_neurons_have_one_destination(lenet_onnx, monkeypatch) -> None:
    """The limit of a neuron's fan-out stands in one place: what a chip says there holds in compiler and validation."""
    from chipsim.chip.spec import ChipSpec

    net = chipsim.MappingBuilder("mini")
    hidden = net.layer("hidden", 1)
    net.core(hidden, net.input(2), [[1], [1]], thresholds=[1])
    scores = net.readout("scores", 2)
    net.core(scores, hidden, [[1]])
    net.core(scores, hidden, [[2]])
    monkeypatch.setattr(ChipSpec, "max_fan_out", property(lambda self: 1))
    found = check(lenet_onnx)
    assert {(v.code, v.limit, v.allowed) for v in found.violations} == {("targets", "targets", 1)}
    with pytest.raises(MappingError, match="fan-out of a neuron: found 2, allowed 1"):
        net.build()
