"""Write the NIR files and spike trains of this directory: small networks, run and exported by the frameworks themselves.

    python -m venv nir && nir/bin/pip install torch==2.13.0 nir==1.0.8 h5py scipy pbr matplotlib
    nir/bin/pip install --no-deps nirtorch==2.6 snntorch==1.0.0 sinabs==3.1.3 norse==1.1.0 spikingjelly==2.0.0 rockpool==3.1.0
    nir/bin/python tests/frameworks/make.py snntorch sinabs norse spikingjelly rockpool
    python -m venv spyx && spyx/bin/pip install spyx==1.0.0 nir==1.0.8
    spyx/bin/python tests/frameworks/make.py spyx

All networks have the same integer weights and get the same spikes. ``NAME.nir.gz`` is what the framework exports; ``NAME.npz`` holds
its input ``spikes`` uint8 (N, T, ...) and the spikes of each layer of neurons in order, ``layer_0``, ``layer_1`` ...
"""

from __future__ import annotations

import gzip
import io
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
STEPS, FRAMES = 16, 4
BETA = 0.5
TAU = 1.0 / np.log(2.0)  # exp(-1 / TAU) = 1/2


def arrays(kind: str, least: int, most: int):
    """Integer weights of the MLP 12-16-8, the CNN 2x8x8 or one of convolutions alone, with biases of the first layer."""
    rng = np.random.default_rng(20)
    shapes = {"mlp": [(16, 12), (8, 16)], "cnn": [(4, 2, 3, 3), (8, 64)], "conv": [(4, 2, 3, 3), (8, 4, 4, 4)]}[kind]
    weights = [rng.integers(least, most + 1, shape).astype(np.float32) for shape in shapes]
    bias = rng.integers(-1, 2, shapes[0][0]).astype(np.float32)
    return weights, bias


def spikes(kind: str) -> np.ndarray:
    shape = (12,) if kind == "mlp" else (2, 8, 8)
    return (np.random.default_rng(7).random((FRAMES, STEPS, *shape)) < 0.4).astype(np.uint8)


def save(name: str, graph, given: np.ndarray, trains: list[np.ndarray]) -> None:
    import nir

    for key in sorted(graph.nodes):  # nir.write takes no None, which some exporters leave for shapes
        node = graph.nodes[key]
        if isinstance(node, nir.Conv2d) and node.input_shape is None:
            node.input_shape = (8, 8) if node.weight.shape[1] == 2 else (4, 4)
        if isinstance(node, nir.Flatten) and node.input_type["input"] is None:
            node.input_type = {"input": np.array([4, 4, 4])}
    scalars = name.startswith("sinabs")  # which deflate does not take; sinabs itself pins nir 1.0.4, which never deflates
    buffer = io.BytesIO()
    nir.write(buffer, graph, compression=None if scalars else "gzip")
    (HERE / f"{name}.nir.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    print(name, [int(train.sum()) for train in trains], "largest", max(int(train.max()) for train in trains))
    assert all(len(np.unique(train)) > 1 for train in trains), f"{name}: a layer never or always fires"
    np.savez_compressed(
        HERE / f"{name}.npz", spikes=given, **{f"layer_{i}": train.astype(np.uint8) for i, train in enumerate(trains)}
    )


def net(kind: str, neurons, least: int = -3, most: int = 4, *, bias: bool = True, pool=None):
    """A torch network with one layer of ``neurons(i, shape)`` after each layer of weights."""
    import torch
    from torch import nn

    weights, offsets = arrays(kind, least, most)
    if kind == "mlp":
        layers = [nn.Linear(12, 16, bias=bias), neurons(0, (16,)), nn.Linear(16, 8, bias=False), neurons(1, (8,))]
        linear = [layers[0], layers[2]]
    elif kind == "conv":
        linear = [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 8, 4)]
        linear[1].bias.data[:] = 0
        layers = [linear[0], neurons(0, (4, 4, 4)), linear[1], neurons(1, (8, 1, 1))]
    else:
        conv, dense = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(64, 8, bias=False)
        layers = [conv, neurons(0, (4, 8, 8)), pool or nn.AvgPool2d(2, 2), nn.Flatten(), dense, neurons(1, (8,))]
        linear = [conv, dense]
    for layer, weight in zip(linear, weights, strict=True):
        layer.weight.data = torch.tensor(weight)
    if linear[0].bias is not None:
        linear[0].bias.data = torch.tensor(offsets)
    return nn.Sequential(*layers)


def run(network, given: np.ndarray, step) -> list[np.ndarray]:
    """Run all steps; ``step(module, x)`` is one step of one module. Returns the spikes of its modules of neurons."""
    import torch
    from torch import nn

    plain = (nn.Linear, nn.Conv2d, nn.AvgPool2d, nn.Flatten)
    trains: dict[int, list] = {}
    with torch.no_grad():
        for t in range(given.shape[1]):
            x = torch.tensor(given[:, t].astype(np.float32))
            for number, module in enumerate(network):
                if isinstance(module, plain) or type(module).__name__ == "SumPool2d":
                    x = module(x)
                else:
                    x = step(number, module, x)
                    trains.setdefault(number, []).append(x.numpy().copy())
    return [np.stack(train, axis=1) for train in trains.values()]


def snntorch() -> None:
    import snntorch as snn
    import torch
    from snntorch.export_nir import export_to_nir

    def make(name: str, kind: str, thresholds, *, paired: bool = False, **options) -> None:
        beta = options.pop("beta", BETA)

        def neurons(i, shape):  # one value for each neuron, or the exporter refuses its own file
            return snn.Leaky(beta=torch.full(shape, beta), threshold=torch.full(shape, thresholds[i]), **options)

        network = net(kind, neurons, *((0, 1) if paired else (-3, 4)))
        if paired:
            network[2].weight.data = torch.eye(8).tile(1, 2)
        given, state = spikes(kind), {}

        def step(number, module, x):
            out, state[number] = module(x, state.get(number, torch.zeros(())))
            return out

        trains = run(network, given, step)
        for module in network:  # the exporter runs them, with a state of its own
            if isinstance(module, snn.Leaky):
                module.init_hidden, module.output = True, False
                module.reset_mem() if hasattr(module, "reset_mem") else None
        sample = torch.tensor(given[:1, 0].astype(np.float32))
        save(name, export_to_nir(network, sample, ignore_dims=[0]), given, trains)

    make("snntorch_mlp", "mlp", (5.0, 4.0), beta=1.0)
    make("snntorch_mlp_leak", "mlp", (5.0, 4.0))
    make("snntorch_mlp_zero", "mlp", (5.0, 4.0), reset_mechanism="zero")
    make("snntorch_mlp_none", "mlp", (5.0, 4.0), reset_mechanism="none")
    # above two thresholds it subtracts late all the same
    make("snntorch_mlp_at_once", "mlp", (6.0, 2.0), reset_delay=False, paired=True)
    make("snntorch_cnn", "cnn", (5.0, 4.0), beta=1.0)
    make("snntorch_cnn_leak", "cnn", (5.0, 4.0))


def sinabs() -> None:
    import sinabs.activation as sa
    import sinabs.layers as sl
    import torch
    from sinabs.nir import to_nir

    def make(name: str, kind: str, neurons, least: int = -3, most: int = 4) -> None:
        network = net(kind, neurons, least, most, pool=sl.SumPool2d(2) if kind == "cnn" else None)
        given = spikes(kind)
        trains = run(network, given, lambda number, module, x: module(x[:, None])[:, 0])
        for module in network:
            if hasattr(module, "reset_states"):
                module.reset_states()
        exported = net(
            kind,
            lambda i, shape: neurons(i, shape, squeeze=True),
            least,
            most,
            pool=sl.SumPool2d(2) if kind == "cnn" else None,
        )
        save(name, to_nir(exported, torch.tensor(given[0].astype(np.float32))), given, trains)

    def iaf(thresholds, spike_fn):
        def neurons(i, shape, squeeze=False):
            options = {"spike_threshold": torch.tensor(thresholds[i]), "spike_fn": spike_fn, "min_v_mem": None}
            return sl.IAFSqueeze(batch_size=1, **options) if squeeze else sl.IAF(**options)

        return neurons

    def lif(thresholds, spike_fn, norm_input):
        def neurons(i, shape, squeeze=False):
            options = {
                "tau_mem": float(TAU),
                "spike_threshold": torch.tensor(thresholds[i]),
                "spike_fn": spike_fn,
                "min_v_mem": None,
                "norm_input": norm_input,
            }
            return sl.LIFSqueeze(batch_size=1, **options) if squeeze else sl.LIF(**options)

        return neurons

    single, many = sa.SingleSpike, sa.MultiSpike
    make("sinabs_mlp", "mlp", iaf((5.0, 4.0), single))
    make("sinabs_cnn", "cnn", iaf((5.0, 6.0), single))
    make("sinabs_mlp_leak", "mlp", lif((5.0, 4.0), single, False))
    make("sinabs_mlp_leak_normed", "mlp", lif((3.0, 2.0), single, True))
    make("sinabs_cnn_leak", "cnn", lif((5.0, 6.0), single, False))
    make("sinabs_mlp_many", "mlp", iaf((5.0, 4.0), many))
    make("sinabs_mlp_bounded", "mlp", iaf((10.0, 12.0), many), 0, 1)


def norse() -> None:
    import norse.torch as nt
    import torch
    from norse.torch.functional.iaf import IAFParameters
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.utils.export_nir import to_nir

    def make(name: str, kind: str, neurons) -> None:
        network, given, state = net(kind, neurons), spikes(kind), {}

        def step(number, module, x):
            out, state[number] = module(x, state.get(number))
            return out

        trains = run(network, given, step)
        sample = torch.tensor(given[:1, 0].astype(np.float32))
        save(name, to_nir(nt.SequentialState(*network), sample), given, trains)

    def iaf(thresholds):
        return lambda i, shape: nt.IAFCell(p=IAFParameters(v_th=torch.full(shape, thresholds[i])))

    def lif(thresholds):
        # dt / tau = 1/2
        return lambda i, shape: nt.LIFBoxCell(
            p=LIFBoxParameters(
                tau_mem_inv=torch.full(shape, 500.0),
                v_leak=torch.zeros(shape),
                v_th=torch.full(shape, thresholds[i]),
                v_reset=torch.zeros(shape),
            ),
            dt=1e-3,
        )

    make("norse_mlp", "mlp", iaf((5.0, 4.0)))
    make("norse_mlp_leak", "mlp", lif((2.5, 2.0)))
    # its exporter knows no pool and no Flatten
    make("norse_cnn", "conv", iaf((5.0, 4.0)))
    make("norse_cnn_leak", "conv", lif((2.5, 2.0)))


def spikingjelly() -> None:
    import torch
    from spikingjelly.activation_based import functional, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    def make(name: str, kind: str, neurons) -> None:
        network, given = net(kind, neurons), spikes(kind)
        trains = run(network, given, lambda number, module, x: module(x))
        functional.reset_net(network)
        sample = torch.tensor(given[:1, 0].astype(np.float32))
        save(name, export_to_nir(network, sample), given, trains)

    def node(thresholds, v_reset=0.0):
        return lambda i, shape: neuron.IFNode(v_threshold=thresholds[i], v_reset=v_reset)

    def leaky(thresholds, decay_input, v_reset=0.0):
        return lambda i, shape: neuron.LIFNode(tau=2.0, decay_input=decay_input, v_threshold=thresholds[i], v_reset=v_reset)

    make("spikingjelly_mlp", "mlp", node((5.0, 4.0)))
    make("spikingjelly_mlp_reset", "mlp", node((5.0, 4.0), -2.0))
    make("spikingjelly_mlp_leak", "mlp", leaky((2.5, 2.0), True))
    make("spikingjelly_mlp_leak_full", "mlp", leaky((5.0, 4.0), False, -1.0))
    make("spikingjelly_cnn", "cnn", node((5.0, 4.0)))
    make("spikingjelly_cnn_leak", "cnn", leaky((2.5, 2.0), True))


def rockpool() -> None:
    import torch
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LIFNeuronTorch, LinearTorch
    from rockpool.nn.modules.torch.nir import to_nir
    from rockpool.parameters import Constant

    def make(name: str, thresholds, tau: float, least: int, most: int, *, paired: bool = False) -> None:
        weights, offsets = arrays("mlp", least, most)
        if paired:  # so that two thresholds are never reached in one step
            weights[1] = np.tile(np.eye(8, dtype=np.float32), 2)
        layers = []
        for number, (weight, threshold) in enumerate(zip(weights, thresholds, strict=True)):
            linear = LinearTorch((weight.shape[1], weight.shape[0]), has_bias=number == 0)
            linear.weight.data = torch.tensor(weight.T.copy())
            if number == 0:
                linear.bias.data = torch.tensor(offsets)
            layers += [linear, LIFNeuronTorch(len(weight), tau_mem=Constant(tau), threshold=Constant(threshold), dt=1e-3)]
        network, given = Sequential(*layers), spikes("mlp")
        with torch.no_grad():
            x, trains = torch.tensor(given.astype(np.float32)), []
            for layer in layers:
                x, _, _ = layer(x)
                if isinstance(layer, LIFNeuronTorch):
                    trains.append(x.numpy().copy())
        save(name, to_nir(network, torch.zeros(1, STEPS, 12)), given, trains)

    make("rockpool_mlp_leak", (6.0, 2.0), float(1e-3 * TAU), 0, 1, paired=True)
    make("rockpool_mlp_many", (5.0, 4.0), float(1e-3 * TAU), -3, 4)


def spyx() -> None:
    import jax.numpy as jnp
    import spyx
    import spyx.nir
    from flax import nnx

    def make(name: str, kind: str, neurons) -> None:
        weights, offsets = arrays(kind, -3, 4)
        rngs = nnx.Rngs(0)
        if kind == "mlp":
            layers = [
                nnx.Linear(12, 16, rngs=rngs),
                neurons(0, (16,)),
                nnx.Linear(16, 8, use_bias=False, rngs=rngs),
                neurons(1, (8,)),
            ]
            linear = [layers[0], layers[2]]
        else:
            conv = nnx.Conv(2, 4, (3, 3), padding="SAME", rngs=rngs)
            dense = nnx.Linear(64, 8, use_bias=False, rngs=rngs)
            layers = [
                conv,
                neurons(0, (8, 8, 4)),
                spyx.nn.SumPool((2, 2), (2, 2), "VALID", channel_axis=-1),
                spyx.nn.Flatten(),
                dense,
                neurons(1, (8,)),
            ]
            linear = [conv, dense]
        for layer, weight in zip(linear, weights, strict=True):
            layer.kernel[...] = jnp.array(weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T)
        linear[0].bias[...] = jnp.array(offsets)
        given = spikes(kind)
        state = {i: layer.initial_state(FRAMES) for i, layer in enumerate(layers) if hasattr(layer, "initial_state")}
        trains: dict[int, list] = {i: [] for i in state}
        for t in range(STEPS):
            x = jnp.array(given[:, t].astype(np.float32))
            x = x.transpose(0, 2, 3, 1) if kind == "cnn" else x
            for i, layer in enumerate(layers):
                if i in state:
                    x, state[i] = layer(x, state[i])
                    trains[i].append(np.asarray(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x))
                else:
                    x = layer(x)
        shape = (12,) if kind == "mlp" else (2, 8, 8)
        graph = spyx.nir.to_nir(spyx.nn.Sequential(*layers), {"input": np.array(shape)}, {"output": np.array([8])}, dt=1)
        save(name, graph, given, [np.stack(train, axis=1) for train in trains.values()])

    make("spyx_mlp", "mlp", lambda i, shape: spyx.nn.IF(shape, threshold=(5.0, 4.0)[i]))
    make("spyx_mlp_leak", "mlp", lambda i, shape: spyx.nn.LIF(shape, beta=BETA, threshold=(5.0, 4.0)[i], rngs=nnx.Rngs(0)))
    make("spyx_cnn", "cnn", lambda i, shape: spyx.nn.IF(shape, threshold=(5.0, 9.0)[i]))
    make("spyx_cnn_leak", "cnn", lambda i, shape: spyx.nn.LIF(shape, beta=BETA, threshold=(5.0, 9.0)[i], rngs=nnx.Rngs(0)))


def main(names: list[str]) -> None:
    """Write the files of the frameworks that are named."""
    warnings.simplefilter("ignore")
    for name in names:
        print(name, metadata.version(name), "nir", metadata.version("nir"))
        globals()[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
