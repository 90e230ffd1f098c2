"""Export a trained LeNet as ONNX: unfolded batch norm, literal weights, no threshold within reach of float rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from chipsim.errors import InputError
from models.certify import PIXEL_MAX, margins
from models.evaluate import metadata, read_network
from models.network import CONV1_STEP, PLAN, WIDTHS, LeNet, Quantization, on_grid, ternary

F64 = npt.NDArray[np.float64]
CLEARANCE = 0.015  # accumulator units between a threshold and a reachable sum, in the layers after the encoder
FAR = 2.0**22  # units; beyond any reach


def clear_thresholds(
    name: str, low: F64, high: F64, unit: float, bn: dict[str, F64], q: Quantization, eps: float
) -> dict[str, F64]:
    """Move batch norms by at most half an accumulator unit, so that no reachable sum lies near a threshold.

    With s = gamma / sqrt(var + eps) * unit, the level rises at accumulators t_i = t_0 + i D, D = 2**-k / s
    (in units). The encoder's sums are fine-grained, so there D becomes a whole number of units and t_0 a
    half; elsewhere the mean of a channel is moved if one of its thresholds lies within 0.015 units of an
    integer that the accumulator can reach.

    Parameters
    ----------
    low, high : ndarray, float64, (channels,)
        Lowest and highest sum of each channel, in accumulator units.

    Raises
    ------
    ValueError
        No such move clears a channel.
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
            # the threshold nearest to the middle of the range is the one that mean and beta then state
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
            raise ValueError(f"{name}: a threshold of channel {c} lies within float rounding of a reachable sum")
    return out


def exported_layer(model: LeNet, name: str) -> tuple[npt.NDArray[np.float32], dict[str, F64]]:
    """Return the quantized weights of a layer, and its batch norm with no threshold near a reachable sum."""
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
    return weights, clear_thresholds(name, low, high, unit, values, q, norm.eps)


def build(model: LeNet, metadata: dict[str, str]) -> onnx.ModelProto:
    """Write a network as ONNX, and prove that it is exact on every input.

    Raises
    ------
    ValueError
        It is not, and moving its batch normalization by half an accumulator unit does not make it so.
    """
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


def export_bytes(model: LeNet, metadata: dict[str, str]) -> bytes:
    """Return the ONNX file of a network.

    Raises
    ------
    InputError
        It cannot be made exact on every input.
    """
    try:
        proto = build(model, metadata)
    except ValueError as error:
        name, _, reason = str(error).partition(": ")
        raise InputError(name, f"{reason}; train on, so that its batch normalization moves", code="not-exact") from None
    return bytes(proto.SerializeToString(deterministic=True))


def load_checkpoint(path: str) -> LeNet:
    """Rebuild a network from the best weights of a run (``.best.pt`` or ``.ckpt``), or from an ONNX file of this folder.

    An ONNX file holds ternary weights, not the master weights that training moves: a nonzero one becomes plus or
    minus 1/2, which is quantized to the same value.

    Raises
    ------
    InputError
        The file is missing, holds something else, or no weights were chosen yet.
    """
    if path.endswith(".onnx"):
        return _from_onnx(path)
    state = read_state(Path(path))
    if not state.get("best"):
        raise InputError(
            path,
            "holds no chosen weights: they are chosen in the last quarter of a run's epochs; resume it",
            code="run-unfinished",
        )
    try:
        q = None if state["k"] is None else Quantization(state["k"], state["B"])
        model = LeNet(q, prune=state["prune"], widths=tuple(state.get("widths", WIDTHS)))
        model.load_state_dict(state["best"])
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise InputError(path, "is not a checkpoint of models.train", code="checkpoint-invalid") from None
    return model.eval()


def read_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a file of `models.train`'s as it was saved.

    Raises
    ------
    InputError
        It is missing, or is not such a file.
    """
    if not path.is_file():
        raise InputError(str(path), "there is no such file; models.train writes OUT/NAME.best.pt", code="checkpoint-missing")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception:  # noqa: BLE001  # torch, pickle and zipfile raise many types
        state = None
    if not isinstance(state, dict):
        raise InputError(str(path), "is not a checkpoint of models.train", code="checkpoint-invalid")
    return state


def _from_onnx(path: str) -> LeNet:
    proto = read_network(path)
    facts = metadata(proto)
    values = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in proto.graph.initializer}
    try:
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
    except (KeyError, ValueError, RuntimeError):
        raise InputError(path, "is not a LeNet that models.train exported", code="model-foreign") from None
    return model.eval()
