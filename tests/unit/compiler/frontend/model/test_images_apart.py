"""Networks that mix the images of a batch are refused: the chip computes one image at a time."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from qsnnc import ModelError, check, verify
from qsnnc.frontend.model.images_apart import DRAWS, SEVERAL, drawn
from qsnnc.frontend.model.reference import session

WEIGHTS = np.array([[1, -2, 1, 0], [0, 1, 1, -1], [2, 0, -1, 1]], float)
LAST = np.array([[3, -1, 2], [1, 2, -3], [2, 2, 1]], float)


def network(before: str = "", within: str = "", behind: str = "", batch: int | str = "N") -> onnx.ModelProto:
    """Two layers, with an operator of `STEPS` before the first quantizer, between the layers or behind the scores."""
    net = Builder((4,))
    _add(net, before)
    net.quantize("a", -6, 3)
    net.gemm("first", WEIGHTS)
    _add(net, within)
    net.quantize("b", -1, 3)
    net.gemm("head", LAST)
    _add(net, behind)
    model = net.model()
    for value in (model.graph.input[0], model.graph.output[0]):
        dims = value.type.tensor_type.shape.dim
        dims[0].Clear()
        setattr(dims[0], "dim_value" if isinstance(batch, int) else "dim_param", batch)
    model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name=net.here))
    kind = TensorProto.INT64 if behind in ("best", "shape") else TensorProto.FLOAT
    model.graph.output[0].type.tensor_type.elem_type = kind
    return model


def _ints(net: Builder, *values: int) -> str:
    return net.const(f"k{len(net.constants)}", np.array(values, np.int64))


def _add(net: Builder, what: str) -> None:
    here = net.here
    if what == "turned":
        net.node("Slice", "op", *(_ints(net, n) for n in (-1, -(2**31), 0, -1)))
    elif what == "first":
        net.node("Slice", "op", *(_ints(net, n) for n in (0, 1, 0)))
    elif what == "added":
        net.node("Gather", "op", _ints(net, 0), axis=0)
        net.node("Add", "sum", here)
    elif what == "summed":
        net.node("CumSum", "op", net.const("axis", np.array(0)))
    elif what == "shares":
        net.node("Softmax", "op", axis=0)
    elif what == "best":
        net.node("ArgMax", "op", axis=0)
    elif what == "mean":
        net.node("ReduceMean", "op", keepdims=0)
    elif what == "shape":
        net.node("Shape", "op")
    elif what == "columns":
        net.node("Transpose", "op", perm=[1, 0])
    elif what == "in front":
        net.node("Unsqueeze", "op", _ints(net, 0))
    elif what.startswith("squeezed"):
        net.node("Squeeze", "op")
        if what == "squeezed, first two":
            net.node("Slice", "two", *(_ints(net, n) for n in (0, 2, 0)))
        elif what == "squeezed, shares":
            net.node("Softmax", "shares", axis=0)
        elif what == "squeezed and back":
            net.node("Unsqueeze", "back", _ints(net, 0))
    elif what == "lost and back":
        net.node("Squeeze", "op", _ints(net, 0))
        net.node("Unsqueeze", "back", _ints(net, 0))
    else:
        assert not what


@pytest.mark.parametrize("place", ["before", "within", "behind"])
@pytest.mark.parametrize("what", ["turned", "first", "added", "summed"])
def test_a_batch_that_is_mixed_is_refused(what, place) -> None:
    """Of one image alone they compute something else; a chip's scores would be those, and not the file's."""
    with pytest.raises(ModelError) as caught:
        check(network(**{place: what}))
    assert (caught.value.subject, caught.value.code) == ("op", "batch-moved"), str(caught.value)


@pytest.mark.parametrize(
    ("what", "batch"),
    [*((what, "N") for what in ("best", "shares", "mean", "columns", "in front")), ("best", 1), ("shares", 1)],
)
def test_an_output_without_a_row_for_each_image_is_refused(what, batch) -> None:
    """These were compiled, and `verify` failed with an internal error or on a difference."""
    with pytest.raises(ModelError) as caught:
        check(network(behind=what, batch=batch))
    assert (caught.value.subject, caught.value.code) == ("op", "batch-moved"), str(caught.value)


@pytest.mark.parametrize("batch", ["N", 1])
def test_an_output_that_is_a_shape_is_refused(batch) -> None:
    with pytest.raises(ModelError, match="is the same for every image") as caught:
        check(network(behind="shape", batch=batch))
    assert caught.value.code == "model-ends"


@pytest.mark.parametrize(
    ("place", "what"),
    [("behind", "squeezed, first two"), ("behind", "squeezed, shares"), ("within", "squeezed and back"),
     ("within", "lost and back"), ("behind", "lost and back"), ("behind", "mean"), ("behind", "columns"),
     ("behind", "in front")],
)  # fmt: skip
def test_operators_on_one_image_without_its_batch_axis_are_equal(place, what) -> None:
    """Of a file with a batch of one: axis 0 behind the Squeeze is another one."""
    model = network(**{place: what}, batch=1)
    images = np.random.default_rng(2).integers(0, 256, (5, 4)).astype(np.uint8)
    alone = [session(model).run(None, {"image": image[None].astype(np.float32)})[0] for image in images]
    found = chipsim.run(check(model).mapping, Dataset("five", "test", images)).scores
    np.testing.assert_array_equal(found.reshape(5, -1), np.reshape(alone, (5, -1)))


def test_an_operator_that_cannot_have_a_batch_axis_is_refused() -> None:
    net = Builder((4,))
    net.quantize("a", -6, 3)
    net.gemm("head", LAST @ WEIGHTS)
    net.node("Squeeze", "op", _ints(net, 0))
    net.node("CumSum", "sums", net.const("axis", np.array(0)))
    model = net.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match=r"^op: Squeeze .*keep axis 0") as caught:
        check(model)
    assert caught.value.code == "batch-moved"


@pytest.mark.parametrize("place", ["within", "behind"])
@pytest.mark.parametrize("what", ["first", "turned"])
def test_a_file_of_one_image_may_take_the_first_on_the_chip(what, place) -> None:
    """There, the file computes nothing else; the host, which is given several at once, would."""
    model = network(**{place: what}, batch=1)
    if place == "behind":
        with pytest.raises(ModelError, match="batch"):
            check(model)
        return
    images = np.random.default_rng(2).integers(0, 256, (5, 4)).astype(np.uint8)
    found = chipsim.run(check(model).mapping, Dataset("five", "test", images))
    alone = [session(model).run(None, {"image": image[None].astype(np.float32)})[0] for image in images]
    np.testing.assert_array_equal(found.scores, np.concatenate(alone))


@pytest.mark.parametrize("behind", ["", "squeezed"])
def test_what_mixes_nothing_is_equal(behind) -> None:
    model = network(behind=behind, batch=1 if behind else "N")
    assert verify(model, limit=20).equal


def test_a_few_values_that_rounding_changes_mix_nothing(monkeypatch) -> None:
    """Float sums in another order may carry a value across a threshold, in a batch as alone."""
    from qsnnc.frontend.model import images_apart

    real, calls = images_apart._difference, []

    def once(proto, run, seed):
        calls.append(seed)
        return real(proto, run, seed) or ("values" if seed < DRAWS - 1 else "")

    monkeypatch.setattr(images_apart, "_difference", once)
    assert check(network()).fits
    assert DRAWS - 1 in calls


def test_images_are_drawn_in_the_inputs_type() -> None:
    for kind, dtype in ((TensorProto.FLOAT16, np.float16), (TensorProto.UINT8, np.uint8), (TensorProto.INT64, np.int64)):
        model = network()
        model.graph.input[0].type.tensor_type.elem_type = kind
        images = drawn(model, SEVERAL, 0)
        assert (images.dtype, images.shape) == (dtype, (SEVERAL, 4))
        assert len(np.unique(images)) > SEVERAL


def test_scores_that_are_no_numbers_are_equal_to_those_of_the_file() -> None:
    """`verify` took two that are none for different, and `chipsim compare` for equal."""
    net = Builder((4,))
    net.quantize("a", -6, 3)
    net.gemm("head", LAST @ WEIGHTS)
    net.node("Log", "end")
    found = verify(net.model(), np.random.default_rng(0).integers(0, 256, (20, 4)).astype(np.uint8))
    assert found.passes(), found.mismatches


@pytest.mark.parametrize("kind", ["UINT32", "UINT64", "INT64", "UINT16", "INT8", "DOUBLE", "FLOAT16"])
def test_an_input_of_every_type_that_is_accepted_can_be_run(kind) -> None:
    model = network()
    model.graph.input[0].type.tensor_type.elem_type = getattr(TensorProto, kind)
    model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["image/float"], to=TensorProto.FLOAT))
    model.graph.node[1].input[0] = "image/float"
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    images = np.random.default_rng(2).integers(0, 128, (5, 4)).astype(dtype)
    found = chipsim.run(check(model).mapping, Dataset("five", "test", images))
    np.testing.assert_array_equal(found.scores, session(model).run(None, {"image": images})[0])
