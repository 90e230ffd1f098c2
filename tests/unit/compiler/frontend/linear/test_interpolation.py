"""Resize in mode linear: a channel for each phase, and the borders' values once more."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, stem, ternary
from support.networks import Builder

from qsnnc import ModelError, verify

COORDINATES = ("half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")


def blended(net: Builder, factors: tuple[float, float], *, sizes: bool = False, **options: object) -> None:
    """Resize rows and columns."""
    options = {"mode": "linear", **options}
    shape = net.shape[0], *(int(size * factor) for size, factor in zip(net.shape[1:], factors, strict=True))
    name = f"up{len(net.nodes)}"
    if sizes:
        net.node("Resize", name, "", "", net.const(f"{name}.sizes", np.array([1, *shape], np.int64)), **options)
    else:
        net.node("Resize", name, "", net.const(f"{name}.scales", np.array([1, 1, *factors], np.float32)), **options)
    net.shape = shape


def signed(net: Builder, name: str, k: int, low: int, high: int) -> None:
    """Levels from low to high, in units of 2 ** -k."""
    net.node("Mul", f"{name}/up", net.const(f"{name}.up", np.float32(2.0**k)))
    net.node("Round", f"{name}/round")
    ends = [net.const(f"{name}.{end}", np.float32(value)) for end, value in (("low", low), ("high", high))]
    net.node("Clip", f"{name}/clip", *ends)
    net.node("Mul", f"{name}/down", net.const(f"{name}.down", np.float32(2.0**-k)))


def shrunk(net: Builder, rows: int, columns: int) -> None:
    net.node("MaxPool", "shrunk", kernel_shape=[net.shape[1] - rows + 1, net.shape[2] - columns + 1])
    net.shape = net.shape[0], rows, columns


@pytest.mark.slow
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("factors", [(2, 2), (1, 2), (2, 1), (4, 2), (1, 8)])
@pytest.mark.parametrize("space", [(3, 4), (1, 3), (2, 1), (1, 1)])
def test_equal_at_every_size_and_border(save, coordinates, factors, space) -> None:
    net = stem(levels=4)
    shrunk(net, *space)
    blended(net, factors, coordinate_transformation_mode=coordinates)
    net.quantize("q", 1, 7)
    done, _ = equal(finish(net), save)
    phases = factors[0] * factors[1]
    assert done.graph.layers[-2].shape == (3 * phases, *space)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["conv", "add", "sizes", "open", "concat"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
def test_what_stands_around_it(save, way, coordinates) -> None:
    """Also with levels below zero, whose zero point is no padding."""
    rng = np.random.default_rng(3)
    net = Builder((1, 6, 6))
    net.conv("stem", rng.integers(-20, 21, (3, 1, 3, 3)) / 32.0)
    net.node("Mul", "small", net.const("small", np.float32(1 / 256)))
    signed(net, "stem/quant", 2, -3, 5)
    if way == "concat":
        net.node("Concat", "twice", net.here, axis=1)
        net.shape = (6, *net.shape[1:])
    before = net.here
    blended(net, (2, 2), sizes=way == "sizes", coordinate_transformation_mode=coordinates)
    if way == "add":
        smooth, net.here = net.here, before
        net.node("Resize", "nearest", "", net.const("k", np.array([1, 1, 2, 2], np.float32)), mode="nearest")
        net.node("Add", "sum", smooth)
    if way != "open":
        signed(net, "q", 1, -4, 7)
    net.conv("next", ternary(rng, 2, net.shape[0], 3, 3), pads=[1] * 4)
    net.quantize("next/quant", 0, 3)
    model = finish(net).model()
    if way == "sizes":  # they are those of one image
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    equal(model, save)


@pytest.mark.slow
def test_other_scales_of_levels_are_within_rounding(save) -> None:
    net = stem(levels=4)
    scale = net.const("tenth", np.float32(0.1))
    net.node("Mul", "odd", scale)
    blended(net, (2, 2))
    net.node("Div", "even", scale)
    net.quantize("q", 1, 7)
    done, _ = equal(finish(net), save, certified=False)
    assert done.mapping.exactness == "tested"


@pytest.mark.slow
def test_before_opset_11_coordinates_are_asymmetric(save) -> None:
    net = Builder((1, 6, 6))
    net.conv("stem", np.random.default_rng(1).integers(-20, 30, (2, 1, 1, 1)) / 4096.0)
    step, zero = net.const("step", np.float32(0.25)), net.const("zero", np.uint8(0))
    for name in ("q", "again"):
        net.node("QuantizeLinear", f"{name}/q", step, zero)
        net.node("DequantizeLinear", f"{name}/dq", step, zero)
        if name == "q":
            net.node("Resize", "up", net.const("scales", np.array([1, 1, 2, 2], np.float32)), mode="linear")
            net.shape = 2, 12, 12
    found = verify(save(finish(net).model(opset=10)), limit=30)
    assert found.equal
    assert found.exactness == "certified"


@pytest.mark.parametrize(
    ("factors", "options", "said"),
    [
        ((3, 3), {}, "scales an image by 1 x 3 x 3; allowed: rows and columns of float32"),
        ((1.5, 2), {}, "scales an image by 1 x 1.5 x 2; allowed"),
        ((0.5, 0.5), {}, "scales an image by 1 x 0.5 x 0.5; allowed"),
        ((2, 2), {"antialias": 1}, "scales an image by 1 x 2 x 2 with antialias; allowed"),
        ((2, 2), {"coordinate_transformation_mode": "align_corners"}, "'align_corners': its weights differ from position"),
    ],
)
def test_weights_that_float32_rounds_are_refused(save, factors, options, said) -> None:
    net = stem(channels=3)
    blended(net, factors, **options)
    net.conv("conv", np.ones((2, 3, 1, 1)))
    net.quantize("q", 0, 3)
    with pytest.raises(ModelError, match="use a scale of 2, 4 or 8 with half_pixel or asymmetric coordinates") as caught:
        equal(finish(net), save, opset=18)
    assert caught.value.code == "model-attribute"
    assert str(caught.value).startswith("up")
    assert said in str(caught.value)
