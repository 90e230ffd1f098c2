"""Scores from the first changed activation on are those of the whole changed model, bit for bit where sums are exact."""

from __future__ import annotations

from unittest import mock

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.networks import Builder

from chipsim.chip import load_chip
from qsnnc.fitting import tails
from qsnnc.fitting.edit import edited, narrowed
from qsnnc.fitting.ladders import best_step, ladders_of
from qsnnc.fitting.measure import Images, Statistics, scores, unchanged
from qsnnc.fitting.tails import Tails
from qsnnc.ir.layers import Population
from qsnnc.pipeline import front


def network(*, branch: bool) -> onnx.ModelProto:
    """Three convolutions; with ``branch`` the second activation is read by two of them."""
    rng = np.random.default_rng(3)
    net = Builder((1, 8, 8))
    net.conv("first", rng.integers(-7, 8, (4, 1, 3, 3)) / 64)
    net.quantize("first/quant", 0, 8)
    fork = net.here
    net.conv("second", rng.integers(-7, 8, (4, 4, 3, 3)) / 16, pads=[1] * 4)
    net.quantize("second/quant", 0, 8)
    if branch:
        net.node("Add", "sum", fork)
    net.conv("third", rng.integers(-7, 8, (4, 4, 3, 3)) / 16)
    net.quantize("third/quant", 0, 8)
    net.flatten()
    net.gemm("fc", rng.integers(-7, 8, (3, 64)) / 8)
    return net.model()


@pytest.mark.slow
@pytest.mark.parametrize("branch", [False, True])
def test_a_tail_gives_the_scores_of_the_whole(branch: bool) -> None:
    model, graph = front(network(branch=branch))
    images = Images("random", np.random.default_rng(0).integers(0, 256, (70, 1, 8, 8)).astype(np.float32), None)
    entries = [entry for entry in (graph.encoder, *graph.layers) if entry.levels]
    known = unchanged(model, graph.input, images, entries)
    assert np.array_equal(known.scores, scores(model, graph.input, images))
    short = Tails(model, graph.input, images, known.tensors)
    forms = [edited(model.reference, [(entry, narrowed(entry, 3, 2.0))]) for entry in entries]
    forms.append(edited(model.reference, [(entry, narrowed(entry, 3, 2.0)) for entry in entries[-2:]]))
    weights = onnx.ModelProto()
    weights.CopyFrom(model.reference)
    last = next(each for each in weights.graph.initializer if each.dims[:1] == [4] and each.dims[1:2] == [4])
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) / 2, last.name))
    for form in (*forms, weights):
        wanted = scores(model, graph.input, images, form)
        assert not np.array_equal(wanted, known.scores)
        with mock.patch.object(tails, "scores", side_effect=AssertionError("the whole model was run")):
            found = short.scores(form)
        assert np.array_equal(found, wanted)
        tail, sources = short._tail(form)
        assert tail is not None
        assert len(tail.graph.node) < len(form.graph.node)
        assert set(sources.values()) <= known.tensors.keys()
    assert np.array_equal(
        Tails(model, graph.input, images, {}).scores(forms[0]), scores(model, graph.input, images, forms[0])
    )


@pytest.mark.slow
def test_without_time_to_measure_every_narrowing_is_still_there() -> None:
    model, graph = front(network(branch=False))
    images = Images("random", np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8)).astype(np.float32), None)
    chip = load_chip("xbar1152")
    timely, late = (ladders_of(model, graph, chip, images, None, lambda there=there: there) for there in (True, False))
    known = {(each.name, each.kind): [rung.bits or rung.levels for rung in each.rungs] for each in timely}
    kept = {(each.name, each.kind): [rung.bits or rung.levels for rung in each.rungs] for each in late}
    assert kept == {key: rungs for key, rungs in known.items() if key[1] != "channels"}
    assert {key[1] for key in kept} == {"levels", "bits"}


def test_levels_of_16_bits_have_few_steps_to_try() -> None:
    wide = Population("a", "a", (4, 2, 2), (4, 2, 2), 65535, 0.5, 0.0)
    histogram = np.zeros(65536, np.int64)
    histogram[:600] = 1
    found = best_step(wide, 3, Statistics(histogram, np.zeros(4)), whole=True)
    assert 1 <= found <= 65535
    assert 3 * found > 300
