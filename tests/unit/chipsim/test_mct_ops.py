"""Quantizers of Sony's toolkit give the values that its own kernels for onnxruntime gave (`tests/zoo/mct_custom.npz`)."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.mct_nodes import NODES, network, values
from support.places import ZOO

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import InputError
from chipsim.qonnx_ops import rewrite
from qsnnc import ModelError, check, verify
from qsnnc.frontend.model.reference import session

RIGHT = np.load(ZOO / "mct_custom.npz")
FILE = ZOO / "mct_custom.onnx"


def constant(name: str) -> onnx.ModelProto:
    """A model of one quantizer, of constants if it quantizes weights."""
    model = network(name)
    if NODES[name][0].startswith("Weights"):
        model.graph.initializer.append(numpy_helper.from_array(values(name), "x"))
        del model.graph.input[:]
    return model


@pytest.mark.parametrize("name", NODES)
def test_a_quantizer_computes_what_its_kernel_does(name) -> None:
    model = constant(name)
    given = {value.name: values(name) for value in model.graph.input}
    np.testing.assert_array_equal(session(rewrite(model)).run(None, given)[0], RIGHT[name])
    assert 1 < len(np.unique(RIGHT[name])) < RIGHT[name].size


def test_a_file_has_the_scores_of_the_toolkits_own_session() -> None:
    images = RIGHT["images"]
    np.testing.assert_array_equal(session(rewrite(onnx.load(FILE))).run(None, {"input": images})[0], RIGHT["scores"])
    assert verify(FILE, images).equal


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("POT, signed", {"num_bits": 40}, "has the attribute num_bits = 40; allowed: 1 to 16"),
        ("POT, signed", {"threshold": -1.0}, "has the range 0 to -1; the upper end must be above the lower one"),
        ("uniform", {"min_range": 2.0}, "has the range 2 to 1.71988; the upper end must be above the lower one"),
        ("uniform", {"speed": 3}, "has no attribute 'speed'"),
        ("uniform", {"max_range": None}, "lacks max_range; allowed: a number"),
        ("weights, POT", {"channel_axis": 7}, "has the attribute channel_axis = 7; allowed: an axis of 3"),
        (
            "weights, POT",
            {"channel_axis": 1},
            r"has ranges of shape \(5,\) for weights of shape \(5, 3, 2\); allowed: \(3,\)",
        ),
        ("weights, table, POT", {"lut_values_bitwidth": 0}, "has the attribute lut_values_bitwidth = 0; allowed: 1 to 16"),
    ],
)
def test_a_wrong_attribute_is_refused(name, change, words) -> None:
    model = constant(name)
    (node,) = model.graph.node
    kept = [entry for entry in node.attribute if entry.name not in change]
    del node.attribute[:]
    node.attribute.extend(
        [*kept, *(helper.make_attribute(key, value) for key, value in change.items() if value is not None)]
    )
    with pytest.raises(InputError, match=words) as caught:
        rewrite(model)
    assert caught.value.subject == "quantizer"


def test_weights_that_images_decide_on_and_other_operators_are_refused(save) -> None:
    with pytest.raises(ModelError, match=r"quantizer: its weights must be a constant"):
        check(save(network("weights, POT")))
    model = network("uniform")
    model.graph.node[0].op_type = "ActivationLutPOTQuantizer"
    with pytest.raises(ModelError, match=r"operator mct_quantizers:ActivationLutPOTQuantizer is not supported; allowed"):
        check(save(model))


def test_levels_of_the_toolkit_on_a_chip(save) -> None:
    """Two bits, so that the network fits, with a range of two ends."""
    model = onnx.load(FILE)
    for node in model.graph.node:
        if node.op_type == "ActivationPOTQuantizer":
            for entry in node.attribute:
                if entry.name == "num_bits":
                    entry.i = 2
    images = RIGHT["images"]
    path = save(model)
    done = check(path)
    assert done.fits
    wanted = session(rewrite(model)).run(None, {"input": images})[0]
    data = Dataset("random", "test", images)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, wanted)
    assert chipsim.compare(done.mapping, path, data).equal
