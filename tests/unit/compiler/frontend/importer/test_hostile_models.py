"""Files that someone may hand over: each is refused in one line, exit code 3, or read as what it says."""

from __future__ import annotations

import random
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.networks import Builder, Recipe, build

from chipsim.errors import ReportedError, UsageError
from qsnnc.errors import ModelError
from qsnnc.pipeline import check
from qsnnc.reading import front
from qsnnc.verification import verify


def plain() -> onnx.ModelProto:
    return build(Recipe(6, 2, 1, 2, ("conv",), 3, seed=5, odd=False))


def edited(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        model = plain()
        change(model)
        path = folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def content(data: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "model.onnx").write_bytes(data)
        return folder / "model.onnx"

    return write


def initializer(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def replaced(name: str, value: np.ndarray) -> Callable[[Path], Path]:
    return edited(lambda m: initializer(m, name).CopyFrom(numpy_helper.from_array(value, name)))


def external(change: Callable[[Path], None], **where: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "model.onnx"
        onnx.save(plain(), str(path), save_as_external_data=True, location="w.data", size_threshold=0)
        change(folder / "w.data")
        if where:
            model = onnx.load(str(path), load_external_data=False)
            for tensor in model.graph.initializer:
                for entry in tensor.external_data:
                    entry.value = where.get(entry.key, entry.value)
            path.write_bytes(model.SerializeToString())
        return path

    return write


def with_branch(op: str) -> Callable[[Path], Path]:
    """Put control flow behind the output."""

    def change(model: onnx.ModelProto) -> None:
        out = model.graph.output[0].name
        largest = helper.make_node("ReduceMax", [out], ["largest"], name="largest", keepdims=0)
        asked = helper.make_node("Cast", ["largest"], ["condition"], name="asked", to=9 if op == "If" else 7)
        value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
        if op == "If":
            node = helper.make_node("Identity", [out], ["inner"])
            body = helper.make_graph([node], "body", [], [value])
            made = helper.make_node("If", ["condition"], ["chosen"], name="branch", then_branch=body, else_branch=body)
        elif op == "Loop":
            ends = [
                helper.make_tensor_value_info("i", TensorProto.INT64, []),
                helper.make_tensor_value_info("c", TensorProto.BOOL, []),
                helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
            ]
            nodes = [helper.make_node("Identity", ["v"], ["inner"]), helper.make_node("Identity", ["c"], ["d"])]
            again = helper.make_tensor_value_info("d", TensorProto.BOOL, [])
            body = helper.make_graph(nodes, "body", ends, [again, value])
            made = helper.make_node("Loop", ["condition", "", out], ["chosen"], name="branch", body=body)
        else:
            nodes = [helper.make_node("Identity", ["v"], ["inner"])]
            body = helper.make_graph(nodes, "body", [helper.make_tensor_value_info("v", TensorProto.FLOAT, None)], [value])
            made = helper.make_node("Scan", [out], ["chosen"], name="branch", body=body, num_scan_inputs=1)
        model.graph.node.extend([largest, asked, made])
        model.graph.output[0].name = "chosen"

    return edited(change)


def no_outputs(model: onnx.ModelProto) -> None:
    """A last layer of no neurons, which onnxruntime runs."""
    for tensor in model.graph.initializer:
        if tensor.name in ("head.weight", "head.bias"):
            value = numpy_helper.to_array(tensor)[:0]
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    model.graph.output[0].type.tensor_type.ClearField("shape")


def cyclic(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


def two_outputs(model: onnx.ModelProto) -> None:
    extra = helper.make_node("Relu", [model.graph.output[0].name], ["second"], name="more")
    model.graph.node.append(extra)
    model.graph.output.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, None))


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 3]))
    model.graph.node.append(helper.make_node("Mul", [model.graph.output[0].name, "mask"], ["masked"], name="masking"))
    model.graph.output[0].name = "masked"


def unread(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, None))


def input_shape(*dims: int | str) -> Callable[[Path], Path]:
    def change(model: onnx.ModelProto) -> None:
        shape = model.graph.input[0].type.tensor_type.shape
        shape.ClearField("dim")
        for dim in dims:
            entry = shape.dim.add()
            if isinstance(dim, int):
                entry.dim_value = dim
            else:
                entry.dim_param = dim

    return edited(change)


def input_type(kind: int) -> Callable[[Path], Path]:
    return edited(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", kind))


def sequence_input(model: onnx.ModelProto) -> None:
    value = helper.make_tensor_sequence_value_info("image", TensorProto.FLOAT, [1, 6, 6])
    model.graph.input[0].CopyFrom(value)


def sparse(where: int, *dims: int):
    def edit(model: onnx.ModelProto) -> None:
        values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
        indices = helper.make_tensor("where", TensorProto.INT64, [1], [where])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, dims))

    return edit


def text(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"hello"]))


def recursive_function(model: onnx.ModelProto) -> None:
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    for name, called in (("A", "B"), ("B", "A")):
        body = [helper.make_node(called, ["x"], ["y"], domain="mine")]
        model.functions.append(helper.make_function("mine", name, ["x"], ["y"], body, opset))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    out = model.graph.output[0].name
    model.graph.node.append(helper.make_node("A", [out], ["wrapped"], domain="mine"))
    model.graph.output[0].name = "wrapped"


def huge_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "huge"))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["huge"], ["ocean"], name="ocean"))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["ocean"], ["wave"], name="wave", keepdims=0))
    model.graph.node.append(helper.make_node("Add", [model.graph.output[0].name, "wave"], ["wet"], name="wet"))
    model.graph.output[0].name = "wet"


def opset(version: int) -> Callable[[Path], Path]:
    return edited(lambda m: setattr(m.opset_import[0], "version", version))


def attribute(name: str, value: object, node: str = "stem") -> Callable[[Path], Path]:
    def change(model: onnx.ModelProto) -> None:
        here = next(entry for entry in model.graph.node if entry.name == node)
        kept = [entry for entry in here.attribute if entry.name != name]
        del here.attribute[:]
        here.attribute.extend([*kept, helper.make_attribute(name, value)])

    return edited(change)


def nothing_to_compute(model: onnx.ModelProto) -> None:
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Identity", ["stem.weight"], [model.graph.output[0].name]))


def claims(name: str, dims: list[int]) -> Callable[[Path], Path]:
    def change(model: onnx.ModelProto) -> None:
        tensor = initializer(model, name)
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return edited(change)


#: what is written, how the line begins or which words it holds
HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "none.onnx", "cannot be read"),
    "directory": (lambda folder: folder, "cannot be read"),
    "zero in the name": (lambda folder: folder / "a\0b.onnx", "cannot be read"),
    "empty": (content(b""), "is empty"),
    "garbage": (content(bytes(range(256)) * 40), "not a readable ONNX model"),
    "text": (content(b"this is no model\n" * 9), "not a readable ONNX model"),
    "zeros": (content(b"\0" * 1000), "not a readable ONNX model"),
    "truncated": (content(plain().SerializeToString()[:-900]), "not a readable ONNX model"),
    "half": (content(plain().SerializeToString()[: plain().ByteSize() // 2]), "not a readable ONNX model"),
    "no graph": (content(onnx.ModelProto(ir_version=8).SerializeToString()), "it has no graph"),
    "external data missing": (external(Path.unlink), "which does not exist"),
    "external data cut short": (external(lambda p: p.write_bytes(p.read_bytes()[:-8])), "is truncated"),
    "external data empty": (external(lambda p: p.write_bytes(b"")), "is truncated"),
    "external data elsewhere": (external(lambda p: None, location="../w.data"), "must be in the folder of the model"),
    "external data absolute": (external(lambda p: None, location="/etc/passwd"), "must be in the folder of the model"),
    "external data nowhere": (external(lambda p: None, location=""), "must be in the folder of the model"),
    "external data far in": (external(lambda p: None, offset=str(1 << 50)), "is truncated"),
    "external data before it": (external(lambda p: None, offset="-4"), "has offset -4 and length"),
    "external data in a folder": (external(lambda p: (p.unlink(), p.mkdir())), "is no regular file"),
    "external data at a word": (external(lambda p: None, offset="here"), "cannot be read"),
    "sub-graph If": (with_branch("If"), "branch: If takes a branch by 'condition', which depends on the image ('image')"),
    "sub-graph Loop": (with_branch("Loop"), "branch: Loop runs its body as often as says 'condition', which depends on the image ('image')"),
    "sub-graph Scan": (with_branch("Scan"), "branch: Scan runs its body for each entry of 'head_out' along axis 0"),
    "function that calls itself": (edited(recursive_function), "cal"),
    "several outputs": (edited(two_outputs), "choose one with --output NAME"),
    "several inputs": (edited(second_input), "'image', 'mask'"),
    "no input": (edited(lambda m: m.graph.ClearField("input")), ""),
    "no input needed": (edited(nothing_to_compute), "does not depend on the input 'image'"),
    "neither input needed": (edited(lambda m: (nothing_to_compute(m), unread(m))), "does not depend on the inputs 'image', 'mask'"),
    "no output": (edited(lambda m: m.graph.ClearField("output")), ""),
    "output that nothing computes": (edited(lambda m: setattr(m.graph.output[0], "name", "image")), "no node computes"),
    "cycle": (edited(cyclic), "violates the ONNX standard"),
    "two tensors of a name": (edited(lambda m: m.graph.node[1].output.__setitem__(0, m.graph.node[0].output[0])), "violates the ONNX standard"),
    "NaN weights": (replaced("stem.weight", np.full((2, 1, 3, 3), np.nan, np.float32)), "stem: its constant 'stem.weight' contains NaN"),
    "infinite weights": (replaced("conv0.weight", np.full((2, 2, 3, 3), np.inf, np.float32)), "conv0: its constant 'conv0.weight' contains infinity"),
    "negative variance": (replaced("stem/bn.var", np.full(2, -4.0, np.float32)), "negative variances"),
    "NaN scale": (replaced("stem/quant.up", np.array(np.nan, np.float32)), "contains NaN"),
    "NaN as a factor": (edited(lambda m: m.graph.node[-1].attribute.append(helper.make_attribute("alpha", float("nan")))), "head: its attribute alpha is nan"),
    "infinity as a factor": (edited(lambda m: m.graph.node[-1].attribute.append(helper.make_attribute("beta", float("inf")))), "head: its attribute beta is inf"),
    "no weights": (replaced("stem.weight", np.zeros((0, 1, 3, 3), np.float32)), ""),
    "no neurons": (edited(no_outputs), "head: its constant 'head.weight' has shape (0, 32), without elements"),
    "empty kernel": (replaced("stem.weight", np.zeros((2, 1, 0, 3), np.float32)), ""),
    "weights of another rank": (replaced("stem.weight", np.zeros((2, 3), np.float32)), ""),
    "weights of another size": (replaced("head.weight", np.zeros((3, 7), np.float32)), ""),
    "weights of another type": (replaced("stem.weight", np.zeros((2, 1, 3, 3), np.int64)), ""),
    "weights that claim more": (claims("stem.weight", [2, 1, 3, 300]), ""),
    "weights that claim terabytes": (claims("stem.weight", [1 << 40, 1 << 20]), "has the invalid shape"),
    "weights of negative size": (claims("stem.weight", [-2, 1, 3, 3]), ""),
    "axes that are not fixed": (input_shape("N", 1, "H", "W"), "every axis but the first, the batch, needs a fixed size"),
    "an axis of no size": (input_shape("N", 1, 0, 6), "every axis but the first, the batch, needs a fixed size"),
    "a negative axis": (input_shape("N", 1, -6, 6), "every axis but the first, the batch, needs a fixed size"),
    "no axes": (input_shape(), "no batch axis"),
    "another rank": (input_shape("N", 36), ""),
    "other channels": (input_shape("N", 3, 6, 6), ""),
    "an image of petabytes": (input_shape("N", 1, 1 << 25, 1 << 25), "values per image"),
    "an overflowing image": (input_shape("N", 1 << 62, 1 << 62, 1 << 62), "values per image"),
    "an image too small for the kernel": (input_shape("N", 1, 1, 1), ""),
    "a constant of terabytes": (edited(huge_constant), "at most"),
    "text input": (input_type(TensorProto.STRING), "has element type string; allowed: floats of 16 to 64 bits and integers of 8 to 64"),
    "truth input": (input_type(TensorProto.BOOL), "has element type bool"),
    "complex input": (input_type(TensorProto.COMPLEX64), "has element type complex64"),
    "input of four bits": (input_type(TensorProto.INT4), "has element type int4; allowed: floats of 16 to 64 bits and integers of 8 to 64"),
    "input in bfloat16": (input_type(TensorProto.BFLOAT16), "has element type bfloat16"),
    "input of another type": (input_type(TensorProto.INT64), ""),
    "input of no type": (input_type(0), ""),
    "sequence as input": (edited(sequence_input), "is not a tensor"),
    "sparse weights far too large": (edited(sparse(0, 1 << 20, 1 << 20)), "at most 268,435,456 are supported"),
    "sparse weights out of bounds": (edited(sparse(4, 4)), "do not match its 1 values and shape (4,)"),
    "text in it": (edited(text), "holds text"),
    "opset 6": (opset(6), "uses opset 6; 7 to 28"),
    "opset 99": (opset(99), "99"),
    "opset 0": (opset(0), ""),
    "no opset": (edited(lambda m: m.ClearField("opset_import")), ""),
    "IR version 99": (edited(lambda m: setattr(m, "ir_version", 99)), "ir_version"),
    "unknown attribute": (attribute("speed", 3), "'speed'"),
    "attribute of another type": (attribute("pads", "all"), ""),
    "negative stride": (attribute("strides", [-1, -1]), ""),
    "no stride": (attribute("strides", [0, 0]), ""),
    "pads without end": (attribute("pads", [1 << 40] * 4), ""),
    "too few pads": (attribute("pads", [1]), ""),
    "no groups": (attribute("group", 0), ""),
    "groups that do not divide": (attribute("group", 5), ""),
    "auto_pad of no kind": (attribute("auto_pad", "SOMEHOW"), ""),
    "unknown operator": (edited(lambda m: setattr(m.graph.node[0], "op_type", "Convolve")), ""),
    "unknown domain": (edited(lambda m: setattr(m.graph.node[0], "domain", "my.own")), ""),
    "no operator": (edited(lambda m: setattr(m.graph.node[0], "op_type", "")), ""),
    "no inputs": (edited(lambda m: m.graph.node[0].ClearField("input")), ""),
    "no outputs": (edited(lambda m: m.graph.node[0].ClearField("output")), ""),
    "pixels of no kind": (edited(lambda m: helper.set_model_props(m, {"qsnnc.pixels": "blue"})), "qsnnc.pixels"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_models_are_refused_in_one_line(tmp_path, kind) -> None:
    write, words = HOSTILE[kind]
    path = write(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError) as caught:
            check(path)
    for error in (caught.value, *caught.value.problems):
        assert error.exit_code == 3
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 600
        assert error.code
    assert words in str(caught.value)


def test_larger_than_protobuf_allows(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("qsnnc.frontend.importer.parse.MOST_BYTES", 1000)
    path = edited(lambda m: None)(tmp_path)
    with pytest.raises(ModelError, match="larger than 2 GB"):
        check(path)


# -- odd, but right ---------------------------------------------------------------------------------------------


def renamed(model: onnx.ModelProto, rename: Callable[[str], str]) -> None:
    """Give every tensor another name."""
    for node in model.graph.node:
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    for value in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        value.name = rename(value.name)


def name_nodes(model: onnx.ModelProto, name: str) -> None:
    for node in model.graph.node:
        node.name = name


def weights_as_inputs(model: onnx.ModelProto) -> None:
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def in_a_function(model: onnx.ModelProto) -> None:
    """Hide every Relu-like chain in a function of the file's own."""
    body = [helper.make_node("Round", ["x"], ["y"])]
    model.functions.append(helper.make_function("mine", "Quant", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    for node in model.graph.node:
        if node.op_type == "Round":
            node.op_type, node.domain = "Quant", "mine"


def dead_loop(model: onnx.ModelProto) -> None:
    """Nodes that no output needs may be what they like."""
    extra = helper.make_node("LSTMLike", ["image"], ["unread"], domain="my.own")
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    model.graph.node.append(extra)


ODD: dict[str, Callable[[onnx.ModelProto], None]] = {
    "batch N": lambda m: None,
    "batch -1": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", -1),
    "batch 0": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 0),
    "batch 1": lambda m: [setattr(v.type.tensor_type.shape.dim[0], "dim_value", 1) for v in (m.graph.input[0], m.graph.output[0])],
    "batch 8": lambda m: [setattr(v.type.tensor_type.shape.dim[0], "dim_value", 8) for v in (m.graph.input[0], m.graph.output[0])],
    "slashes": lambda m: renamed(m, lambda name: f"/model/{name}/x"),
    "spaces": lambda m: renamed(m, lambda name: f"{name} of mine "),
    "unicode": lambda m: renamed(m, lambda name: f"層_{name}_é"),
    "percent": lambda m: renamed(m, lambda name: f"%{name}%s{{}}[0]"),
    "file": lambda m: renamed(m, lambda name: "file" if name == "image" else name),
    "no node names": lambda m: name_nodes(m, ""),
    "one node name": lambda m: name_nodes(m, "same"),
    "node names with slashes": lambda m: name_nodes(m, "/a b/c\n/é"),
    "weights among the inputs": weights_as_inputs,
    "a function": in_a_function,
    "a dead operator": dead_loop,
    "opset 13": lambda m: setattr(m.opset_import[0], "version", 13),
    "opset 24": lambda m: (setattr(m.opset_import[0], "version", 24), setattr(m, "ir_version", 10)),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_odd_models_are_read_as_what_they_are(tmp_path, kind) -> None:
    path = edited(ODD[kind])(tmp_path)
    found = verify(path, limit=9)
    assert found.equal, found.mismatches
    done = check(path, "xbar1152")
    assert done.fits


def reshaping(batch: int) -> onnx.ModelProto:
    """A network whose reshape asks for so many images."""
    net = Builder((1, 6, 6))
    rng = np.random.default_rng(0)
    net.conv("stem", rng.integers(-20, 21, (2, 1, 3, 3)) / 32.0)
    net.quantize("q", 1, 2)
    net.node("Reshape", "flat", net.const("shape", np.array([batch, -1], np.int64)))
    net.shape = (32,)
    net.gemm("head", rng.integers(-2, 3, (3, 32)) / 2.0)
    return net.model()


def test_reshape_to_a_fixed_batch(tmp_path) -> None:
    """A file exported for eight images, its reshape among them, takes any number."""
    model = reshaping(8)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 8
    path = tmp_path / "eight.onnx"
    path.write_bytes(model.SerializeToString())
    assert verify(path, limit=5).equal


def test_reshape_to_one_image_in_a_dynamic_batch(tmp_path) -> None:
    path = tmp_path / "one.onnx"
    path.write_bytes(reshaping(1).SerializeToString())
    assert verify(path, limit=5).equal


def test_external_data_is_read(tmp_path) -> None:
    assert verify(external(lambda p: None)(tmp_path), limit=4).equal


def test_an_output_is_chosen_and_what_it_does_not_need_is_no_problem(tmp_path) -> None:
    def change(model: onnx.ModelProto) -> None:
        two_outputs(model)
        model.graph.node[-1].domain = "my.own"
        model.opset_import.append(helper.make_opsetid("my.own", 1))

    path = edited(change)(tmp_path)
    first = onnx.load(str(path)).graph.output[0].name
    assert check(path, output=first).fits
    with pytest.raises(ModelError, match="my\\.own"):
        check(path, output="second")
    with pytest.raises(UsageError) as caught:
        check(path, output="third")
    assert caught.value.fields["allowed"] == [first, "second"]


def test_unknown_operators_and_attributes_are_listed_together(tmp_path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute("speed", 3))
        model.graph.node[-1].domain = "my.own"
        model.opset_import.append(helper.make_opsetid("my.own", 1))

    with pytest.raises(ModelError) as caught:
        check(edited(change)(tmp_path))
    # the checker sees an unknown attribute first; whichever, each is one line of its own
    assert len({str(problem) for problem in caught.value.problems}) == len(caught.value.problems)


# -- damaged bytes ----------------------------------------------------------------------------------------------


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change, cut out, double or swap some bytes."""
    whole = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(whole))
        kind = rng.randrange(5)
        if kind == 0:
            whole[at] = rng.randrange(256)
        elif kind == 1:
            del whole[at : at + rng.randrange(1, 9)]
        elif kind == 2:
            whole[at:at] = whole[at : at + rng.randrange(1, 40)]
        elif kind == 3:
            whole[at : at + 4] = struct.pack("<f", rng.choice([0.0, -1.0, 1e38, float("nan"), float("inf"), 1e-45]))
        else:
            whole[at] ^= 1 << rng.randrange(8)
    return bytes(whole)


def judge(path: Path) -> None:
    """Read a model as check and verify do; only errors that a user is told about may come out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            front(path)
    except ReportedError as error:
        assert error.exit_code in (2, 3)  # noqa: PT017
        assert len(str(error).splitlines()) == 1  # noqa: PT017


def muddled(model: onnx.ModelProto, rng: random.Random) -> onnx.ModelProto:
    """Change what a node, a tensor or a shape says, and leave the file whole."""
    operators = [
        "Relu",
        "Conv",
        "MatMul",
        "Add",
        "Flatten",
        "MaxPool",
        "Concat",
        "Clip",
        "Round",
        "Transpose",
        "Split",
        "LSTM",
    ]
    numbers = [-(1 << 40), -2, -1, 0, 1, 2, 3, 7, 1 << 20, 1 << 40]
    graph = model.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    for _ in range(rng.choice([1, 1, 2, 4])):
        node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
        kind = rng.randrange(10)
        if kind == 0:
            node.op_type = rng.choice(operators)
        elif kind == 1 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(["", *names])
        elif kind == 2:
            node.input.append(rng.choice(names))
        elif kind == 3 and node.input:
            node.input.pop()
        elif kind == 4 and node.attribute:
            entry = rng.choice(node.attribute)
            entry.i = rng.choice(numbers)
            for position in range(len(entry.ints)):
                entry.ints[position] = rng.choice(numbers)
        elif kind == 5 and tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(numbers)
        elif kind == 6 and tensor.dims:
            array = numpy_helper.to_array(tensor)
            value = np.full(array.shape, rng.choice([0, 1, -1, 1e30, np.inf, np.nan]))
            with np.errstate(invalid="ignore"):
                tensor.CopyFrom(numpy_helper.from_array(value.astype(array.dtype), tensor.name))
        elif kind == 7:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(
                numpy_helper.from_array(np.resize(array, rng.choice([(), (1,), (0,), (2, 2), (3, 1, 1)])), tensor.name)
            )
        elif kind == 8:
            dim = rng.choice(graph.input[0].type.tensor_type.shape.dim)
            dim.dim_value = rng.choice(numbers[:8])
        else:
            del graph.node[rng.randrange(len(graph.node))]
            if not graph.node:
                break
    return model


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_are_read_or_refused(tmp_path, seed) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(damaged(plain().SerializeToString(), random.Random(seed)))
    judge(path)


@pytest.mark.parametrize("seed", range(100))
def test_muddled_models_are_read_or_refused(tmp_path, seed) -> None:
    path = tmp_path / "muddled.onnx"
    path.write_bytes(muddled(plain(), random.Random(seed)).SerializeToString())
    judge(path)
