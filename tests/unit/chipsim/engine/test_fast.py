"""The fast engine's parts: the encoder's thresholds, sums in any order, the kept code, and what is done without LLVM."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.hand_mappings import random_map, two_cores, wide_map

import chipsim
from chipsim.code_cache import CodeCache
from chipsim.datasets import Dataset
from chipsim.engine.engines import load_engine
from chipsim.engine.fast import encoder as encoders
from chipsim.engine.fast import straight
from chipsim.engine.fast.encoder import find_encoder
from chipsim.engine.fast.exact import any_order_is_exact
from chipsim.engine.fast.merge import merge
from chipsim.engine.fast.native import Code
from chipsim.engine.host import Host, load_host, session
from chipsim.errors import UsageError
from chipsim.mapping import Mapping


def encoder(nodes: list, constants: dict[str, np.ndarray], shape: tuple[int, ...]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("levels", TensorProto.INT32, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def mapping_with(content: bytes, features: int, levels: int, shape: tuple[int, ...]) -> tuple[Mapping, Host]:
    mapping = wide_map(np.random.default_rng(0), levels=levels).build()
    population = replace(mapping.encoder, shape=(features,))
    mapping = replace(
        mapping, encoder=population, encoder_onnx=content, input=replace(mapping.input, shape=shape), layers=mapping.layers
    )
    return mapping, Host(mapping, session(content, "encoder.onnx"), None)


def levels_by_threshold(found, graded: np.ndarray) -> np.ndarray:
    count = graded.shape[1]
    value = (graded.view(np.uint32) ^ found.signs[:count]).view(np.float32)
    return (value[:, None] >= found.thresholds[None, :, :count]).sum(axis=1)


N = helper.make_node
CHAINS = {
    "batch norm of both signs": (
        [
            N("BatchNormalization", ["image", "gamma", "beta", "mean", "var"], ["a"]),
            N("Mul", ["a", "up"], ["b"]),
            N("Round", ["b"], ["c"]),
            N("Clip", ["c", "low", "high"], ["d"]),
            N("Cast", ["d"], ["levels"], to=TensorProto.INT32),
        ],
        {
            "gamma": np.float32([1.5, -0.7, 0.0, 1e-6]), "beta": np.float32([0.1, 0.3, 1.0, 0.0]),
            "mean": np.float32([3.0, -1.0, 0.0, 5.0]), "var": np.float32([2.0, 0.5, 1.0, 1e-8]), "up": np.float32(2.0),
            "low": np.float32(0.0), "high": np.float32(4.0),
        },
    ),
    "a scale of its own for every place": (
        [
            N("Sub", ["image", "shift"], ["a"]),
            N("Div", ["a", "step"], ["b"]),
            N("Floor", ["b"], ["c"]),
            N("Max", ["zero", "c"], ["d"]),
            N("Min", ["d", "top"], ["e"]),
            N("Cast", ["e"], ["levels"], to=TensorProto.INT32),
        ],
        {
            "shift": np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 3, 2),
            "step": np.where(np.arange(24) % 3 == 1, -0.37, 0.41).astype(np.float32).reshape(4, 3, 2),
            "zero": np.float32(0), "top": np.float32(4),
        },
    ),
    "a quantizer": (
        [
            N("QuantizeLinear", ["image", "scale", "zero"], ["a"]),
            N("DequantizeLinear", ["a", "scale", "zero"], ["b"]),
            N("Div", ["b", "scale"], ["c"]),
            N("Clip", ["c", "low", "high"], ["d"]),
            N("Cast", ["d"], ["levels"], to=TensorProto.INT32),
        ],
        {"scale": np.float32(0.3), "zero": np.uint8(0), "low": np.float32(0), "high": np.float32(4)},
    ),
    "a single step": (
        [
            N("Neg", ["image"], ["a"]),
            N("Less", ["a", "limit"], ["b"]),
            N("Cast", ["b"], ["levels"], to=TensorProto.INT32),
        ],
        {"limit": np.float32(-0.25)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_thresholds_are_the_chain(name: str) -> None:
    nodes, constants = CHAINS[name]
    shape, count = (4, 3, 2), 24
    mapping, host = mapping_with(encoder(nodes, constants, shape), count, 4, shape)
    found = find_encoder(mapping, host, 64)
    assert found.split
    assert found.linear() is None, "the chain reaches back to the image"
    rng = np.random.default_rng(1)
    near = found.thresholds[:, :count][np.isfinite(found.thresholds[:, :count])]
    values = np.concatenate([near, np.nextafter(near, np.float32(np.inf)), -near, rng.normal(0, 4, 400).astype(np.float32)])
    images = rng.choice(values, (300, count)).astype(np.float32)
    expected = host.encoder.run(["levels"], {"image": images.reshape(-1, *shape)})[0].reshape(300, count)
    np.testing.assert_array_equal(levels_by_threshold(found, images), np.clip(expected, 0, 4))
    assert len(np.unique(expected)) > 1


UNSPLIT = {
    "it rises and falls": [N("Mul", ["image", "image"], ["a"]), N("Cast", ["a"], ["levels"], to=TensorProto.INT32)],
    "a cast that wraps": [N("Cast", ["image"], ["levels"], to=TensorProto.INT32)],
    "a quotient by the image": [N("Div", ["one", "image"], ["a"]), N("Cast", ["a"], ["levels"], to=TensorProto.INT32)],
}


@pytest.mark.parametrize("name", UNSPLIT)
def test_what_is_not_monotone_is_run_as_it_is(name: str) -> None:
    content = encoder(UNSPLIT[name], {"one": np.float32(1)}, (6,))
    mapping, host = mapping_with(content, 6, 2, (6,))
    found = find_encoder(mapping, host, 64)
    assert not found.split
    assert found.tensor == "levels"
    assert found.linear() is host.encoder


@pytest.mark.slow
def test_the_lenet_s_encoder_is_a_convolution_and_thresholds(lenet) -> None:
    mapping = lenet.mapping
    host = load_host(mapping)
    found = find_encoder(mapping, host, mapping.encoder_neurons // mapping.encoder.levels)
    assert found.split
    assert found.quick() is not None, "its weights lie on a grid: the sums are exact in any order"
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 28, 28)).astype(np.float32)
    for model in (found.linear(), found.quick()):
        graded = model.run([found.tensor], {found.source: images})[0].reshape(7, -1)
        spikes = host.spikes(images).reshape(-1, mapping.encoder.levels, 7).sum(axis=1)
        np.testing.assert_array_equal(levels_by_threshold(found, graded), spikes.T)


@pytest.mark.parametrize(
    ("weights", "bias", "exact"),
    [
        ([1.0, -2.0, 0.5], 0.25, True),
        ([1.0, -2.0, 1 / 3], 0.25, False),  # a third has 24 digits below the point
        ([1.0, 2.0**-17], 0.0, False),  # 255 / 2**-17 is 2**25 steps
        ([1.0, 2.0**-15], 0.0, True),
        ([0.0, 0.0], 0.0, True),
    ],
)
def test_sums_in_any_order(weights: list[float], bias: float, exact: bool) -> None:
    w = np.float32(weights).reshape(1, 1, 1, -1)
    nodes = [N("Conv", ["image", "w", "b"], ["levels"])]
    content = encoder(nodes, {"w": w, "b": np.float32([bias])}, (1, 4, 4))
    assert any_order_is_exact(onnx.load_model_from_string(content).graph, "image") is exact
    two = [N("Relu", ["image"], ["a"]), N("Conv", ["a", "w", "b"], ["levels"])]
    other = encoder(two, {"w": w, "b": np.float32([bias])}, (1, 4, 4))
    assert not any_order_is_exact(onnx.load_model_from_string(other).graph, "image"), "not of pixels"


def test_code_is_kept(tmp_path: Path) -> None:
    form = merge(two_cores().build()).forms[0]

    def made(directory: Path) -> int:
        code = Code(directory=directory)
        assert code.add(b"form", lambda name: straight.write(form, name, 8))
        return code.made

    assert made(tmp_path / "kept") == 1
    assert made(tmp_path / "kept") == 0
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert made(tmp_path / "kept") == 1, "damaged code is not run"
    (tmp_path / "file").write_text("no directory")
    assert made(tmp_path / "file") == 1, "nowhere to keep it"


def test_a_split_is_kept_with_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, rng = (2, 5, 5), np.random.default_rng(0)
    nodes = [
        N("Conv", ["image", "w", "b"], ["a"]),
        N("Clip", ["a", "zero", "top"], ["c"]),
        N("Cast", ["c"], ["levels"], to=TensorProto.INT32),
    ]
    constants = {"w": rng.integers(-9, 10, (3, 2, 2, 2)).astype(np.float32), "b": np.zeros(3, np.float32)}
    content = encoder(nodes, constants | {"zero": np.float32(0), "top": np.float32(4)}, shape)
    mapping, host = mapping_with(content, 3 * 4 * 4, 4, shape)
    fresh = find_encoder(mapping, host, 64)
    assert fresh.integers is not None
    assert find_encoder(mapping, host, 64, Code(directory=tmp_path)).split
    monkeypatch.setattr(encoders, "_search", lambda *_: None)
    kept = find_encoder(mapping, host, 64, Code(directory=tmp_path))
    np.testing.assert_array_equal(kept.thresholds, fresh.thresholds)
    np.testing.assert_array_equal(kept.signs, fresh.signs)
    images = rng.integers(0, 256, (3, *shape)).astype(np.float32)
    for of in ("linear", "quick"):
        mine, theirs = (getattr(e, of)().run([e.tensor], {e.source: images})[0] for e in (kept, fresh))
        np.testing.assert_array_equal(mine, theirs)
    assert kept.integers is not None
    for mine, theirs in zip(kept.integers[0], fresh.integers[0], strict=True):
        for name in ("pixels", "outputs", "weights", "bias"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    other = replace(mapping, encoder=replace(mapping.encoder, levels=3))
    assert not find_encoder(other, host, 64, Code(directory=tmp_path)).split, "that of other levels is searched for"
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert not find_encoder(mapping, host, 64, Code(directory=tmp_path)).split, "what is damaged is not taken"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")
def test_code_of_others_is_not_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert CodeCache(tmp_path).directory is None
    tmp_path.chmod(0o700)
    assert CodeCache(tmp_path).directory == tmp_path


def test_without_llvm_the_reference_engine_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    said: list[str] = []
    data = Dataset("hand", "test", np.ones((3, 2), np.float32), None)
    result = chipsim.run(two_cores().build(), data, warn=said.append)
    assert result.engine == "reference"
    assert len(said) == 1
    assert "llvmlite" in said[0]
    assert "using the reference engine" in said[0]
    assert chipsim.run(two_cores().build(), data, engine="reference", warn=said.append).engine == "reference"
    assert len(said) == 1


def test_an_unknown_engine() -> None:
    mapping = two_cores().build()
    with pytest.raises(UsageError, match="expected fast or reference") as caught:
        load_engine("quick", mapping, load_host(mapping), print)
    assert caught.value.code == "option-value"


def test_both_engines_give_one_result() -> None:
    rng = np.random.default_rng(21)
    hand = random_map(rng)
    data = Dataset("test", "test", rng.integers(0, hand.levels + 1, (90, hand.features)).astype(np.float32), None)
    results = [chipsim.run(hand.build(), data, engine=engine, per_image=True) for engine in ("fast", "reference")]
    seen = []
    for result in results:
        json = result.figures()
        for name in ("images_per_second", "load_seconds", "engine"):
            del json[name]
        assert result.by_image is not None
        arrays = [result.potentials, result.scores, result.predictions, result.image_spikes, result.image_paper_sops]
        arrays += [result.by_image.spikes, result.by_image.sops, result.by_image.events]
        seen.append((json, [(array.dtype, array.tobytes()) for array in arrays]))
        assert result.by_image.sops.sum(axis=0).tolist() == [core.sops for core in result.cores]
        assert result.by_image.events.sum(axis=0).tolist() == [core.axon_events for core in result.cores]
        assert result.by_image.spikes.sum(axis=0).tolist() == [core.spikes for core in result.cores]
    assert seen[0] == seen[1]


def test_infinite_sums_go_through_the_encoder_itself() -> None:
    rng = np.random.default_rng(3)
    hand = wide_map(rng, levels=2)
    size = hand.features
    constants = {
        "w": rng.choice([0.0, 1e30, 0.25], (size, size)).astype(np.float32),
        "zero": np.float32(0.0),
        "top": np.float32(2.0),
        "third": np.float32(1 / 3),
    }
    nodes = [
        N("MatMul", ["image", "w"], ["a"]),
        N("Mul", ["a", "third"], ["b"]),
        N("Clip", ["b", "zero", "top"], ["c"]),
        N("Round", ["c"], ["d"]),
        N("Cast", ["d"], ["levels"], to=TensorProto.INT32),
    ]
    mapping = replace(hand.build(), encoder_onnx=encoder(nodes, constants, (size,)))
    host = load_host(mapping)
    assert find_encoder(mapping, host, 128).split
    images = rng.integers(0, 4, (70, size)).astype(np.float32)
    images[20] = 1e20
    images[65, 0] = 3e38
    data = Dataset("test", "test", images, None)
    fast, reference = (chipsim.run(mapping, data, engine=engine) for engine in ("fast", "reference"))
    assert fast.encoder_spikes == reference.encoder_spikes > 0
    assert fast.cores == reference.cores
    assert fast.potentials.tolist() == reference.potentials.tolist()
