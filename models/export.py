"""A trained LeNet as ONNX: batch norm unfolded, literal weights, and no decision within reach of rounding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import torch
from models.network import CONV1_STEP, PLAN, LeNet, Quantization, on_grid, ternary
from onnx import TensorProto, helper, numpy_helper

F64 = npt.NDArray[np.float64]
PIXEL_MAX = 255
EXACT_BELOW = 2.0**24


def clear_decisions(
    name: str, low: F64, high: F64, unit: float, bn: dict[str, F64], q: Quantization, eps: float
) -> dict[str, F64]:
    """Move batch norms by less than an accumulator unit so that no reachable sum lies near a decision.

    With s = gamma / sqrt(var + eps) * unit, the level rises at accumulators t_i = t_0 + i D, D = 2**-k / s (in units).
    The encoder's sums are fine-grained, so there D becomes a whole number of units and t_0 a half; elsewhere the mean of
    a channel with a decision nearer than 0.01 units to an integer in reach is moved.

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
        first = bn["mean"][c] / unit + (half - bn["beta"][c]) / s
        if name == "conv1":
            step = np.sign(step) * max(1.0, np.round(abs(step)))
            if abs(step) < 2.0**22 and abs(first) < 2.0**22:
                first = np.floor(first) + 0.5
                out["gamma"][c] = 2 * half / step / unit * root[c]
                out["mean"][c] = first * unit
                out["beta"][c] = half
            continue
        for nudge in np.linspace(0, 0.5, 26):
            at = first + nudge + step * np.arange(q.levels)
            near = at[(at > low[c] - 1) & (at < high[c] + 1)]
            if (np.abs(near - np.round(near)) > 0.01).all():
                out["mean"][c] += nudge * unit
                break
        else:
            raise AssertionError(f"{name}: channel {c} cannot be cleared")
    return out


def build(model: LeNet, metadata: dict[str, str]) -> onnx.ModelProto:
    """Write the network with onnx.helper; checks that every float32 sum is exact."""
    q = model.quantization
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: npt.ArrayLike) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    here = "image"
    for name, _, kernel, stride, pad in PLAN:
        master = getattr(model, name).weight.detach().cpu()
        keep = getattr(model, f"{name}_keep").cpu()
        if q is None:
            weight = master.numpy()
        else:
            weight = ((on_grid(master, CONV1_STEP) if name == "conv1" else ternary(master, model.prune)) * keep).numpy()
        layer = getattr(model, f"{name}_bn")
        bn = {
            "gamma": layer.weight, "beta": layer.bias, "mean": layer.running_mean, "var": layer.running_var,
        }
        values = {key: value.detach().cpu().double().numpy() for key, value in bn.items()}
        if q is not None:
            unit = CONV1_STEP if name == "conv1" else 2.0**-q.k
            top = PIXEL_MAX if name == "conv1" else q.levels
            grid = weight.reshape(len(weight), -1).astype(np.float64) / (CONV1_STEP if name == "conv1" else 1.0)
            assert (np.abs(grid).sum(axis=1) * top < EXACT_BELOW).all(), f"{name}: sums could round"
            low, high = np.minimum(grid, 0).sum(axis=1) * top, np.maximum(grid, 0).sum(axis=1) * top
            values = clear_decisions(name, low, high, unit, values, q, layer.eps)
        conv = helper.make_node(
            "Conv", [here, constant(f"{name}.weight", weight)], [f"{name}/sum"], name=name,
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
        )
        parts = [constant(f"{name}.bn.{key}", values[key]) for key in ("gamma", "beta", "mean", "var")]
        norm = helper.make_node(
            "BatchNormalization", [f"{name}/sum", *parts], [f"{name}/norm"], name=f"{name}/bn", epsilon=layer.eps
        )
        nodes += [conv, norm]
        here = f"{name}/level"
        if q is None:
            nodes.append(helper.make_node("Relu", [f"{name}/norm"], [here], name=f"{name}/relu"))
            continue
        chain = (
            ("Mul", "mul", [constant(f"{name}.up", 2.0**q.k)]),
            ("Round", "round", []),
            ("Clip", "clip", [constant(f"{name}.lowest", 0.0), constant(f"{name}.highest", float(q.levels))]),
            ("Mul", "level", [constant(f"{name}.down", 2.0**-q.k)]),
        )
        before = f"{name}/norm"
        for op, suffix, extra in chain:
            nodes.append(helper.make_node(op, [before, *extra], [f"{name}/{suffix}"], name=f"{name}/quant_{suffix}"))
            before = f"{name}/{suffix}"
    weight, bias = (t.detach().cpu().numpy() for t in model.head())
    nodes.append(helper.make_node("Flatten", [here], ["flat"], name="flatten"))
    gemm_inputs = ["flat", constant("fc.weight", weight), constant("fc.bias", bias)]
    nodes.append(helper.make_node("Gemm", gemm_inputs, ["scores"], name="fc", transB=1))
    graph = helper.make_graph(
        nodes, "lenet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        constants,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(proto, {"qsnnc.pixels": "raw", **metadata})
    onnx.checker.check_model(proto)
    return proto


def load_checkpoint(path: str, *, best: bool = True) -> LeNet:
    """Rebuild the network of a checkpoint file of `models.train`."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    q = None if state["k"] is None else Quantization(state["k"], state["B"])
    model = LeNet(q, prune=state["prune"])
    model.load_state_dict(state["best"] if best else state["model"])
    return model.eval()
