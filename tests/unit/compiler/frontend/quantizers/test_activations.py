"""Activations before a quantizer, with constants per tensor, channel, position and feature: exact, and proved to be."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, stem, ternary
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from chipsim.engine.fast.encoder import find_encoder
from chipsim.engine.host import load_host
from qsnnc import compile_model
from qsnnc.errors import ModelError
from qsnnc.frontend.model.reference import session

CHANNELS = 4
SCALE = (0.31, -0.17, 0.23, 0.41)
SHIFT = (0.05, 0.61, -0.37, 0.13)


def along(*values: float, shape: tuple[int, ...] = (CHANNELS, 1, 1)) -> np.ndarray:
    return np.array(values, np.float32).reshape(shape)


#: operator, its constants, its attributes
Step = tuple[str, tuple[np.ndarray, ...], dict[str, object]]


def step(op: str, *constants: np.ndarray, **attributes: object) -> Step:
    return op, constants, attributes


SCALED = (step("Mul", along(*SCALE)), step("Add", along(*SHIFT)))
ACTIVATIONS: dict[str, tuple[Step, ...]] = {
    "HardSigmoid": (*SCALED, step("HardSigmoid")),
    "HardSigmoid, its constants given": (*SCALED, step("HardSigmoid", alpha=0.37, beta=0.43)),
    "HardSigmoid that falls": (*SCALED, step("HardSigmoid", alpha=-0.37, beta=0.43)),
    "HardSigmoid behind a batch norm": (
        step("BatchNormalization", *(along(*v, shape=(CHANNELS,)) for v in (SCALE, SHIFT, (1.1, -0.3, 0.7, 0), (4, 2, 1, 3)))),
        step("HardSigmoid", alpha=1 / 3),
    ),
    "HardSigmoid, scaled for each channel": (*SCALED, step("HardSigmoid"), step("Mul", along(0.5, 1.0, 2.0, 1.0))),
    "HardSigmoid, shifted for each feature": (
        *SCALED,
        step("Add", np.linspace(-0.4, 0.4, CHANNELS * 16, dtype=np.float32).reshape(1, CHANNELS, 4, 4)),
        step("HardSigmoid"),
    ),
    "LeakyRelu": (*SCALED, step("LeakyRelu")),
    "LeakyRelu, its slope given": (*SCALED, step("LeakyRelu", alpha=0.37)),
    "LeakyRelu, divided for each channel": (step("Div", along(*SCALE)), step("LeakyRelu", alpha=0.1), step("Mul", along(*SHIFT))),
    "LeakyRelu, shifted for each position": (
        *SCALED,
        step("LeakyRelu", alpha=0.2),
        step("Sub", np.linspace(-0.37, 0.41, 16, dtype=np.float32).reshape(1, 1, 4, 4)),
    ),
    "LeakyRelu that falls below zero": (*SCALED, step("LeakyRelu", alpha=-0.37)),
    "PRelu": (*SCALED, step("PRelu", along(0.21, 0.07, 0.43, 1.3))),
    "PRelu, one slope": (*SCALED, step("PRelu", along(0.21, shape=(1, 1, 1)))),
    "PRelu that falls below zero in a channel": (*SCALED, step("PRelu", along(0.21, -0.67, 0.43, 0.0))),
    "Min and Max": (*SCALED, step("Min", along(0.93, 0.71, 1.3, 0.61)), step("Max", along(-0.3, 0.17, 0.21, -0.7))),
    "Min and Max of several": (*SCALED, step("Max", along(-0.3, 0.17, 0.21, -0.7), along(0.13, shape=(1,)))),
    "Clip": (*SCALED, step("Clip", along(-0.3, shape=()), along(0.73, shape=()))),
    "Selu": (*SCALED, step("Selu")),
    "Selu, its constants given": (*SCALED, step("Selu", alpha=0.9, gamma=1.3)),
    "Celu": (*SCALED, step("Celu", alpha=0.7)),
    "Elu": (*SCALED, step("Elu", alpha=1.3)),
    "Elu that falls below zero": (*SCALED, step("Elu", alpha=-0.9)),
    "ThresholdedRelu": (*SCALED, step("ThresholdedRelu", alpha=0.37)),
    "ThresholdedRelu below zero": (*SCALED, step("ThresholdedRelu", alpha=-0.37)),
    "Shrink": (*SCALED, step("Shrink", lambd=0.43, bias=0.11)),
    "Sigmoid": (*SCALED, step("Sigmoid")),
    "Tanh": (*SCALED, step("Tanh")),
    "Softplus": (*SCALED, step("Softplus")),
    "Softsign": (*SCALED, step("Softsign")),
    "Erf": (*SCALED, step("Erf")),
    "Exp": (*SCALED, step("Exp")),
    "Log of what is above zero": (*SCALED, step("Max", along(0.19, shape=())), step("Log")),
    "Sqrt of what is above zero": (*SCALED, step("Relu"), step("Add", along(0.01, shape=())), step("Sqrt")),
    "Reciprocal of what is above zero": (*SCALED, step("Relu"), step("Add", along(0.73, shape=())), step("Reciprocal")),
    "Mean": (*SCALED, step("Mean", along(0.11, 0.23, -0.31, 0.07))),
    "HardSwish": (*SCALED, step("HardSwish")),
    "Mish": (*SCALED, step("Mish")),
    "Abs": (*SCALED, step("Abs")),
}  # fmt: skip


def activated(net: Builder, steps: tuple[Step, ...]) -> None:
    for number, (op, constants, attributes) in enumerate(steps):
        names = [net.const(f"constant_{number}_{i}", value) for i, value in enumerate(constants)]
        net.node(op, f"{op.lower()}_{number}", *names, **attributes)


def quantized(net: Builder, name: str, lowest: int = -3, highest: int = 3) -> None:
    """round(5.3 x), from -3 to 3, over 4."""
    net.node("Mul", f"{name}/up", net.const(f"{name}.up", np.float32(5.3)))
    net.node("Round", f"{name}/round")
    net.node(
        "Clip", f"{name}/clip", net.const(f"{name}.low", np.float32(lowest)), net.const(f"{name}.high", np.float32(highest))
    )
    net.node("Mul", f"{name}/down", net.const(f"{name}.step", np.float32(0.25)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_exact_and_certified(name, save) -> None:
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(3), CHANNELS, 3, 3, 3))
    activated(net, ACTIVATIONS[name])
    quantized(net, "quant")
    _, result = equal(finish(net), save, opset=18)
    assert len(np.unique(result.scores, axis=0)) > 1


@pytest.mark.parametrize(
    "name", ["HardSigmoid", "LeakyRelu", "PRelu", "Min and Max", "HardSigmoid that falls", "ThresholdedRelu"]
)
def test_the_fast_encoder_finds_an_activations_thresholds(name, save) -> None:
    net = Builder((1, 6, 6))
    net.conv("stem", np.random.default_rng(1).integers(-20, 30, (CHANNELS, 1, 3, 3)) / 256.0)
    activated(net, (step("Mul", along(0.03, shape=())), *ACTIVATIONS[name]))
    quantized(net, "quant")
    path = save(finish(net).model(opset=18))
    mapping = compile_model(path).mapping
    images = np.random.default_rng(0).integers(0, 256, (70, 1, 6, 6)).astype(np.uint8)
    dataset = Dataset("random", "test", images, None)
    results = [chipsim.run(mapping, dataset, engine=engine) for engine in ("fast", "reference")]
    np.testing.assert_array_equal(results[0].potentials, results[1].potentials)
    (scores,) = session(path.read_bytes()).run(None, {"image": images.astype(np.float32)})
    np.testing.assert_array_equal(results[0].scores, scores)
    assert find_encoder(mapping, load_host(mapping), mapping.encoder_neurons // mapping.encoder.levels).split


def test_a_clip_with_a_bound_a_channel_is_none_of_the_standard(save) -> None:
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(3), CHANNELS, 3, 3, 3))
    activated(net, (step("Clip", along(-1, -2, -3, -4), along(1, 2, 3, 4)),))
    quantized(net, "quant")
    with pytest.raises(ModelError, match="clip_0") as error:
        compile_model(save(finish(net).model(opset=18)))
    assert error.value.code == "reference-refuses"
