"""What the host computes: the first neurons of a network that reads the image itself, and scores from what is read out."""

from __future__ import annotations

from typing import Any

import numpy as np

from qsnnc.nir.flattening import Flat
from qsnnc.nir.linear import linear
from qsnnc.nir.network import F64, Node
from qsnnc.nir.neurons import Neuron
from qsnnc.nir.tensors import Tensor, added

OPSET = 17


def readout_onnx(scale: F64, shape: tuple[int, ...]) -> bytes:
    """Return readout.onnx: ``potentials`` int64 [N, features] (or counts) to ``scores`` float32 [N, *shape]."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["potentials"], ["double"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["double", "scale"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["flat"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["flat", "shape"], ["scores"]),
    ]
    constants = [
        numpy_helper.from_array(np.asarray(scale, np.float64), "scale"),
        numpy_helper.from_array(np.array([-1, *shape], np.int64), "shape"),
    ]
    ends = [
        helper.make_tensor_value_info("potentials", TensorProto.INT64, ["N", len(scale)]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", *shape]),
    ]
    return serialized(nodes, ends, constants, "readout")


def serialized(nodes: list[Any], ends: list[Any], constants: list[Any], name: str) -> bytes:
    """Return a model with one input and one output."""
    from onnx import helper

    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))


class Encoder:
    """Writes encoder.onnx: the image to the spikes of the first neurons, ``levels`` int32 [N, steps, *shape].

    The linear nodes are computed as the framework computes them, in float32; then the neurons step by step.
    """

    def __init__(self, flat: Flat, shape: tuple[int, ...], steps: int) -> None:
        self.flat, self.shape, self.steps = flat, shape, steps
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names: dict[str, str] = {}
        self.content = b""

    def build(self, order: list[Node], name: str, neuron: Neuron) -> tuple[int, ...]:
        """Write the model; return the shape of the neurons."""
        from onnx import TensorProto, helper, numpy_helper

        tensors: dict[str, Tensor] = {}
        for node in order:
            if node.type == "Input":
                tensors[node.name], self.names[node.name] = Tensor.of(node.name, self.shape), node.name
                continue
            x = added([tensors[each] for each in self.flat.sources[node.name]], node.name)
            tensors[node.name] = linear(node, x, "chw")
            self.names[node.name] = self._linear(node, x, tensors[node.name])
        x = added([tensors[each] for each in self.flat.sources[name]], name)
        trains = self._neurons(neuron, self._added(name), x, name)
        axis = numpy_helper.from_array(np.array([1], np.int64), "steps.axis")
        self.constants.append(axis)
        each = [self._op("Unsqueeze", [train, "steps.axis"]) for train in trains]
        whole = self._op("Concat", each, axis=1)
        self.nodes.append(helper.make_node("Cast", [whole], ["levels"], to=TensorProto.INT32))
        ends = [
            helper.make_tensor_value_info(self.flat.input.name, TensorProto.FLOAT, ["N", *self.shape]),
            helper.make_tensor_value_info("levels", TensorProto.INT32, ["N", self.steps, *x.shape]),
        ]
        self.content = serialized(self.nodes, ends, self.constants, "encoder")
        return x.shape

    def _op(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        out = f"host.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def _constant(self, value: Any, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        name = f"host.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def _added(self, name: str) -> str:
        found, *rest = (self.names[source] for source in self.flat.sources[name])
        for each in rest:
            found = self._op("Add", [found, each])
        return found

    def _linear(self, node: Node, x: Tensor, y: Tensor) -> str:
        """Write a linear node; a window or a matrix as its own arrays have it."""
        given = self._added(node.name)
        if node.type == "Identity":
            return given
        if node.type == "Flatten":
            return self._op("Flatten", [given], axis=1)
        if node.type == "Scale":
            return self._op(
                "Mul", [given, self._constant(x.arranged(node.finite("scale"), node.name, "scale").reshape(x.shape))]
            )
        if node.type in ("Affine", "Linear"):
            flat = self._op("Flatten", [given], axis=1)
            total = self._op("MatMul", [flat, self._constant(node.finite("weight").T)])
            return (
                self._op("Add", [total, self._constant(node.finite("bias").reshape(-1))]) if node.type == "Affine" else total
            )
        return self._window(node, given, x, y)

    def _window(self, node: Node, given: str, x: Tensor, y: Tensor) -> str:
        """Write a convolution or a pool; the input's identity went through the node, so that its window is the node's."""
        window = linear(node, Tensor.of("x", x.shape), "chw").terms[0].window
        assert window is not None
        axes = len(x.shape) - 1
        kernel = window.kernel if axes == 2 else window.kernel[:, :, 0]
        pads = []
        for axis in (0, 1):
            reach = (window.kernel.shape[2 + axis] - 1) * window.dilations[axis] + 1
            pads.append((y.space[1 + axis] - 1) * window.strides[axis] + reach - x.space[1 + axis] - window.pads[axis])
        first, last = window.pads[-axes:], tuple(max(0, pad) for pad in pads)[-axes:]
        inputs = [given, self._constant(kernel)]
        if "bias" in node.values:
            inputs.append(self._constant(node.finite("bias").reshape(-1)))
        return self._op(
            "Conv", inputs, kernel_shape=list(kernel.shape[2:]), strides=list(window.strides[-axes:]), pads=[*first, *last],
            dilations=list(window.dilations[-axes:]), group=window.groups,
        )  # fmt: skip

    def _neurons(self, neuron: Neuron, current: str, x: Tensor, name: str) -> list[str]:
        """Write the steps of the neurons; return their spikes, float32, step by step (those of a delay one step later)."""
        from onnx import TensorProto

        def constant(values: F64, key: str) -> str:
            return self._constant(x.arranged(values, name, key).reshape(1, *x.shape))

        assert neuron.threshold is not None
        drive = self._op("Add", [self._op("Mul", [current, constant(neuron.gain, "r")]), constant(neuron.bias, "v_leak")])
        threshold, amount = constant(neuron.threshold, "v_threshold"), constant(neuron.amount, "v_reset")
        decay = self._constant(neuron.decay)
        silent = self._op("Mul", [current, self._constant(0.0)])
        v, trains = self._op("Add", [silent, constant(neuron.start, "v_reset")]), []
        for _ in range(self.steps):
            v = self._op("Add", [self._op("Mul", [v, decay]), drive])
            fires = self._op("Greater" if neuron.strict else "GreaterOrEqual", [v, threshold])
            spikes = self._op("Cast", [fires], to=TensorProto.FLOAT)
            trains.append(spikes)
            if neuron.reset == "value":
                v = self._op("Where", [fires, amount, v])
            elif neuron.reset == "subtract":
                v = self._op("Sub", [v, self._op("Mul", [spikes, amount])])
        return [silent, *trains[:-1]] if neuron.delay else trains
