"""Execute the layer graph on integers in NumPy: the specification that `verify` and the chip are checked against.

Products run through float BLAS, which is exact as long as no sum of magnitudes reaches the first integer that the format
cannot hold: 2**24 in float32, 2**53 in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from chipsim.mapping.dynamics import Dynamics
from qsnnc.ir.layers import SUMMED, Connection, Int, Layer, LayerGraph

F64 = npt.NDArray[np.float64]

#: bytes of the windows that are written out at a time
CHUNK = 1 << 26
#: levels beyond which thresholds are searched instead of compared one by one
FEW = 16


def potentials(layer: Layer, levels: dict[str, Int]) -> Int:
    """Compute the potentials of a layer, int64 (N, channels, rows, columns), with a last axis of levels if level-wise."""
    total: Int | None = None
    for link in layer.connections:
        source = levels[link.source]
        if link.level_wise:
            parts = [convolve(link, (source > i).astype(np.int64), layer.shape) for i in range(layer.levels)]
            part = np.stack(parts, axis=-1)
        else:
            part = convolve(link, source, layer.shape)
        if total is None:
            total = part
        else:
            total += part
    assert total is not None
    return total


def fire(layer: Layer, potential: Int) -> Int:
    """Compute levels, int64 (N, channels, rows, columns): how many neurons of each feature fire."""
    if potential.ndim == 5:  # a neuron of a feature has a potential of its own
        return np.asarray((potential >= layer.thresholds[layer.border].transpose(2, 0, 1, 3)).sum(axis=-1), np.int64)
    out = np.zeros(potential.shape, np.int64)
    if layer.levels <= FEW:
        for level in range(layer.levels):
            out += potential >= layer.thresholds[:, :, level][layer.border].transpose(2, 0, 1)
        return out
    border = layer.border.reshape(-1)
    flat, found = (array.reshape(*potential.shape[:2], -1) for array in (potential, out))
    for number in np.unique(border).tolist():
        here = np.flatnonzero(border == number)
        if len(flat) * len(here) <= FEW:  # all channels at once, each behind the one before
            found[:, :, here] = reached(layer.thresholds[number], flat[:, :, here])
            continue
        for channel, limits in enumerate(layer.thresholds[number]):  # ascending
            found[:, channel, here] = np.searchsorted(limits, flat[:, channel, here], side="right")
    return out


def reached(thresholds: Int, potential: Int) -> Int:
    """Count the thresholds (channels, levels), ascending, that potentials (N, channels, positions) reach, in one search."""
    channels, levels = thresholds.shape
    base = min(int(thresholds.min()), int(potential.min()))
    size = max(int(thresholds.max()), int(potential.max())) - base + 1
    number = np.arange(channels)
    every = (thresholds - base + number[:, None] * size).reshape(-1)
    at = np.searchsorted(every, potential - base + number[None, :, None] * size, side="right")
    return np.asarray(at - number[None, :, None] * levels)


def run(layer: Layer, levels: dict[str, Int]) -> Int:
    """Compute the levels of a layer, or its potentials if it is the readout layer."""
    first = layer.thresholds[..., :1]  # a max pool is ranked, which is faster than level by level
    if not layer.readout and all(link.level_wise for link in layer.connections) and (layer.thresholds == first).all():
        return _ranked(layer, levels)
    potential = potentials(layer, levels)
    return potential if layer.readout else fire(layer, potential)


def execute(graph: LayerGraph, encoder_levels: npt.NDArray[np.integer]) -> dict[str, Int]:
    """Run a batch through the layer graph.

    Parameters
    ----------
    encoder_levels : integer ndarray, (N, *shape of the encoder's tensor)

    Returns
    -------
    dict
        Levels of each population by name, int64 (N, channels, rows, columns); for the readout layer its potentials.
    """
    levels = {graph.encoder.name: encoder_levels.reshape(-1, *graph.encoder.shape).astype(np.int64)}
    for layer in graph.layers:
        levels[layer.name] = run(layer, levels)
    return levels


def execute_steps(graph: LayerGraph, encoder_levels: npt.NDArray[np.integer]) -> dict[str, Int]:
    """Run a batch of frames of several steps through the layer graph.

    Parameters
    ----------
    encoder_levels : integer ndarray, (N, steps, *shape of the encoder's tensor)
        Where the same image enters in every step (N, 1, ...) is enough.

    Returns
    -------
    dict
        Levels of each population in each step by name, int64 (N, steps, channels, rows, columns); for a readout layer that
        does not fire its potentials. The spikes of a layer with a delay stand in the step in which they are read.
    """
    count = len(encoder_levels)
    frames = encoder_levels.reshape(count, -1, *graph.encoder.shape).astype(np.int64)
    frames = np.broadcast_to(frames, (count, graph.steps, *graph.encoder.shape))
    states = {layer.name: _start(layer, count) for layer in graph.layers}
    late = {layer.name: np.zeros((count, *layer.shape), np.int64) for layer in graph.layers if _delayed(layer)}
    trains: dict[str, list[Int]] = {layer.name: [] for layer in graph.layers}
    for step in range(graph.steps):
        levels: dict[str, Int] = {graph.encoder.name: frames[:, step], **late}
        for layer in graph.layers:
            if layer.dynamics is None:
                found = run(layer, levels)
            else:
                found, states[layer.name] = _step(layer, layer.dynamics, levels, states[layer.name])
            trains[layer.name].append(levels[layer.name] if layer.name in late else found)
            (late if layer.name in late else levels)[layer.name] = found
    return {graph.encoder.name: frames, **{name: np.stack(train, axis=1) for name, train in trains.items()}}


def read_out(graph: LayerGraph, trains: dict[str, Int]) -> Int:
    """Return what is read from the readout layer, int64 (N, features): the potentials or counts that scores are made of."""
    found = trains[graph.layers[-1].name]
    found = found.reshape(len(found), graph.steps, -1)
    if graph.readout_of == "count":
        return np.asarray(found.sum(axis=1))
    return np.asarray(found.max(axis=1) if graph.readout_of == "largest" else found[:, -1])


def _delayed(layer: Layer) -> bool:
    return layer.dynamics is not None and layer.dynamics.delay == 1


def _start(layer: Layer, count: int) -> Int:
    """Potentials before the first step, (N, channels, rows, columns)."""
    start = np.zeros(layer.shape, np.int64) if layer.dynamics is None else _each(layer, layer.dynamics.start)
    return np.broadcast_to(start, (count, *layer.shape))


def _each(layer: Layer, values: Int) -> Int:
    """Spread constants (border classes, channels) over the features of a layer."""
    return np.asarray(values[layer.border].transpose(2, 0, 1))


def _step(layer: Layer, model: Dynamics, levels: dict[str, Int], state: Int) -> tuple[Int, Int]:
    """One step of the neurons of a layer: spikes (for a readout layer potentials), and potentials after it."""
    total = potentials(layer, levels).reshape(state.shape)
    potential = model.integrate(state, total, _each(layer, model.bias))
    if layer.readout:
        return potential, potential
    fired = potential >= _each(layer, layer.thresholds[..., 0])
    return fired.astype(np.int64), model.settle(potential, fired, _each(layer, model.amount))


def _ranked(layer: Layer, levels: dict[str, Int]) -> Int:
    """Compute levels of a max pool: neuron i fires iff T neurons i of the window do, so the level is their T-th largest."""
    windows = []
    for link in layer.connections:
        taps = link.taps(levels[link.source].shape[2:], layer.shape[1:])  # type: ignore[arg-type]
        windows.append(_padded(levels[link.source], np.dtype(np.int64))[:, :, taps])
    window = np.concatenate(windows, axis=-1)  # (N, channels, positions, taps); padding never fires: level 0
    wanted = layer.thresholds[layer.border.reshape(-1), :, 0].T[None, :, :, None]
    size = window.shape[-1]
    if (wanted == 1).all():
        return np.asarray(window.max(axis=-1).reshape(len(window), *layer.shape))
    window.sort(axis=-1)
    at = np.broadcast_to(np.clip(size - wanted, 0, size - 1), (*window.shape[:3], 1))
    level = np.take_along_axis(window, at, axis=-1)
    level = np.where(wanted <= 0, layer.levels, np.where(wanted > size, 0, level))
    return np.asarray(level.reshape(len(window), *layer.shape))


def _padded(levels: Int, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    """Return levels (N, channels, positions + 1), where the last position, read by index -1, is the padding."""
    images, channels = levels.shape[:2]
    out = np.zeros((images, channels, int(np.prod(levels.shape[2:])) + 1), dtype)
    out[..., :-1] = levels.reshape(images, channels, -1)
    return out


def convolve(link: Connection, levels: Int, shape: tuple[int, int, int]) -> Int:
    """Apply a connection, in the narrowest float format that holds every partial sum exactly."""
    channels, rows, columns = shape
    images, positions = len(levels), rows * columns
    out = np.empty((images, channels, positions), np.int64)
    if not out.size:
        return out.reshape(images, *shape)
    kernel = link.weights.reshape(channels, link.weights.shape[1], -1)
    largest = _largest_sum(kernel) * max(1, int(levels.max(initial=0)), -int(levels.min(initial=0)))
    assert largest < 2**53, "potentials beyond what float64 holds"
    dtype = np.dtype(np.float32 if largest < 2**24 else np.float64)
    flat = _padded(levels, dtype)
    taps = link.taps(levels.shape[2:], (rows, columns))  # type: ignore[arg-type]
    if link.groups == channels and kernel.shape[1] == 1:
        _depthwise(kernel[:, 0].astype(dtype), flat, taps, out)
    else:
        _grouped(kernel.astype(dtype), flat, taps, link.groups, out)
    return out.reshape(images, *shape)


def products(link: Connection, levels: Int, parts: Sequence[Callable[[F64], F64]], shape: tuple[int, int, int]) -> Int:
    """Apply several parts of a connection's weights, as its positive and its negative ones, to several maps of levels.

    The weights are converted some at a time, so this is for few positions: weights then take longer than products.

    Parameters
    ----------
    levels : ndarray, int64, (maps, channels, rows, columns)
    parts : sequence of callable
        From weights to weights.

    Returns
    -------
    ndarray, int64, (parts, maps, channels, rows, columns)
    """
    channels, rows, columns = shape
    taps = link.taps(levels.shape[2:], (rows, columns))  # type: ignore[arg-type]
    flat = _padded(levels, np.dtype(np.float64)).astype(np.float64, copy=False)
    groups, maps = link.groups, len(levels)
    kernel = link.weights.reshape(groups, channels // groups, -1)
    out = np.empty((len(parts), maps, groups, channels // groups, len(taps)), np.int64)
    many = max(1, CHUNK // (8 * flat[:, :, 0].size * taps.shape[1]))
    step = max(1, SUMMED // kernel[:, 0].size)
    for first in range(0, len(taps), many):
        here = slice(first, first + many)
        window = flat[:, :, taps[here]].swapaxes(2, 3).reshape(maps, groups, kernel.shape[2], -1)
        for begin in range(0, channels // groups, step):
            mine = kernel[:, begin : begin + step].astype(np.float64)
            for number, part in enumerate(parts):
                found = part(mine) @ window
                assert not found.size or max(found.max(), -found.min()) < 2**53, "potentials beyond what float64 holds"
                out[number, :, :, begin : begin + step, here] = found
    return out.reshape(len(parts), maps, *shape)


def _largest_sum(kernel: Int) -> int:
    """Bound the sum of a channel's magnitudes: exactly only where the largest weight times their number is not enough."""
    if kernel.dtype == bool:  # 1 where a weight is not 0
        return int(kernel[0].size)
    quick = max(1, int(kernel.max(initial=0)), -int(kernel.min(initial=0))) * kernel[0].size
    return quick if quick < 2**16 else int(np.abs(kernel).sum(axis=(1, 2)).max())


def _depthwise(kernel: npt.NDArray[np.floating], flat: npt.NDArray[np.generic], taps: Int, out: Int) -> None:
    """Convolve each channel by itself, tap by tap."""
    for image, whole in zip(flat, out, strict=True):
        total = np.zeros(whole.shape, kernel.dtype)
        for tap in range(taps.shape[1]):
            total += kernel[:, tap, None] * image[:, taps[:, tap]]
        whole[:] = total


def _grouped(kernel: npt.NDArray[np.floating], flat: npt.NDArray[np.generic], taps: Int, groups: int, out: Int) -> None:
    """Multiply by windows written out as columns of a matrix, some positions at a time."""
    outputs, inputs = len(kernel) // groups, kernel.shape[1]
    step = max(1, CHUNK // (inputs * taps.shape[1] * kernel.itemsize))
    kernel = kernel.reshape(groups, outputs, -1)
    for image, whole in zip(flat, out, strict=True):
        for group in range(groups):
            block = image[group * inputs : (group + 1) * inputs]
            for first in range(0, len(taps), step):
                window = block[:, taps[first : first + step].T]  # (inputs, taps, positions)
                product = kernel[group] @ window.reshape(kernel.shape[2], -1)
                whole[group * outputs : (group + 1) * outputs, first : first + step] = product
