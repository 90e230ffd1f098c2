"""Linear nodes of NIR, with shapes that are computed here: what a file says of shapes can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.nir.network import F64, Node
from qsnnc.nir.tensors import Shape3, Tensor, Window, space_of

#: what is refused by name, and why
REFUSED = {
    "CubaLIF": "has a synaptic current besides the potential, which the chip's neurons have not; train with LIF neurons",
    "CubaLI": "has a synaptic current besides the potential, which the chip's neurons have not; train with LI neurons",
    "Threshold": "compares without a potential of its own; use an IF neuron",
    "Delay": "delays single connections in seconds; remove it",
}


def linear(node: Node, x: Tensor, order: str) -> Tensor:
    """Apply a linear node.

    Parameters
    ----------
    order : ``chw`` or ``hwc``
        How Flatten numbers features.

    Raises
    ------
    ModelError
        The node is not supported, or its arrays do not fit.
    """
    if node.type in REFUSED:
        raise ModelError(
            node.name,
            f"{node.type} is not supported: it {REFUSED[node.type]}",
            code="nir-node",
            node=node.name,
            found=node.type,
        )
    apply = _NODES.get(node.type)
    if apply is None:
        raise ModelError(
            node.name, f"the node type {node.type!r} is not known; allowed: {', '.join(SUPPORTED)}",
            code="nir-node", node=node.name, found=node.type, allowed=list(SUPPORTED),
        )  # fmt: skip
    if node.type == "Flatten":
        return _flatten(node, x, order)
    return apply(node, x)


def _dense(node: Node, x: Tensor) -> Tensor:
    weight = node.finite("weight")
    bias = node.finite("bias").reshape(-1) if node.type == "Affine" else None
    features = prod(x.shape)
    alone = len(x.shape) == 1 or prod(x.shape[:-1]) == 1
    if weight.ndim != 2 or not alone or weight.shape[1] != features:
        raise _shape(node, "weight", weight, f"(outputs, {x.shape[-1]}) on one axis; it is applied to shape {x.shape}")
    _fits(node, bias, len(weight))
    channels, rows, columns = x.space
    kernel = weight.reshape(len(weight), rows, columns, channels).transpose(0, 3, 1, 2) if x.swapped else weight
    window = Window(np.ascontiguousarray(kernel).reshape(len(weight), *x.space))
    return x.apply(window, (len(weight),), (len(weight), 1, 1), bias)


def _conv2d(node: Node, x: Tensor) -> Tensor:
    return _conv(node, x, 2)


def _conv1d(node: Node, x: Tensor) -> Tensor:
    return _conv(node, x, 1)


def _conv(node: Node, x: Tensor, axes: int) -> Tensor:
    weight = node.finite("weight")
    groups = _whole(node, "groups", 1)[0] if "groups" in node.values else 1
    _channels_first(node, x, axes)
    channels = x.space[0]
    fits = weight.ndim == 2 + axes and groups >= 1 and channels % groups == 0 and len(weight) % groups == 0
    if not fits or weight.shape[1] * groups != channels or weight.size == 0:
        raise _shape(node, "weight", weight, f"(outputs, {channels} / groups, kernel); it is applied to shape {x.shape}")
    bias = node.finite("bias").reshape(-1) if "bias" in node.values else None
    _fits(node, bias, len(weight))
    strides, dilations = _pair(node, "stride", axes, 1), _pair(node, "dilation", axes, 1)
    kernel = weight if axes == 2 else weight[:, :, None, :]
    pads, more = _padding(node, kernel.shape[2:], strides, dilations, axes)
    return _windowed(node, x, Window(kernel, strides, pads, dilations, groups), more, bias)


def _pool(node: Node, x: Tensor) -> Tensor:
    _channels_first(node, x, 2)
    kernel = _pair(node, "kernel_size", 2, 1)
    strides = _pair(node, "stride", 2, 1) if "stride" in node.values else kernel
    pads = _pair(node, "padding", 2, 0) if "padding" in node.values else (0, 0)
    weight = 1.0
    if node.type == "AvgPool2d":
        area = prod(kernel)
        if area & (area - 1):
            raise ModelError(
                node.name,
                f"averages windows of {kernel[0]} x {kernel[1]}; the area {area} is no power of two, so that the "
                "framework's float sums decide which neurons fire. Use SumPool2d or windows of a power of two",
                code="nir-parameter", node=node.name, found=area, allowed="a power of two",
            )  # fmt: skip
        weight = 1.0 / area
    if prod(kernel) * x.space[0] > 1 << 22:
        raise _shape(node, "kernel_size", np.zeros(kernel), f"at most the input, {x.shape}")
    window = Window(np.full((x.space[0], 1, *kernel), weight), strides, pads, groups=x.space[0])
    return _windowed(node, x, window, pads, None)


def _scale(node: Node, x: Tensor) -> Tensor:
    return x.scaled(x.arranged(node.finite("scale"), node.name, "scale"))


def _flatten(node: Node, x: Tensor, order: str) -> Tensor:
    start = _integer(node, "start_dim", 1)
    end = _integer(node, "end_dim", -1)
    if start not in (0, 1) or end not in (-1, len(x.shape) - 1, len(x.shape)):
        raise ModelError(
            node.name, f"flattens axes {start} to {end} of shape {x.shape} only; flatten all of them",
            code="nir-parameter", node=node.name, found=[start, end],
        )  # fmt: skip
    return x.flattened(order)


def _same(node: Node, x: Tensor) -> Tensor:
    return x


def _windowed(node: Node, x: Tensor, window: Window, after: tuple[int, int], bias: F64 | None) -> Tensor:
    """Apply a window; ``after`` is the padding behind the last row and column."""
    sizes = []
    for axis in (0, 1):
        reach = (window.kernel.shape[2 + axis] - 1) * window.dilations[axis] + 1
        room = x.space[1 + axis] + window.pads[axis] + after[axis] - reach
        if room < 0:
            raise ModelError(
                node.name, f"its window is larger than its input of shape {x.shape} with padding",
                code="nir-shape", node=node.name, found=reach, allowed=x.space[1 + axis] + window.pads[axis] + after[axis],
            )  # fmt: skip
        sizes.append(room // window.strides[axis] + 1)
    space: Shape3 = (len(window.kernel), sizes[0], sizes[1])
    shape = space if len(x.shape) == 3 else (space[0], space[2])
    space_of(shape, node.name)
    return x.apply(window, shape, space, bias)


def _padding(
    node: Node, kernel: tuple[int, ...], strides: tuple[int, int], dilations: tuple[int, int], axes: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the padding before and behind."""
    found = node.values.get("padding", 0)
    if not isinstance(found, str):
        pads = _pair(node, "padding", axes, 0) if "padding" in node.values else (0, 0)
        return pads, pads
    if found == "valid":
        return (0, 0), (0, 0)
    if found != "same":
        raise ModelError(
            node.name,
            f"padding is {found!r}; allowed: same, valid or numbers",
            code="nir-parameter",
            node=node.name,
            found=found,
        )
    if max(strides) > 1:
        raise ModelError(
            node.name,
            f"has padding 'same' with stride {max(strides)}, which frameworks compute differently; state it in numbers",
            code="nir-parameter", node=node.name, found=max(strides), allowed=1,
        )  # fmt: skip
    total = [(size - 1) * step for size, step in zip(kernel, dilations, strict=True)]
    first = (total[0] // 2, total[1] // 2)
    return first, (total[0] - first[0], total[1] - first[1])


def _pair(node: Node, key: str, axes: int, least: int) -> tuple[int, int]:
    """Return a size along rows and columns, given for each axis or once for both."""
    found = _whole(node, key, least)
    if len(found) not in (1, axes):
        raise _shape(node, key, np.asarray(found), f"1 or {axes} numbers")
    if axes == 1:
        return (0 if least == 0 else 1, found[0])
    return (found[0], found[-1])


def _whole(node: Node, key: str, least: int) -> list[int]:
    value = node.finite(key).reshape(-1)
    if not len(value) or (value != np.round(value)).any() or value.min() < least or value.max() > 1 << 20:
        raise ModelError(
            node.name, f"{key} is {value.tolist()[:4]}; allowed: whole numbers from {least}", code="nir-parameter",
            node=node.name, found=value.tolist()[:4], allowed=f">= {least}",
        )  # fmt: skip
    return [int(v) for v in value]


def _integer(node: Node, key: str, default: int) -> int:
    return int(node.finite(key).reshape(-1)[0]) if key in node.values and np.size(node.values[key]) else default


def _channels_first(node: Node, x: Tensor, axes: int) -> None:
    if len(x.shape) != 1 + axes:
        raise ModelError(
            node.name, f"{node.type} on shape {x.shape}; {1 + axes} axes (channels first) are required",
            code="nir-shape", node=node.name, found=list(x.shape), allowed=1 + axes,
        )  # fmt: skip


def _fits(node: Node, bias: F64 | None, channels: int) -> None:
    if bias is not None and len(bias) != channels:
        raise _shape(node, "bias", bias, f"({channels},)")


def _shape(node: Node, key: str, value: F64, allowed: str) -> ModelError:
    return ModelError(
        node.name,
        f"'{key}' has shape {value.shape}; expected: {allowed}",
        code="nir-shape",
        node=node.name,
        found=list(value.shape),
    )


_NODES: dict[str, Callable[[Node, Tensor], Tensor]] = {
    "Affine": _dense, "Linear": _dense, "Conv1d": _conv1d, "Conv2d": _conv2d, "SumPool2d": _pool, "AvgPool2d": _pool,
    "Scale": _scale, "Flatten": _same, "Identity": _same, "Output": _same,
}  # fmt: skip
SUPPORTED = ("Input", "Output", *(name for name in _NODES if name not in ("Identity", "Output")), "IF", "LIF", "I", "LI")
