"""Encoders of pixels in whole numbers are the reference engine's: any weights, any thresholds, bytes or bits behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from property.test_engines import agrees
from support.hand_mappings import wide_map
from support.targets import targets

from chipsim.engine.engines import ReferenceEngine
from chipsim.engine.fast import engine, planes
from chipsim.engine.fast.dots import FEW
from chipsim.engine.fast.engine import load_fast
from chipsim.engine.fast.instructions import BITS, DOTS, TILES
from chipsim.engine.fast.native import Code, Target
from chipsim.engine.host import load_host
from chipsim.mapping import Mapping


def encoder(rng: np.random.Generator, pixels: int, features: int, levels: int, largest: int) -> bytes:
    """Sums of pixels, each feature with a scale of its own: rising or falling, with levels that are near, far or nowhere."""
    weights = rng.integers(-largest, largest + 1, (pixels, features))
    weights[rng.random(weights.shape) < rng.choice([0.0, 0.5, 0.9])] = 0
    spread = max(1.0, float(np.abs(weights).sum(axis=0).max()) * 255)
    steps = 2.0 ** rng.integers(-int(np.log2(spread)) - 2, 2, features)  # exact in float32, as sums are
    constants = {
        "w": weights.astype(np.float32),
        "b": rng.integers(-2, 3, features).astype(np.float32) * np.float32(largest),
        "s": (steps * rng.choice([-1, 1], features)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(levels),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["sums"]),
        helper.make_node("Mul", ["sums", "s"], ["scaled"]),
        helper.make_node("Floor", ["scaled"], ["whole"]),
        helper.make_node("Clip", ["whole", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["levels"], to=TensorProto.INT32),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", pixels])],
        [helper.make_tensor_value_info("levels", TensorProto.INT32, ["N", features])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def with_encoder(rng: np.random.Generator, largest: int, pixels: int) -> Mapping:
    hand = wide_map(rng, 12 if rng.random() < 0.2 else None)
    mapping = hand.build()
    content = encoder(rng, pixels, hand.features, hand.levels, largest)
    source = onnx.load_model_from_string(content).graph.input[0].name
    return replace(mapping, encoder_onnx=content, input=replace(mapping.input, name=source, shape=(pixels,), pixels="raw"))


@given(
    seed=st.integers(0, 2**32 - 1),
    largest=st.sampled_from([1, 3, 64, 65, 127, 128, 1000, 30000]),
    pixels=st.integers(1, 70),
    count=st.sampled_from([1, 63, 64, 65, 200, 600]),
    bits=st.booleans(),
    per_image=st.booleans(),
    noise=st.sampled_from([0.0, 0.2]),
    fractions=st.booleans(),
    target=st.sampled_from([None, *targets()]),
)
@settings(max_examples=80)
def test_encoders_of_pixels(
    seed: int,
    largest: int,
    pixels: int,
    count: int,
    bits: bool,
    per_image: bool,
    noise: float,
    fractions: bool,
    target: Target | None,
) -> None:
    rng = np.random.default_rng(seed)
    mapping = with_encoder(rng, largest, pixels)
    images = rng.integers(0, 256, (count, pixels)).astype(np.float32)
    if rng.random() < 0.2:
        images[:] = 255
    if fractions:
        images[rng.integers(count)] += 0.25
    host, code = load_host(mapping), Code(target)
    with pytest.MonkeyPatch.context() as patch:
        lines = (lambda merged: tuple(map(planes.lines_of, merged.forms))) if bits else (lambda merged: None)
        if code.target.lookup in BITS:
            patch.setattr(engine, "in_bits", lambda merged, code, images: lines(merged))
        fast = load_fast(mapping, host, code, noisy=noise > 0)
    assert fast is not None
    tiled = code.target.lookup in TILES and pixels > FEW
    if code.target.lookup in DOTS and largest <= 127 and not tiled:
        assert fast.dots is not None, "weights are bytes"
    if code.target.lookup == "avx2":
        assert pixels > FEW or (fast.encoder.integers is None) is (fast.dots is None), "weights have 16 bits"
    agrees(fast, ReferenceEngine(mapping, host), images, noise, per_image)
