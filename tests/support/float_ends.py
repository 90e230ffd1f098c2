"""Stand-ins of published networks with float layers at the ends, and of the MLPs that QONNX files hold; random weights."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from support.networks import Builder

QONNX = "qonnx.custom_op.general"
#: layers of the scatter-and-gather LeNet: outputs, kernel, stride, padding
LENET = {
    "conv1": (16, 5, 1, 2),
    "conv2": (16, 5, 1, 0),
    "down1": (16, 2, 2, 0),
    "conv3": (32, 5, 1, 0),
    "down2": (32, 2, 2, 0),
    "conv4": (256, 4, 1, 0),
}
Form = Literal["chain", "qdq"]


def float_lenet(rng: np.random.Generator, form: Form, k: int = 1, bound: int = 2) -> onnx.ModelProto:
    """The LeNet with a float first layer on pixels / 255 and a float classifier; ternary weights in between.

    The quantizer is a chain of elementwise operators, or QuantizeLinear and DequantizeLinear behind a Clip.
    """
    net = Builder((1, 28, 28))
    for name, (out, kernel, stride, pad) in LENET.items():
        shape = (out, net.shape[0], kernel, kernel)
        if name == "conv1":
            weights, spread = rng.normal(0, 0.3, shape), 0.6
        else:
            weights, spread = rng.integers(-1, 2, shape).astype(float), 0.4 * np.sqrt(np.prod(shape[1:]))
        net.conv(name, weights, pads=[pad] * 4, strides=[stride] * 2)
        gamma = rng.uniform(0.4, 1.2, out) * rng.choice([1, 1, 1, -1], out)
        net.batch_norm(
            f"{name}/bn", gamma, rng.normal(0.3, 0.4, out), rng.normal(0, 0.3 * spread, out), np.full(out, spread**2)
        )
        if form == "chain":
            net.quantize(f"{name}/quant", k, bound << k)
        else:
            bounds = [net.const(f"{name}.low", np.float32(0)), net.const(f"{name}.high", np.float32(bound))]
            net.node("Clip", f"{name}/clip", *bounds)
            scale = [net.const(f"{name}.scale", np.float32(2.0**-k)), net.const(f"{name}.zero", np.uint8(0))]
            net.node("QuantizeLinear", f"{name}/q", *scale)
            net.node("DequantizeLinear", f"{name}/level", *scale)
    net.flatten()
    net.gemm("fc", rng.normal(0, 0.2, (10, 256)), rng.normal(0, 0.2, 10))
    return net.model({"qsnnc.pixels": "unit"})


def quant(net: Builder, name: str, bits: float, scale: object = 1.0, *, signed: bool = False, narrow: bool = False) -> None:
    """Append a QONNX Quant; with one bit and a sign, a BipolarQuant."""
    factor = net.const(f"{name}.scale", np.asarray(scale, np.float32))
    if bits == 1 and signed:
        net.node("BipolarQuant", name, factor, domain=QONNX)
        return
    rest = [net.const(f"{name}.zero", np.float32(0)), net.const(f"{name}.bits", np.float32(bits))]
    options = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": "ROUND"}
    net.node("Quant", name, factor, *rest, domain=QONNX, **options)


def matmul(net: Builder, name: str, weights: np.ndarray, bits: int) -> None:
    """Append a MatMul whose weights (inputs, outputs) a Quant node quantizes inside the graph."""
    data, net.here = net.here, net.const(f"{name}.weight", weights.astype(np.float32))
    quant(net, f"{name}.quant", bits, 0.25 if bits == 1 else 2.0 ** (1 - bits), signed=True, narrow=True)
    weighted, net.here = net.here, data
    net.node("MatMul", name, weighted)
    net.shape = (*net.shape[:-1], weights.shape[1])


def mlp(
    rng: np.random.Generator,
    inputs: int,
    hidden: tuple[int, ...],
    outputs: int,
    *,
    weight_bits: int,
    act_bits: int,
    in_bits: int | None,
    signed: bool,
    end: str = "",
) -> onnx.ModelProto:
    """An MLP as Brevitas writes it: quantized input, MatMul, BatchNormalization and Quant a layer, a float end.

    Parameters
    ----------
    in_bits : int, optional
        Bits of the image's own quantizer; None: floats enter the first layer.
    signed : bool
        Whether activations are signed (bipolar with one bit).
    end : str
        ``norm`` shifts and scales the scores, ``sign`` quantizes them, ``softmax`` makes probabilities of them.
    """
    net = Builder((inputs,))
    if in_bits is not None:
        quant(net, "input.quant", in_bits, 1.0 if in_bits == 1 else 2.0 ** (1 - in_bits), signed=True)
    for number, size in enumerate(hidden):
        name = f"fc{number}"
        matmul(net, name, rng.normal(0, 0.5, (net.shape[0], size)), weight_bits)
        spread = np.sqrt(net.shape[0]) * 0.3
        net.batch_norm(
            f"{name}.bn", rng.uniform(0.5, 1.5, size), rng.normal(0.2, 0.3, size), rng.normal(0, spread, size),
            np.full(size, spread**2),
        )  # fmt: skip
        scale = 1.0 if act_bits == 1 else 2.0 / (1 << act_bits)
        if not signed:
            net.node("Relu", f"{name}.relu")
        quant(net, f"{name}.act", act_bits, scale, signed=signed)
    matmul(net, "head", rng.normal(0, 0.5, (net.shape[0], outputs)), max(weight_bits, 2))
    if end == "norm":
        net.node("Sub", "norm.sub", net.const("norm.mean", np.float32(0.37)))
        net.node("Div", "norm.div", net.const("norm.std", np.float32(3.1)))
    elif end == "sign":
        quant(net, "sign", 1, 1.0, signed=True)
    elif end == "softmax":
        net.node("Softmax", "softmax", axis=1)
    model = net.model({"qsnnc.pixels": "unit"})
    model.opset_import.append(helper.make_opsetid(QONNX, 1))
    return model


#: the published MLPs by name: TFC on MNIST, keyword spotting, jet tagging, network intrusion
MLPS: dict[str, dict[str, object]] = {
    "tfc_1w1a": {"inputs": 784, "hidden": (64, 64, 64), "outputs": 10, "weight_bits": 1, "act_bits": 1, "in_bits": 1, "signed": True, "end": "norm"},
    "tfc_1w2a": {"inputs": 784, "hidden": (64, 64, 64), "outputs": 10, "weight_bits": 1, "act_bits": 2, "in_bits": 2, "signed": True, "end": "norm"},
    "tfc_2w2a": {"inputs": 784, "hidden": (64, 64, 64), "outputs": 10, "weight_bits": 2, "act_bits": 2, "in_bits": 2, "signed": True, "end": "norm"},
    "kws": {"inputs": 490, "hidden": (256, 256, 256), "outputs": 12, "weight_bits": 3, "act_bits": 3, "in_bits": 8, "signed": False},
    "jets": {"inputs": 16, "hidden": (64, 32, 32), "outputs": 5, "weight_bits": 6, "act_bits": 6, "in_bits": None, "signed": False, "end": "softmax"},
    "unsw": {"inputs": 593, "hidden": (64, 64, 64), "outputs": 1, "weight_bits": 2, "act_bits": 2, "in_bits": 1, "signed": False, "end": "sign"},
}  # fmt: skip


def with_levels(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a `float_lenet` so that it returns its scores and the levels of each convolution, times their scale."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    wide.graph.output.extend(onnx.ValueInfoProto(name=f"{name}/{end}") for name, end in _levels(model).items())
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(wide.SerializeToString(), options)


def counted(model: onnx.ModelProto, found: list[np.ndarray]) -> dict[str, int]:
    """Count spikes and SOPs of a `float_lenet` from its file alone: levels by onnxruntime, synapses by its weights.

    Parameters
    ----------
    model : ModelProto
    found : list of ndarray
        What `with_levels` returns for some images, but for the scores.

    Returns
    -------
    dict
        ``encoder`` (spikes of conv1), ``spikes`` (of the layers behind it), ``sops`` (of the convolutions behind it), ``output``
        (spikes of conv4).
    """
    from onnx import numpy_helper

    levels = {name: np.rint(value * 2).astype(np.uint8) for name, value in zip(LENET, found, strict=True)}  # steps of a half
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    sops = 0
    for before, name in itertools.pairwise(LENET):
        _, kernel, stride, _ = LENET[name]
        windows = np.lib.stride_tricks.sliding_window_view(levels[before].sum(axis=0), (kernel, kernel), axis=(1, 2))
        reach = windows[:, ::stride, ::stride].sum(axis=(1, 2))  # how many spikes meet each weight, of each output
        sops += 4 * int((reach[None] * (weights[f"{name}.weight"] != 0)).sum())  # a feature has four neurons
    total = {name: int(value.sum()) for name, value in levels.items()}
    spikes = sum(total.values()) - total["conv1"]
    return {"encoder": total["conv1"], "spikes": spikes, "sops": sops, "output": total["conv4"]}


def _levels(model: onnx.ModelProto) -> dict[str, str]:
    qdq = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    return dict.fromkeys(LENET, "level_out" if qdq else "quant/level_out")
