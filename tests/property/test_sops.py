"""SOPs by a dense recomputation from the ONNX file's weights and levels, made without the compiler."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.networks import Recipe, build, lenet

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model
from qsnnc.frontend.model.reference import session


def windows_sum(levels: np.ndarray, kernel: np.ndarray, strides, pads, group: int) -> int:
    """Sum over windows and output channels of the levels under non-zero weights: plain loops over the kernel."""
    padded = np.pad(levels, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    out_rows = (padded.shape[2] - kernel.shape[2]) // strides[0] + 1
    out_columns = (padded.shape[3] - kernel.shape[3]) // strides[1] + 1
    total = 0
    per_out = kernel.shape[0] // group
    for o in range(kernel.shape[0]):
        for i in range(kernel.shape[1]):
            channel = o // per_out * kernel.shape[1] + i
            for u in range(kernel.shape[2]):
                for v in range(kernel.shape[3]):
                    if kernel[o, i, u, v]:
                        part = padded[
                            :,
                            channel,
                            u : u + out_rows * strides[0] : strides[0],
                            v : v + out_columns * strides[1] : strides[1],
                        ]
                        total += int(part.sum())
    return total


def dense_sops(model: onnx.ModelProto, images: np.ndarray, k: int, levels: int) -> int:
    """SOPs of a chain of Conv, MaxPool and Gemm after the first Conv."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    linear = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MaxPool")]
    inputs = [node.input[0] for node in linear[1:]]
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inputs)
    values = session(probe).run(inputs, {"image": images[:, None].astype(np.float32)})
    total = 0
    for node, value in zip(linear[1:], values, strict=True):
        level = np.round(value * 2.0**k).astype(np.int64)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Conv":
            kernel = weights[node.input[1]]
            strides, pads = attributes.get("strides", [1, 1]), attributes.get("pads", [0, 0, 0, 0])
            total += levels * windows_sum(level, kernel, strides, pads, attributes.get("group", 1))
        elif node.op_type == "MaxPool":  # neuron i meets neuron i of its window
            size = level.shape[1]
            kernel = np.ones((size, 1, *attributes["kernel_shape"]))
            total += windows_sum(level, kernel, attributes["strides"], [0, 0, 0, 0], size)
        else:
            drives = 1 if node.name in ("head", "fc") else levels
            total += int((level @ np.count_nonzero(weights[node.input[1]], axis=0)).sum()) * drives
    return total


@pytest.mark.parametrize("seed", range(8))
def test_sops_equal_dense_recomputation(save, seed) -> None:
    rng = np.random.default_rng(seed)
    kinds = ("conv", "strided", "padded", "depthwise", "maxpool", "dense")
    recipe = Recipe(8, int(rng.integers(1, 4)), 1, int(rng.integers(1, 5)), tuple(rng.choice(kinds, 3)), 4, seed, odd=True)
    model = build(recipe)
    images = rng.integers(0, 256, (6, 8, 8)).astype(np.uint8)
    done = compile_model(save(model), keep_dead=True)
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None))
    assert result.sops == dense_sops(model, images, recipe.k, recipe.levels)


@pytest.mark.slow
def test_sops_and_paper_sops_of_a_lenet(save) -> None:
    model = lenet(np.random.default_rng(1))
    images = np.random.default_rng(2).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    result = chipsim.run(compile_model(save(model), keep_dead=True).mapping, Dataset("random", "test", images, None))
    assert result.sops == dense_sops(model, images, 1, 4)
    dense = onnx.ModelProto()
    dense.CopyFrom(model)
    # the paper's count takes every weight as a pair of synapses and leaves the classifier out
    assert result.paper_sops == 2 * paper_windows(model, images)


def paper_windows(model: onnx.ModelProto, images: np.ndarray) -> int:
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"][1:]
    inputs = [node.input[0] for node in convolutions]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inputs)
    values = session(probe).run(inputs, {"image": images[:, None].astype(np.float32)})
    total = 0
    for node, value in zip(convolutions, values, strict=True):
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        every = np.ones_like(weights[node.input[1]])
        level = np.round(value * 2).astype(np.int64)
        total += 4 * windows_sum(level, every, attributes["strides"], attributes["pads"], 1)
    return total
