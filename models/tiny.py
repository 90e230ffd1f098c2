"""Make the smallest example: a random ternary network with a fitted classifier, for the chip `mini`; needs no torch.

  python -m models.tiny models/tiny.onnx

draws ternary filters (200 times; the best on the digits' training half is kept), balances their batch norms on
that half, and fits the classifier to it by ridge regression, rounded to 4 bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from chipsim.datasets import load_dataset
from models.command import export, run

F64 = npt.NDArray[np.float64]
LEVELS = 2
SEEDS = 200


def convolve(x: F64, weights: F64, stride: int) -> F64:
    """Convolve without padding: (N, C, R, R) by (O, C, k, k)."""
    k = weights.shape[2]
    view = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("ncrsuv,ocuv->nors", view, weights, optimize=True)


def level(x: F64, gamma: F64, mean: F64) -> F64:
    """Return the levels, 0 to 2, of a batch norm with beta 1/2 and unit variance."""
    y = (x - mean[:, None, None]) * gamma[:, None, None] + 0.5
    return np.clip(np.round(y), 0, LEVELS)


def balance(x: F64) -> tuple[F64, F64]:
    """Return a power-of-two gamma and a mean between two sums, which spread a channel over the levels."""
    mean = np.floor(np.median(x, axis=(0, 2, 3))) + 0.25
    gamma = 2.0 ** -np.round(np.log2(np.maximum(x.std(axis=(0, 2, 3)), 1e-9)))
    return gamma, mean


def draw(seed: int, images: F64, labels: npt.NDArray[np.int64]) -> tuple[float, dict[str, F64]]:
    """Return the training accuracy and the parameters of one random network."""
    rng = np.random.default_rng(seed)
    part: dict[str, F64] = {
        "w1": rng.integers(-1, 2, (8, 1, 7, 7)).astype(float),
        "w2": rng.integers(-1, 2, (8, 8, 3, 3)).astype(float),
    }
    first = convolve(images, part["w1"], 7)
    part["g1"], part["m1"] = balance(first)
    second = convolve(level(first, part["g1"], part["m1"]), part["w2"], 1)
    part["g2"], part["m2"] = balance(second)
    features = level(second, part["g2"], part["m2"]).reshape(len(images), -1)
    design = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    target = np.eye(10)[labels]
    fit = np.linalg.solve(design.T @ design + 3.0 * np.eye(design.shape[1]), design.T @ target)
    step = 2.0 ** np.ceil(np.log2(np.abs(fit[:-1]).max() / 7))
    part["w3"] = np.clip(np.round(fit[:-1].T / step), -8, 7)
    part["b3"] = np.round(fit[-1] / step)
    scores = features @ part["w3"].T + part["b3"]
    return float((scores.argmax(axis=1) == labels).mean()), part


def to_onnx(part: dict[str, F64]) -> onnx.ModelProto:
    """Write the network as ONNX: twice Conv, BatchNormalization, Round, Clip; then the classifier."""
    nodes, constants = [], []

    def constant(name: str, value: npt.ArrayLike) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    here = "image"
    for number, stride in ((1, 7), (2, 1)):
        name = f"conv{number}"
        ones = np.ones(8)
        norm = [
            constant(f"{name}.bn.{key}", value)
            for key, value in (
                ("gamma", part[f"g{number}"]),
                ("beta", 0.5 * ones),
                ("mean", part[f"m{number}"]),
                ("var", ones),
            )
        ]
        nodes += [
            helper.make_node(
                "Conv", [here, constant(f"{name}.weight", part[f"w{number}"])], [f"{name}/sum"], name, strides=[stride] * 2
            ),
            helper.make_node("BatchNormalization", [f"{name}/sum", *norm], [f"{name}/norm"], f"{name}/bn", epsilon=0.0),
            helper.make_node("Round", [f"{name}/norm"], [f"{name}/round"], f"{name}/round"),
            helper.make_node(
                "Clip",
                [f"{name}/round", constant(f"{name}.low", 0.0), constant(f"{name}.high", LEVELS)],
                [f"{name}/level"],
                f"{name}/clip",
            ),
        ]
        here = f"{name}/level"
    nodes.append(helper.make_node("Flatten", [here], ["flat"], "flatten"))
    gemm = ["flat", constant("fc.weight", part["w3"]), constant("fc.bias", part["b3"])]
    nodes.append(helper.make_node("Gemm", gemm, ["scores"], "fc", transB=1))
    ends = [
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
    ]
    graph = helper.make_graph(nodes, "tiny", *ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"qsnnc.pixels": "raw"})
    onnx.checker.check_model(model)
    return model


def write(path: str) -> None:
    """Draw, choose on the training half, write."""
    data = load_dataset("digits", "train")
    assert data.labels is not None
    images = data.images[:, None].astype(np.float64)
    accuracy, part = max((draw(seed, images, data.labels) for seed in range(SEEDS)), key=lambda found: found[0])
    Path(path).write_bytes(to_onnx(part).SerializeToString(deterministic=True))
    print(f"{100 * accuracy:.1f} % of the digits' training half")


if __name__ == "__main__":
    run("tiny", lambda: export("tiny", __doc__, write))
