"""A file of one image whose nodes remove its batch axis compiles as if they did not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model, verify
from qsnnc.frontend.model.lost_axis import with_batch_axis
from qsnnc.frontend.model.reference import session

FIRST = np.array([[1, -2, 1, 0], [0, 1, 1, -1], [2, 0, -1, 1]], float)
LAST = np.array([[3, -1, 2], [1, 2, -3], [2, 2, 1]], float)
IMAGES = np.random.default_rng(2).integers(0, 256, (7, 4)).astype(np.uint8)

#: an operator, its constants and its attributes
Step = tuple[str, tuple[np.ndarray, ...], dict[str, object]]


def step(op: str, *constants: object, **attributes: object) -> Step:
    return op, tuple(np.asarray(value) for value in constants), attributes


def network(before: list[Step], within: list[Step], behind: list[Step], opset: int, vector: bool) -> onnx.ModelProto:
    """Two layers; the second is a MatMul of a vector if that is what it is given."""
    net = Builder((4,))

    def put(steps: list[Step]) -> None:
        for op, constants, attributes in steps:
            names = [net.const(f"c{len(net.constants) + i}", value) for i, value in enumerate(constants)]
            net.node(op, f"{op}{len(net.nodes)}", *names, **attributes)

    put(before)
    net.quantize("a", -6, 3)
    net.gemm("first", FIRST)
    put(within)
    net.quantize("b", -1, 3)
    if vector:
        net.node("MatMul", "head", net.const("head.weight", LAST.T.astype(np.float32)))
    else:
        net.gemm("head", LAST)
    put(behind)
    model = net.model(opset=opset)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.ClearField("shape")
    if net.nodes[-1].op_type == "ArgMax":
        model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


LOSE, BACK = step("Squeeze", [0]), step("Unsqueeze", [0])
ALL = step("Squeeze")

CASES: dict[str, dict[str, object]] = {
    "scores of shape (3,)": {"behind": [step("Reshape", [3])]},
    "scores of any number": {"behind": [step("Reshape", [-1])]},
    "scores squeezed": {"behind": [LOSE]},
    "scores squeezed from all axes": {"behind": [ALL]},
    "the first of one image": {"behind": [step("Gather", np.array(0), axis=0)]},
    "the last of one image": {"behind": [step("Gather", np.array(-1), axis=0)]},
    "the sum over one image": {"behind": [step("ReduceSum", [0], keepdims=0)]},
    "the mean of all": {"behind": [step("ReduceMean", keepdims=0)]},
    "the best class": {"behind": [ALL, step("ArgMax", axis=0, keepdims=0)]},
    "the best class in a list": {"behind": [ALL, step("ArgMax", axis=0)]},
    "shares": {"behind": [ALL, step("Softmax", axis=0)]},
    "shares, with an axis that is coerced": {"behind": [ALL, step("Softmax", axis=0)], "opset": 12},
    "the first two classes": {"behind": [ALL, step("Slice", [0], [2], [0])]},
    "the largest of two classes": {"behind": [LOSE, step("Slice", [-2], [3]), step("ReduceMax", axes=[0], keepdims=0)]},
    "a column": {"behind": [step("Transpose", perm=[1, 0])]},
    "in front": {"behind": [BACK]},
    "back and forth": {"behind": [LOSE, BACK, LOSE, step("Unsqueeze", [-1])]},
    "a vector times a matrix": {"within": [LOSE], "vector": True},
    "a vector of another shape": {"within": [step("Reshape", [3])], "vector": True},
    "a column and back": {"behind": [LOSE, step("Unsqueeze", [1]), ALL]},
    "rounded without it": {"within": [LOSE, step("Add", np.array([1, 2, 3], np.float32)), BACK]},
    "attributes of an old opset": {"within": [step("Squeeze", axes=[0]), step("Unsqueeze", axes=[0])], "opset": 11},
    "the image without it": {"before": [LOSE, step("Mul", np.array([1, 2, 1, 0.5], np.float32)), BACK]},
    "turned there and back": {"within": [step("Transpose", perm=[1, 0]), step("Relu"), step("Transpose", perm=[1, 0])]},
    "two axes turned": {"within": [step("Unsqueeze", [2]), step("Transpose", perm=[2, 1, 0]), step("Flatten")]},
    "a product of matrices": {"within": [step("Unsqueeze", [2]), LOSE, step("Transpose", perm=[1, 0])]},
    "negative axes": {"within": [step("Squeeze", [-2]), step("Unsqueeze", [-2])]},
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_one_image_has_a_batch_axis_again(kind, save) -> None:
    given: dict[str, object] = {"before": [], "within": [], "behind": [], "opset": 17, "vector": False, **CASES[kind]}
    _equal(network(**given), save)  # type: ignore[arg-type]


def test_weights_on_the_left_of_a_vector(save) -> None:
    model = network([], [LOSE], [], 17, vector=True)
    head = model.graph.node[-1]
    head.input[:] = head.input[::-1]
    _equal(model, save)


def _equal(model: onnx.ModelProto, save) -> None:
    path = save(model)
    run = session(path.read_bytes())
    wanted = np.array([run.run(None, {"image": image[None].astype(np.float32)})[0] for image in IMAGES])
    done, data = compile_model(path), Dataset("seven", "test", IMAGES)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores.reshape(7, -1), wanted.reshape(7, -1))
    assert verify(path, IMAGES).equal
    assert chipsim.compare(done.mapping, path, data).equal


def test_it_takes_several_images_then() -> None:
    model = network([], [], [step("Reshape", [3])], 17, vector=False)
    found = with_batch_axis(model)
    found.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    assert session(found).run(None, {"image": IMAGES.astype(np.float32)})[0].shape == (7, 3)


def left_alone(steps: list[Step]) -> Callable[[], onnx.ModelProto]:
    return lambda: network([], [], steps, 17, vector=False)


@pytest.mark.parametrize(
    "make",
    [
        left_alone([]),
        left_alone([step("Reshape", [1, 3])]),
        left_alone([step("Softmax", axis=1)]),
        left_alone([ALL, step("CumSum", np.array(0))]),
        left_alone([step("Reshape", [3]), step("Concat", np.array([1.0, 2.0], np.float32), axis=0)]),
        left_alone([step("Reshape", [3]), step("Add", np.ones((2, 3), np.float32))]),
    ],
)
def test_a_file_that_keeps_its_axis_or_cannot_have_it_is_left_alone(make) -> None:
    model = make()
    assert with_batch_axis(model) is model
