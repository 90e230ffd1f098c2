"""A network in floats, node by node and step by step, under its stated semantics, to compare integers with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsnnc.nir.integerize import Interpreted
from qsnnc.nir.linear import linear
from qsnnc.nir.network import F64
from qsnnc.nir.neurons import Neuron
from qsnnc.nir.tensors import Tensor


def trains(found: Interpreted, spikes: npt.NDArray[np.integer]) -> dict[str, F64]:
    """Run frames of spikes through a network in float64.

    Parameters
    ----------
    spikes : integer ndarray, (N, steps, *shape of what enters the chip)

    Returns
    -------
    dict
        Spikes of each node of neurons, float64 (N, steps, *shape); potentials of those that never fire.
    """
    flat, frame = found.flat, found.frame
    entering = spikes.reshape(len(spikes), frame.steps, *frame.population.tensor_shape).astype(np.float64)
    state: dict[str, F64] = {}
    late: dict[str, F64] = {}
    shapes = _shapes(found)
    out: dict[str, list[F64]] = {name: [] for name in found.neurons if name in shapes}
    last = flat.output.name
    if not frame.own_readout:
        out[found.readout_name] = []
    for step in range(frame.steps):
        values: dict[str, F64] = {frame.population.name: entering[:, step]}
        for node in flat.nodes:
            name = node.name
            if name in frame.on_host or name == frame.population.name:
                continue
            x = np.sum([values[source] for source in flat.sources[name]], axis=0)
            if name not in found.neurons:
                values[name] = _apply(found, name, x, shapes)
                continue
            spiked, state[name] = _step(found.neurons[name], x, state.get(name), shapes[name], name)
            if found.neurons[name].delay:
                spiked, late[name] = late.get(name, np.zeros_like(spiked)), spiked
            values[name] = spiked
            out[name].append(spiked)
        if not frame.own_readout:
            before = out[found.readout_name][-1] if frame.accumulated and step else 0.0
            out[found.readout_name].append(values[last] + before)
    return {name: np.stack(each, axis=1) for name, each in out.items()}


def _shapes(found: Interpreted) -> dict[str, Tensor]:
    """Return, for each node, a tensor of the shape that enters it."""
    shapes: dict[str, Tensor] = {}
    made = {found.frame.population.name: Tensor.of("x", found.frame.population.tensor_shape)}
    for node in found.flat.nodes:
        if node.name in found.frame.on_host or node.name in made:
            continue
        first = made[found.flat.sources[node.name][0]]
        shapes[node.name] = first
        if node.name in found.neurons:
            made[node.name] = Tensor.of("x", first.shape)
        else:
            made[node.name] = linear(node, Tensor.of("x", first.shape), "chw")
    return shapes


def _apply(found: Interpreted, name: str, x: F64, shapes: dict[str, Tensor]) -> F64:
    """Apply a linear node to a batch, by its own window or matrix."""
    node = next(node for node in found.flat.nodes if node.name == name)
    seen = shapes[name]
    if node.type == "Flatten":
        hwc = found.order == "hwc" and x.ndim == 4
        return (x.transpose(0, 2, 3, 1) if hwc else x).reshape(len(x), -1)
    one = linear(node, Tensor.of("x", seen.shape), "chw")
    term = one.terms[0]
    flat = x.reshape(len(x), *term.shape)
    if term.window is not None:
        total = term.window.apply(flat, one.space)
    else:
        total = (flat.reshape(len(x), -1) @ term.as_matrix(one.space).T).reshape(len(x), *one.space)
    return (total + one.constant).reshape(len(x), *one.shape)


def _step(neuron: Neuron, x: F64, v: F64 | None, shape: Tensor, name: str) -> tuple[F64, F64]:
    """One step of the neurons of a node: their spikes, or potentials, and their potentials after it."""

    def each(values: F64, key: str) -> F64:
        return shape.arranged(values, name, key).reshape(shape.shape)

    if v is None:
        v = np.broadcast_to(each(neuron.start, "v_reset"), x.shape)
    v = neuron.decay * v + each(neuron.gain, "r") * x + each(neuron.bias, "v_leak")
    if neuron.threshold is None:
        return v, v
    threshold = each(neuron.threshold, "v_threshold")
    fires = v > threshold if neuron.strict else v >= threshold
    count = np.where(fires, np.floor(v / threshold) if neuron.many else 1.0, 0.0)
    if neuron.reset == "value":
        v = np.where(fires, each(neuron.amount, "v_reset"), v)
    elif neuron.reset == "subtract":
        v = v - count * each(neuron.amount, "v_reset")
    return count, v
