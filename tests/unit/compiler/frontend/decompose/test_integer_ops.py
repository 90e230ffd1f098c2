"""Integer operators and com.microsoft's: each decomposition against onnxruntime's own kernel, and networks made of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.against_reference import equal, finish
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import InputError
from chipsim.integer_kernels import of_one_signedness
from qsnnc import ModelError, compile_model, verify
from qsnnc.frontend.decompose.integer_ops import decompose
from qsnnc.frontend.model.reference import session

MICROSOFT = "com.microsoft"
TYPES = [np.uint8, np.int8]


def model(nodes, inputs, output, constants, opset: int = 17) -> onnx.ModelProto:
    kinds = {name: helper.np_dtype_to_tensor_dtype(np.dtype(dtype)) for name, (_, dtype) in inputs.items()}
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, kinds[name], shape) for name, (shape, _) in inputs.items()],
        [
            helper.make_tensor_value_info(
                output[0], helper.np_dtype_to_tensor_dtype(np.dtype(output[1])), list(output[2:]) or None
            )
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


class Draw:
    """Random 8-bit data, zero points and scales, half of them powers of two."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = TYPES[seed % 2]
        self.ends = np.iinfo(self.dtype)

    def data(self, *shape: int) -> np.ndarray:
        return self.rng.integers(self.ends.min, self.ends.max + 1, shape).astype(self.dtype)

    def zero(self) -> np.ndarray:
        return np.array(self.rng.integers(self.ends.min, self.ends.max + 1), self.dtype)

    def scale(self) -> np.float32:
        return np.float32(self.rng.choice([self.rng.uniform(0.001, 0.2), 2.0 ** -self.rng.integers(1, 6)]))

    def scales(self, *names: str) -> dict[str, np.ndarray]:
        return {name: self.scale() if name.endswith("s") else self.zero() for name in names}


ONE = ("as", "az", "ys", "yz")
TWO = ("as", "az", "bs", "bz", "ys", "yz")
OPERATORS = {
    "QLinearAdd": (["a", "as", "az", "b", "bs", "bz", "ys", "yz"], TWO, {}),
    "QLinearMul": (["a", "as", "az", "w", "bs", "bz", "ys", "yz"], TWO, {}),
    "QLinearConcat": (["ys", "yz", "a", "as", "az", "b", "bs", "bz"], TWO, {"axis": 1}),
    "QLinearGlobalAveragePool": (["a", "as", "az", "ys", "yz"], ONE, {"channels_last": 0}),
    "QLinearLeakyRelu": (["a", "as", "az", "ys", "yz"], ONE, {"alpha": 0.1}),
    "QLinearSigmoid": (["a", "as", "az", "ys", "yz"], ONE, {}),
}


@pytest.mark.parametrize("op", OPERATORS)
def test_decomposition_equals_the_kernel(op) -> None:
    inputs, names, attributes = OPERATORS[op]
    for seed in range(20):
        draw = Draw(seed)
        shape = (1, 3, *draw.rng.integers(2, 9, 2).tolist())
        data = {name: (shape, draw.dtype) for name in ("a", "b") if name in inputs}
        constants = draw.scales(*names) | ({"w": draw.data(3, 1, 1)} if "w" in inputs else {})
        node = helper.make_node(op, inputs, ["y"], name="n", domain=MICROSOFT, **attributes)
        whole = model([node], data, ("y", draw.dtype), constants)
        images = {name: draw.data(*shape) for name in data}
        (wanted,) = session(whole).run(None, images)
        (found,) = session(decompose(whole)[0]).run(None, images)
        np.testing.assert_array_equal(found, wanted, err_msg=f"seed {seed}")


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("sizes", [(7,), (6, 7), (2, 3, 4)])
def test_a_global_average_is_over_all_axes_but_that_of_the_channels(sizes, last) -> None:
    """onnxruntime writes those of one axis as well, with the channels last, in networks of 1-D convolutions."""
    for seed in range(10):
        draw = Draw(seed)
        shape = (1, *sizes, 3) if last else (1, 3, *sizes)
        inputs, names, _ = OPERATORS["QLinearGlobalAveragePool"]
        node = helper.make_node("QLinearGlobalAveragePool", inputs, ["y"], name="n", domain=MICROSOFT, channels_last=last)
        whole = model([node], {"a": (shape, draw.dtype)}, ("y", draw.dtype), draw.scales(*names))
        image = {"a": draw.data(*shape)}
        (wanted,) = session(whole).run(None, image)
        (found,) = session(decompose(whole)[0]).run(None, image)
        np.testing.assert_array_equal(found, wanted, err_msg=f"seed {seed}")


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("windows", [
    {"strides": [2, 1], "pads": [1, 0, 1, 1]},
    {"strides": [2, 2], "ceil_mode": 1},
    {"strides": [3, 2], "ceil_mode": 1, "pads": [0, 1, 1, 1]},
    {"kernel_shape": [4, 4], "strides": [3, 3], "ceil_mode": 1, "pads": [1, 0, 0, 2]},
    {"kernel_shape": [1, 2], "strides": [4, 3], "ceil_mode": 1},
    {"strides": [2, 2], "ceil_mode": 1, "auto_pad": "SAME_LOWER"},
])  # fmt: skip
def test_average_pool_decomposition_equals_the_kernel_on_scales_that_are_powers_of_two(windows, include) -> None:
    for seed in range(20):
        draw = Draw(seed)
        constants = {"as": np.float32(2.0**-3), "az": draw.zero(), "ys": np.float32(2.0**-2), "yz": draw.zero()}
        attributes = {"kernel_shape": [2, 2], "count_include_pad": include, **windows}
        inputs = OPERATORS["QLinearGlobalAveragePool"][0]
        node = helper.make_node("QLinearAveragePool", inputs, ["y"], name="n", domain=MICROSOFT, **attributes)
        whole = model([node], {"a": ((1, 2, 6, 7), draw.dtype)}, ("y", draw.dtype), constants)
        image = {"a": draw.data(1, 2, 6, 7)}
        (wanted,) = session(whole).run(None, image)
        (found,) = session(decompose(whole)[0]).run(None, image)
        np.testing.assert_array_equal(found, wanted, err_msg=f"seed {seed}")


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "powers_of_two"),
    [
        ("QLinearConv", ["a", "as", "az", "w", "bs", "bz", "ys", "yz"], {"pads": [1, 0, 1, 1], "strides": [1, 2]}, False),
        ("QLinearGlobalAveragePool", ["a", "as", "az", "ys", "yz"], {}, False),
        ("QLinearAveragePool", ["a", "as", "az", "ys", "yz"], {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}, True),
        ("NhwcMaxPool", ["a"], {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [0, 1, 1, 0]}, False),
    ],
)
def test_channels_last(op, inputs, attributes, powers_of_two) -> None:
    """What onnxruntime's layout optimisation writes."""
    for seed in range(20):
        draw = Draw(seed)
        constants = draw.scales(*TWO) if op != "NhwcMaxPool" else {}
        if powers_of_two:
            constants |= {"as": np.float32(2.0**-3), "ys": np.float32(2.0**-2)}
        if op == "QLinearConv":
            constants["w"] = draw.data(4, 3, 2, 2)
        last = {} if op == "NhwcMaxPool" else {"channels_last": 1}
        node = helper.make_node(op, inputs, ["y"], name="n", domain=MICROSOFT, **attributes, **last)
        whole = model([node], {"a": ((1, 6, 7, 3), draw.dtype)}, ("y", draw.dtype), constants)
        image = {"a": draw.data(1, 6, 7, 3)}
        (wanted,) = session(of_one_signedness(whole)).run(None, image)
        (found,) = session(decompose(whole)[0]).run(None, image)
        np.testing.assert_array_equal(found, wanted, err_msg=f"seed {seed}")


@pytest.mark.parametrize(
    ("op", "attributes"), [("Gelu", {}), ("BiasGelu", {}), ("QuickGelu", {"alpha": 1.5}), ("QuickGelu", {})]
)
def test_activations_of_the_optimisation(op, attributes) -> None:
    """What onnxruntime writes in place of float operators at level extended."""
    rng = np.random.default_rng(7)
    node = helper.make_node(op, ["a", "b"][: 1 + (op == "BiasGelu")], ["y"], name="n", domain=MICROSOFT, **attributes)
    constants = {"b": rng.normal(0, 1, 50).astype(np.float32)} if op == "BiasGelu" else {}
    whole = model([node], {"a": ((1000, 50), np.float32)}, ("y", np.float32), constants)
    image = {"a": rng.normal(0, 3, (1000, 50)).astype(np.float32)}
    (wanted,) = session(whole).run(None, image)
    (found,) = session(decompose(whole)[0]).run(None, image)
    np.testing.assert_array_equal(found, wanted)


def test_a_product_of_two_tensors() -> None:
    """As quantize_static writes x * sigmoid(x): both of one root, which the reader finds out."""
    for seed in range(12):
        draw = Draw(seed)
        inputs = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
        node = helper.make_node("QLinearMul", inputs, ["y"], name="n", domain=MICROSOFT)
        shape = ((1, 2, 16, 16), draw.dtype)
        whole = model([node], {"a": shape, "b": shape}, ("y", draw.dtype), draw.scales(*TWO))
        feeds = {"a": draw.data(1, 2, 16, 16), "b": draw.data(1, 2, 16, 16)}
        (wanted,) = session(whole).run(None, feeds)
        (found,) = session(decompose(whole)[0]).run(None, feeds)
        np.testing.assert_array_equal(found, wanted, err_msg=f"seed {seed}")


@pytest.mark.parametrize(
    ("op", "attributes", "code"),
    [
        ("QLinearGlobalAveragePool", {"blocks": 1}, "model-attribute"),
        ("QLinearLeakyRelu", {"alpha": 0.1, "beta": 3.0}, "model-attribute"),
        ("QLinearWhere", {}, "model-operator"),
        ("QLinearSoftmax", {"blocks": 1}, "model-attribute"),
        ("DynamicQuantizeMatMul", {}, "not-static"),
    ],
)
def test_what_is_refused(op, attributes, code) -> None:
    node = helper.make_node(op, ["a", "as", "az", "ys", "yz"], ["y"], name="n", domain=MICROSOFT, **attributes)
    draw = Draw(0)
    shape = ((1, 3, 4, 4), draw.dtype)
    with pytest.raises(InputError, match=r"^n: ") as caught:
        decompose(model([node], {"a": shape, "b": shape}, ("y", draw.dtype), draw.scales(*TWO)))
    assert caught.value.code == code


def q_operators(rng: np.random.Generator, last: str) -> onnx.ModelProto:
    """A residual network of QLinear operators at two to three bits, as quantize_static writes them at eight."""
    half, whole = np.float32(0.5), np.float32(0.25)
    zero = np.uint8(0)
    constants = {
        "x.s": np.float32(0.5), "half": half, "whole": whole, "zero": zero, "low": np.float32(0), "high": np.float32(1.5),
        "w1": rng.integers(-1, 2, (2, 1, 3, 3)).astype(np.int8), "w2": rng.integers(-2, 3, (2, 2, 3, 3)).astype(np.int8),
        "w3": rng.integers(-3, 4, (4, 2 if last == "pool" else 72)).astype(np.int8), "wz": np.int8(1), "b": np.array([1, -2], np.int32),
        "bias": np.array([1, 0, -3, 2], np.int32), "up": np.float32(2.0), "m": rng.integers(-3, 4, (4, 3)).astype(np.int8),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Mul", ["image", "x.s"], ["scaled"], name="scale"),
        node("Clip", ["scaled", "low", "high"], ["cut"], name="cut"),
        node("QuantizeLinear", ["cut", "half", "zero"], ["q0"], name="quantize"),
        node(
            "QLinearConv", ["q0", "half", "zero", "w1", "half", "wz", "up", "zero", "b"], ["q1"], name="conv1", pads=[1] * 4
        ),
        node("Clip", ["q1", "u0", "u3"], ["q1c"], name="clip1"),
        node("QLinearConv", ["q1c", "up", "zero", "w2", "whole", "wz", "up", "zero"], ["q2"], name="conv2", pads=[1] * 4),
        node("Clip", ["q2", "u0", "u3"], ["q2c"], name="clip2"),
        node("QLinearAdd", ["q2c", "up", "zero", "q1c", "up", "zero", "up", "zero"], ["q3"], name="add", domain=MICROSOFT),
    ]
    constants |= {"u0": np.uint8(0), "u3": np.uint8(3)}
    if last == "pool":
        pool = ["q3", "up", "zero", "half", "zero"]
        nodes.append(node("QLinearGlobalAveragePool", pool, ["q4"], name="pool", domain=MICROSOFT, channels_last=0))
        nodes.append(node("Clip", ["q4", "u0", "u9"], ["q4c"], name="clip4"))
        nodes.append(node("Flatten", ["q4c"], ["flat"], name="flat"))
        constants["u9"] = np.uint8(9)
    else:
        nodes.append(node("Flatten", ["q3"], ["flat"], name="flat"))
    gemm = ["flat", "up", "zero", "w3", "half", "wz", "bias"]
    nodes.append(node("QGemm", gemm, ["y"], name="fc", domain=MICROSOFT, transB=1))
    constants["q9"] = np.uint8(0)
    return model(nodes, {"image": (("N", 1, 6, 6), np.float32)}, ("y", np.float32, "N", "M"), constants)


@pytest.mark.slow
@pytest.mark.parametrize("last", ["pool", "flat"])
def test_residual_network_of_q_operators(save, last) -> None:
    path = save(q_operators(np.random.default_rng(3), last))
    images = np.random.default_rng(0).integers(0, 5, (20, 1, 6, 6)).astype(np.float32)
    assert verify(path, images).equal
    done = compile_model(path)
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None))
    np.testing.assert_array_equal(result.scores, session(path.read_bytes()).run(None, {"image": images})[0])


@pytest.mark.parametrize("given", [(), ("scale",), ("zero",), ("scale", "zero")])
def test_qgemm_with_either_of_the_numbers_of_its_result(save, given) -> None:
    """A scale alone divides a float result; a zero point alone rounds as if the scale were one."""
    node, rng = helper.make_node, np.random.default_rng(5)
    last = ["up" if "scale" in given else "", "seven" if "zero" in given else ""]
    constants = {
        "one": np.float32(1), "none": np.uint8(0), "half": np.float32(0.5), "up": np.float32(2), "seven": np.uint8(7),
        "w": rng.integers(0, 7, (4, 3)).astype(np.uint8), "wz": np.uint8(3), "low": np.float32(0), "high": np.float32(3),
    }  # fmt: skip
    nodes = [
        node("Clip", ["image", "low", "high"], ["cut"], name="cut"),
        node("QuantizeLinear", ["cut", "one", "none"], ["q"], name="quantize"),
        node("QGemm", ["q", "one", "none", "w", "half", "wz", "", *last], ["s"], name="fc", domain=MICROSOFT),
        node("DequantizeLinear", ["s", "one", "none"], ["y"], name="read") if "zero" in given else
        node("Identity", ["s"], ["y"], name="read"),
    ]  # fmt: skip
    path = save(model(nodes, {"image": (("N", 4), np.float32)}, ("y", np.float32, "N", "M"), constants))
    images = rng.integers(0, 4, (20, 4)).astype(np.float32)
    assert verify(path, images).equal
    result = chipsim.run(compile_model(path).mapping, Dataset("random", "test", images, None))
    np.testing.assert_array_equal(result.scores, session(path.read_bytes()).run(None, {"image": images})[0])


@pytest.mark.parametrize("op", ["MatMulInteger", "ConvInteger"])
def test_integer_sums_with_constant_zero_points(save, op) -> None:
    rng = np.random.default_rng(4)
    node = helper.make_node
    shape = (8, 4) if op == "MatMulInteger" else (3, 2, 2, 2)
    constants = {
        "s": np.float32(1.0), "z": np.uint8(2), "w": rng.integers(0, 9, shape).astype(np.uint8), "wz": np.uint8(4),
        "lo": np.float32(-2), "hi": np.float32(3),
    }  # fmt: skip
    size = ("N", 8) if op == "MatMulInteger" else ("N", 2, 5, 5)
    nodes = [
        node("Clip", ["image", "lo", "hi"], ["cut"], name="cut"),
        node("QuantizeLinear", ["cut", "s", "z"], ["q"], name="quantize"),
        node(op, ["q", "w", "z", "wz"], ["i"], name="sums"),
        node("Cast", ["i"], ["y"], name="cast", to=TensorProto.FLOAT),
    ]
    compiles_to_the_same(save, nodes, size, constants, rng)


@pytest.mark.slow
def test_weights_and_factors_that_the_file_computes(save) -> None:
    """quantize_static leaves a QuantizeLinear on what another operator makes of a constant."""
    rng = np.random.default_rng(6)
    node = helper.make_node
    constants = {
        "s": np.float32(0.5), "z": np.uint8(0), "wz": np.int8(0), "lo": np.float32(0), "hi": np.float32(1.5),
        "w": (0.5 * rng.integers(-2, 3, (4, 2, 3, 3))).astype(np.float32), "f": np.float32([0.5, 1.0, 1.5, 1.0]),
        "axes": np.array([1, 2]), "u0": np.uint8(0), "u3": np.uint8(3),
    }  # fmt: skip
    nodes = [
        node("Clip", ["image", "lo", "hi"], ["cut"], name="cut"),
        node("QuantizeLinear", ["cut", "s", "z"], ["q"], name="quantize"),
        node("QuantizeLinear", ["w", "s", "wz"], ["wq"], name="weights"),
        node("Unsqueeze", ["f", "axes"], ["column"], name="column"),
        node("QuantizeLinear", ["column", "s", "z"], ["fq"], name="factors"),
        node("QLinearConv", ["q", "s", "z", "wq", "s", "wz", "s", "z"], ["sums"], name="conv"),
        node("Clip", ["sums", "u0", "u3"], ["few"], name="few"),
        node("QLinearMul", ["few", "s", "z", "fq", "s", "z", "s", "z"], ["times"], name="times", domain=MICROSOFT),
        node("DequantizeLinear", ["times", "s", "z"], ["y"], name="back"),
    ]
    compiles_to_the_same(save, nodes, ("N", 2, 5, 5), constants, rng)


def compiles_to_the_same(save, nodes, size, constants, rng) -> None:
    """On the integer network and on the chip, to the bit."""
    out = ("N", "M") if len(size) == 2 else ("N", "C", "H", "W")
    path = save(model(nodes, {"image": (size, np.float32)}, ("y", np.float32, *out), constants))
    images = rng.integers(-4, 6, (30, *size[1:])).astype(np.float32)
    assert verify(path, images).equal
    result = chipsim.run(compile_model(path).mapping, Dataset("random", "test", images, None))
    np.testing.assert_array_equal(result.scores, session(path.read_bytes()).run(None, {"image": images})[0])


@pytest.mark.parametrize("op", ["FusedConv", "FusedGemm", "FusedMatMul"])
def test_fused_operators(save, op) -> None:
    rng = np.random.default_rng(5)
    node = helper.make_node
    constants = {"lo": np.float32(0), "hi": np.float32(3), "w": rng.integers(-1, 2, (4, 8)).astype(np.float32)}
    size = ("N", 8)
    attributes: dict[str, object] = {"activation": "Relu", "transB": 1} if op == "FusedGemm" else {"transB": 1, "alpha": 0.5}
    if op == "FusedConv":
        size = ("N", 2, 5, 5)
        constants["w"] = rng.integers(-1, 2, (4, 2, 3, 3)).astype(np.float32)
        attributes = {"activation": "Clip", "activation_params": [0.0, 3.0], "pads": [1] * 4}
    nodes = [
        node("Round", ["image"], ["round"], name="round"),
        node("Clip", ["round", "lo", "hi"], ["cut"], name="cut"),
        node(op, ["cut", "w"], ["sum"], name="sums", domain=MICROSOFT, **attributes),
        node("Round", ["sum"], ["round2"], name="round2"),
        node("Clip", ["round2", "lo", "hi"], ["y"], name="cut2"),
    ]
    compiles_to_the_same(save, nodes, size, constants, rng)


@pytest.mark.slow
def test_integer_operators_in_opset_10(save) -> None:
    """As onnxruntime's first quantizer wrote them; Clip and Pad had attributes until opset 11."""
    net = Builder((1, 6, 6))
    net.node("Mul", "scale", net.const("scale.k", np.float32(1 / 64)))
    net.node("Clip", "clip", min=0.0, max=3.0)
    unit, zero = net.const("unit", np.float32(0.5)), net.const("zero", np.uint8(7))
    net.node("QuantizeLinear", "q", unit, zero)
    weights = np.resize(np.uint8([8, 7, 6, 8, 9]), (2, 1, 3, 3))
    wide = net.const("wide", np.float32(2))
    net.node("QLinearConv", "conv", unit, zero, net.const("w", weights), wide, zero, wide, zero)
    net.node("DequantizeLinear", "dq", wide, zero)
    net.node("Clip", "cut", max=6.0)
    net.node("Clip", "bottom", min=-2.0)
    net.node("Pad", "pad", pads=[0, 0, 0, 1, 0, 0, 1, 0], value=2.0, mode="constant")
    equal(finish(net, (2, 5, 5)), save, opset=10)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("block", [2, 3, 8])
def test_weights_with_a_scale_for_each_block(axis, block, save) -> None:
    """What they come to decides, as with weights that the file computes in any other way."""
    rng = np.random.default_rng(block)
    net = Builder((8,))
    net.quantize("a", -6, 3)
    shape = [6, 8]
    shape[axis] = -(-shape[axis] // block)
    net.const("q", rng.integers(-2, 3, (6, 8)).astype(np.int8))
    net.const("q.scale", 2.0 ** rng.integers(-2, 1, shape).astype(np.float32))
    net.node("Gemm", "first", "w", transB=1)
    net.quantize("b", -1, 3)
    net.gemm("head", rng.integers(-3, 4, (3, 6)).astype(float))
    weights = helper.make_node("DequantizeLinear", ["q", "q.scale"], ["w"], "whole", axis=axis, block_size=block)
    net.nodes.insert(0, weights)
    net.shape = (3,)
    path = save(net.model(opset=21))
    images = rng.integers(0, 256, (20, 8)).astype(np.uint8)
    found = chipsim.run(compile_model(path).mapping, Dataset("twenty", "test", images))
    np.testing.assert_array_equal(
        found.scores, session(onnx.load(str(path))).run(None, {"image": images.astype(np.float32)})[0]
    )


def test_an_activation_with_a_scale_for_each_block_is_refused(save) -> None:
    net = Builder((8,))
    scale, zero = net.const("s", np.full((1, 4), 64, np.float32)), net.const("z", np.zeros((1, 4), np.uint8))
    net.node("QuantizeLinear", "q", scale, zero, axis=1, block_size=2)
    net.node("DequantizeLinear", "dq", scale, zero, axis=1, block_size=2)
    net.gemm("head", np.ones((3, 8)))
    with pytest.raises(
        ModelError, match="q: QuantizeLinear: its activation has one scale per block; quantize it with one"
    ) as caught:
        compile_model(save(net.model(opset=21)))
    assert caught.value.code == "not-static"


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_an_activation_of_eight_bit_floats_is_said_to_be_uneven(kind, save) -> None:
    """Its values are few; it is their distances that would need so many neurons."""
    import ml_dtypes

    net = Builder((8,))
    scale, zero = net.const("s", np.float32(4)), net.const("z", np.zeros((), getattr(ml_dtypes, kind)))
    net.node("QuantizeLinear", "q", scale, zero)
    net.node("DequantizeLinear", "dq", scale, zero)
    net.gemm("head", np.ones((3, 8)))
    with pytest.raises(ModelError, match=r"has \d+ values at different distances|not equally spaced"):
        compile_model(save(net.model(opset=21)))
