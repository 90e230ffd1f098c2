"""A trained LeNet as ONNX: batch norm unfolded, literal weights, and no decision within reach of rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from models.certify import PIXEL_MAX, margins
from models.network import CONV1_STEP, PLAN, WIDTHS, LeNet, Quantization, on_grid, ternary

F64 = npt.NDArray[np.float64]
CLEARANCE = 0.015  # accumulator units between a decision and a reachable sum, behind the encoder
FAR = 2.0**22  # units; beyond any reach


def clear_decisions(
    name: str, low: F64, high: F64, unit: float, bn: dict[str, F64], q: Quantization, eps: float
) -> dict[str, F64]:
    """Move batch norms by at most half an accumulator unit, so that no reachable sum lies near a decision.

    With s = gamma / sqrt(var + eps) * unit, the level rises at accumulators t_i = t_0 + i D, D = 2**-k / s
    (in units). The encoder's sums are fine-grained, so there D becomes a whole number of units and t_0 a
    half; elsewhere the mean of a channel with a decision within 0.015 units of an integer in reach is
    moved.

    Parameters
    ----------
    low, high : ndarray, float64, (channels,)
        Reach of the accumulator, in units.
    """
    out = {key: value.copy() for key, value in bn.items()}
    root = np.sqrt(bn["var"] + eps)
    half = 2.0 ** -(q.k + 1)
    for c in range(len(low)):
        s = bn["gamma"][c] / root[c] * unit
        if s == 0:
            continue
        step = 2 * half / s
        at = bn["mean"][c] / unit + (half - bn["beta"][c]) / s + step * np.arange(q.levels)
        if name == "conv1":
            # the decision nearest to the middle of the reach becomes the one that mean and beta name
            i = int(np.argmin(np.abs(at - (low[c] + high[c]) / 2)))
            if abs(at[i]) < FAR:
                whole = np.sign(step) * max(1.0, np.round(abs(step)))
                out["gamma"][c] = 2 * half / whole / unit * root[c]
                out["mean"][c] = (np.floor(at[i]) + 0.5) * unit
                out["beta"][c] = half * (2 * i + 1)
            continue
        for nudge in np.linspace(0, 0.5, 26):
            near = at[(at + nudge > low[c] - 1) & (at + nudge < high[c] + 1)] + nudge
            if (np.abs(near - np.round(near)) > CLEARANCE).all():
                out["mean"][c] += nudge * unit
                break
        else:
            raise ValueError(f"{name}: channel {c} cannot be cleared")
    return out


def exported_layer(model: LeNet, name: str) -> tuple[npt.NDArray[np.float32], dict[str, F64]]:
    """Weights as they act, and batch norm with its decisions cleared."""
    q = model.quantization
    master = getattr(model, name).weight.detach().cpu()
    norm = getattr(model, f"{name}_bn")
    tensors = {"gamma": norm.weight, "beta": norm.bias, "mean": norm.running_mean, "var": norm.running_var}
    values = {key: value.detach().cpu().double().numpy() for key, value in tensors.items()}
    if q is None:
        return master.numpy(), values
    quantized = on_grid(master, CONV1_STEP) if name == "conv1" else ternary(master, model.prune)
    weights = (quantized * getattr(model, f"{name}_keep").cpu()).numpy()
    step, unit, top = (CONV1_STEP, CONV1_STEP, PIXEL_MAX) if name == "conv1" else (1.0, 2.0**-q.k, q.levels)
    grid = weights.reshape(len(weights), -1).astype(np.float64) / step
    low, high = np.minimum(grid, 0).sum(axis=1) * top, np.maximum(grid, 0).sum(axis=1) * top
    return weights, clear_decisions(name, low, high, unit, values, q, norm.eps)


def build(model: LeNet, metadata: dict[str, str]) -> onnx.ModelProto:
    """Write the network with onnx.helper, and certify it."""
    q = model.quantization
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: npt.ArrayLike) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(op: str, name: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    here = "image"
    for name, kernel, stride, pad in PLAN:
        weights, norm = exported_layer(model, name)
        here = node(
            "Conv", name, [here, constant(f"{name}.weight", weights)], f"{name}/sum",
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
        )  # fmt: skip
        parts = [constant(f"{name}.bn.{key}", norm[key]) for key in ("gamma", "beta", "mean", "var")]
        epsilon = getattr(model, f"{name}_bn").eps
        here = node("BatchNormalization", f"{name}/bn", [here, *parts], f"{name}/norm", epsilon=epsilon)
        if q is None:
            here = node("Relu", f"{name}/relu", [here], f"{name}/level")
            continue
        ends = [constant(f"{name}.lowest", 0.0), constant(f"{name}.highest", float(q.levels))]
        here = node("Mul", f"{name}/quant_mul", [here, constant(f"{name}.up", 2.0**q.k)], f"{name}/mul")
        here = node("Round", f"{name}/quant_round", [here], f"{name}/round")
        here = node("Clip", f"{name}/quant_clip", [here, *ends], f"{name}/clip")
        here = node("Mul", f"{name}/quant_level", [here, constant(f"{name}.down", 2.0**-q.k)], f"{name}/level")
    weight, bias = (t.detach().cpu().numpy() for t in model.head())
    here = node("Flatten", "flatten", [here], "flat")
    node("Gemm", "fc", [here, constant("fc.weight", weight), constant("fc.bias", bias)], "scores", transB=1)
    graph = helper.make_graph(
        nodes, "lenet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        constants,
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    facts = {} if q is None else {"k": str(q.k), "B": str(q.b), "prune": str(model.prune)}
    helper.set_model_props(proto, {"qsnnc.pixels": "raw", **facts, **metadata})
    onnx.checker.check_model(proto, full_check=True)
    if q is not None:
        margins(proto)
    return proto


def load_checkpoint(path: str) -> LeNet:
    """Rebuild a network: the chosen one of a checkpoint file of `models.train`, or an ONNX file of this folder.

    An ONNX file holds weights as they act; a ternary master weight becomes 1/2 or nothing, which acts the same.
    """
    if path.endswith(".onnx"):
        return _from_onnx(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    q = None if state["k"] is None else Quantization(state["k"], state["B"])
    model = LeNet(q, prune=state["prune"], widths=tuple(state.get("widths", WIDTHS)))
    model.load_state_dict(state["best"])
    return model.eval()


def _from_onnx(path: str) -> LeNet:
    proto = onnx.load(path)
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    values = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in proto.graph.initializer}
    q = Quantization(int(facts["k"]), int(facts["B"])) if "k" in facts else None
    widths = tuple(len(values[f"{name}.weight"]) for name, *_ in PLAN)
    model = LeNet(q, prune=float(facts.get("prune", 0.7)), widths=widths)
    state = model.state_dict()
    for name, *_ in PLAN:
        weight = values[f"{name}.weight"]
        state[f"{name}.weight"] = weight if q is None or name == "conv1" else weight / 2
        for ours, theirs in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "mean"), ("running_var", "var")):
            state[f"{name}_bn.{ours}"] = values[f"{name}.bn.{theirs}"]
    state["fc.weight"], state["fc.bias"] = values["fc.weight"], values["fc.bias"]
    model.load_state_dict(state)
    return model.eval()
