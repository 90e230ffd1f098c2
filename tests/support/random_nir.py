"""Random NIR networks in memory: convolutions, pools, dense layers, scales, residual sums, any neuron semantics."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from qsnnc.nir.network import Network, Node


def network(nodes: dict[str, tuple], edges: list[tuple[str, str]], metadata: dict[str, str] | None = None) -> Network:
    """A network of nodes {name: (type, arrays)}."""
    return Network({name: Node(name, kind, values) for name, (kind, values) in nodes.items()}, tuple(edges), metadata or {})


def chain(shape: tuple[int, ...], *nodes: tuple) -> Network:
    """A network of nodes one after the other: (type, arrays) each."""
    named = {"input": ("Input", {"shape": np.array(shape)})}
    named |= {f"n{i}": node for i, node in enumerate(nodes)} | {"output": ("Output", {"shape": np.array([1])})}
    names = list(named)
    return network(named, list(pairwise(names)))


class RandomNetwork:
    """Draws nodes and keeps the shape."""

    def __init__(self, seed: int, *, exact: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: dict[str, tuple] = {}
        self.edges: list[tuple[str, str]] = []
        self.exact = exact
        self.count = 0
        self.semantics = {
            "compare": self.one_of(">", ">="), "spikes": "one", "reset": self.one_of("value", "subtract", "subtract-late", "none"),
            "decay": self.one_of("euler", "r"), "gain_if": self.one_of("one", "ode"),
            "gain_lif": self.one_of("one", "ode", "leak"), "dt": 1.0, "start": self.one_of("zero", "reset"),
            "delay": int(self.rng.random() < 0.25), "flatten": self.one_of("chw", "hwc"),
        }  # fmt: skip
        self.leak = self.one_of(0.5, 0.5, 0.75, 0.25)
        self.shape: tuple[int, ...] = tuple(self.rng.integers(1, 4, 1)) + tuple(self.rng.integers(3, 8, 2))
        self.last = self.add("Input", {"shape": np.array(self.shape)}, [])

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def add(self, kind: str, values: dict, sources: list[str]) -> str:
        name = f"{'zyx'[self.count % 3]}{self.count}"  # names in no order
        self.count += 1
        self.nodes[name] = (kind, values)
        self.edges += [(source, name) for source in sources]
        return name

    def weights(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-3, 4, shape) * float(self.one_of(0.25, 0.5, 1.0, 2.0))

    def conv(self) -> None:
        channels, rows, columns = self.shape
        groups = int(self.one_of(1, 1, channels))
        outputs = groups * int(self.rng.integers(1, 3))
        kernel = (int(self.rng.integers(1, min(4, rows + 1))), int(self.rng.integers(1, min(4, columns + 1))))
        stride, pad = self.rng.integers(1, 3, 2), self.rng.integers(0, 2, 2)
        dilation = np.array([1, 1])
        values = {
            "weight": self.weights(outputs, channels // groups, *kernel), "bias": self.weights(outputs) / 2, "stride": stride,
            "padding": pad, "dilation": dilation, "groups": np.array(groups),
        }  # fmt: skip
        self.last = self.add("Conv2d", values, [self.last])
        self.shape = (outputs, *self._out(kernel, stride, pad))

    def pool(self) -> None:
        kernel = np.array([2, 2]) if min(self.shape[1:]) > 1 else np.array([1, 1])
        stride = np.array([int(self.one_of(1, 2))] * 2)
        pad = np.array([int(self.rng.random() < 0.2)] * 2) if kernel[0] > 1 else np.array([0, 0])
        self.last = self.add(
            self.one_of("SumPool2d", "AvgPool2d"), {"kernel_size": kernel, "stride": stride, "padding": pad}, [self.last]
        )
        self.shape = (self.shape[0], *self._out(kernel, stride, pad))

    def _out(self, kernel, stride, pad) -> tuple[int, int]:
        return tuple(int((self.shape[1 + a] + 2 * pad[a] - kernel[a]) // stride[a] + 1) for a in (0, 1))

    def scale(self) -> None:
        shape = (self.shape[0], 1, 1) if self.rng.random() < 0.5 and len(self.shape) == 3 else self.shape
        self.last = self.add("Scale", {"scale": self.rng.choice([0.5, 1.0, 2.0], shape)}, [self.last])

    def dense(self) -> None:
        if len(self.shape) == 3:
            self.last = self.add(
                "Flatten", {"start_dim": np.array(self.rng.integers(0, 2)), "end_dim": np.array(-1)}, [self.last]
            )
        outputs, features = int(self.rng.integers(2, 9)), int(np.prod(self.shape))
        values = {"weight": self.weights(outputs, features)}
        if self.rng.random() < 0.5:
            values["bias"] = self.weights(outputs)
        self.last = self.add("Affine" if "bias" in values else "Linear", values, [self.last])
        self.shape = (outputs,)

    def neurons(self) -> None:
        one = np.ones(self.shape if self.rng.random() < 0.5 else ())
        kind = self.one_of("IF", "LIF")
        threshold = one * self.rng.integers(1, 9, one.shape) * 0.5
        v_reset = -one if self.semantics["reset"] == "value" and self.rng.random() < 0.4 else 0 * one
        values = {"v_threshold": threshold, "v_reset": v_reset, "r": one * float(self.one_of(1.0, 2.0))}
        if kind == "LIF":
            values |= {"tau": one / (1 - self.leak), "v_leak": 0 * one}
            if self.semantics["decay"] == "r":
                values["r"] = one / (1 - self.leak)
        self.last = self.add(kind, values, [self.last])

    def residual(self) -> None:
        """A branch of a convolution and neurons around which the tensor passes."""
        if len(self.shape) != 3:
            return
        before, channels = self.last, self.shape[0]
        values = {
            "weight": self.weights(channels, channels, 3, 3), "bias": self.weights(channels), "stride": np.array([1, 1]),
            "padding": np.array([1, 1]), "dilation": np.array([1, 1]), "groups": np.array(1),
        }  # fmt: skip
        self.last = self.add("Conv2d", values, [self.last])
        self.neurons()
        self.last = self.add("Scale", {"scale": np.ones(1)}, [self.last, before])

    def finish(self, *, silent: bool = False) -> Network:
        if silent:
            self.last = self.add("LI", {"tau": np.ones(()) * 2, "r": np.ones(()) * 2, "v_leak": np.zeros(())}, [self.last])
        self.add("Output", {"shape": np.array(self.shape)}, [self.last])
        return network(self.nodes, self.edges)


def draw(seed: int) -> tuple[RandomNetwork, Network]:
    """A network of two or three layers of neurons."""
    net = RandomNetwork(seed)
    if net.rng.random() < 0.3:
        net.neurons()
    for _ in range(int(net.rng.integers(1, 3))):
        net.conv() if min(net.shape[1:]) > 1 else net.scale()
        if net.rng.random() < 0.3:
            net.pool()
        if net.rng.random() < 0.3:
            net.scale()
        net.neurons()
        if net.rng.random() < 0.5:
            net.pool()
        if net.rng.random() < 0.3:
            net.residual()
            net.neurons()
    net.dense()
    if net.rng.random() < 0.2:
        net.dense()
    net.neurons()
    return net, net.finish()
