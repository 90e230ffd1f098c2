"""What a frame is: its steps, what enters in each of them, and what is read out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from chipsim.mapping import InputSpec
from chipsim.mapping.program import InputCode, ReadoutOf
from qsnnc.errors import ModelError
from qsnnc.ir.layers import Population
from qsnnc.nir.flattening import Flat
from qsnnc.nir.host import Encoder
from qsnnc.nir.network import PREFIX, Node
from qsnnc.nir.neurons import NEURONS, SPIKING, Neuron
from qsnnc.nir.options import MOST_STEPS, NirOptions
from qsnnc.nir.tensors import space_of


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The frame of a network.

    ``population`` is the source of the spikes that enter the chip: the input, or with ``direct`` the first neurons, which
    the host computes together with the nodes ``on_host``.
    """

    steps: int
    input: InputSpec
    population: Population
    readout_of: ReadoutOf
    own_readout: bool  # whether the output reads a population of neurons, and not sums
    accumulated: bool = False  # whether sums that the output reads are added up over the steps
    encoder_onnx: bytes | None = None
    on_host: frozenset[str] = field(default=frozenset())


def frame_of(flat: Flat, neurons: dict[str, Neuron], options: NirOptions) -> Frame:
    """Settle the frame by the options, else by the file's metadata.

    Raises
    ------
    ModelError
        A setting is missing, or the network cannot be used so.
    """
    steps, kind = _steps(flat, options), _input_kind(flat, options)
    own = own_readout(flat)
    readout = (
        options.readout or flat.network.metadata.get(PREFIX + "readout") or ("count" if own and own.type in SPIKING else "")
    )
    if readout not in ("count", "last", "largest"):
        raise _missing(flat, "--score count|last|largest (the output does not spike)", "readout")
    if own and own.type in SPIKING and readout != "count" and neurons[own.name].reset != "none":
        raise ModelError(
            own.name, f"--score {readout} reads a potential, and a spike of the last neurons resets it; use --score count, "
            "state that their spikes reset nothing (qsnnc nir-annotate --node, --reset none), or export an LI or I as the "
            "last node", code="nir-readout", node=own.name, found=readout, allowed="count",
        )  # fmt: skip
    summed = readout == "count" and not (own and own.type in SPIKING)
    if summed and own:
        raise ModelError(
            own.name, f"--score count counts spikes, and {own.type} never spikes; use --score last or largest",
            code="nir-readout", node=own.name, found=readout, allowed=["last", "largest"],
        )  # fmt: skip
    shape = input_shape(flat)
    of: ReadoutOf = "last" if summed else readout  # type: ignore[assignment]
    if kind == "direct":
        return _first_neurons(flat, neurons, steps, shape, of, own_readout=own is not None, accumulated=summed)
    code: InputCode = "spikes" if kind == "spikes" else _rate(flat, options)
    name = flat.input.name
    spec = InputSpec(name, "uint8" if code == "spikes" else "float32", shape, code=code, seed=_seed(flat, options))
    population = Population(name, name, shape, space_of(shape, name), 1, 1.0, 0.0)
    return Frame(steps, spec, population, of, own_readout=own is not None, accumulated=summed)


def _first_neurons(
    flat: Flat, neurons: dict[str, Neuron], steps: int, shape: tuple[int, ...], of: ReadoutOf, *, own_readout: bool,
    accumulated: bool,
) -> Frame:  # fmt: skip
    """Return a frame in which the host computes the first neurons: the image enters them in every step.

    Raises
    ------
    ModelError
        The image reaches something else than one node of neurons that spike at most once a step.
    """
    on_host = _before_neurons(flat)
    first = {name for node in on_host for name in flat.readers[node] if name not in on_host}
    nodes = {node.name: node for node in flat.nodes}
    name = min(first)
    if len(first) > 1 or nodes[name].type not in ("IF", "LIF") or not set(flat.sources[name]) <= on_host:
        raise ModelError(
            flat.input.name,
            f"with --input direct the image may reach one node of spiking neurons, and reaches {', '.join(sorted(first))}; "
            "use --input rate or spikes",
            code="nir-direct", node=flat.input.name, found=sorted(first), allowed=1,
        )  # fmt: skip
    neuron = neurons[name]
    if neuron.many:
        raise ModelError(
            name, "is computed by the host (--input direct) and can fire several spikes in one step; train with at most one",
            code="nir-multi-spike", node=name,
        )  # fmt: skip
    order = [node for node in flat.nodes if node.name in on_host]
    graph = Encoder(flat, shape, steps)
    out = graph.build(order, name, neuron)
    population = Population(name, name, out, space_of(out, name), 1, 1.0, 0.0)
    spec = InputSpec(flat.input.name, "float32", shape, code="computed")
    return Frame(
        steps, spec, population, of, own_readout=own_readout, accumulated=accumulated, encoder_onnx=graph.content,
        on_host=frozenset(on_host),
    )  # fmt: skip


def _before_neurons(flat: Flat) -> set[str]:
    """Return the input and the linear nodes that nothing else reaches."""
    found: set[str] = set()
    for node in flat.nodes:
        if node.type == "Input" or (
            node.type not in NEURONS and node.type != "Output" and set(flat.sources[node.name]) <= found
        ):
            found.add(node.name)
    return found


def input_shape(flat: Flat) -> tuple[int, ...]:
    """Return the shape of the input for one frame and step, without the batch and time that some exporters write.

    Raises
    ------
    ModelError
        The file gives none.
    """
    node = flat.input
    found = node.finite("shape").reshape(-1)
    if not len(found) or (found != np.round(found)).any() or found.min() < 1 or found.max() > 1 << 31:
        raise ModelError(
            node.name, f"its shape is {found.tolist()[:8]}; allowed: 1 to 3 whole numbers above 0", code="nir-shape",
            node=node.name, found=found.tolist()[:8],
        )  # fmt: skip
    shape = tuple(int(size) for size in found)
    axes = _axes_read(flat)
    if axes is not None and axes < len(shape) <= axes + 2:
        shape = shape[-axes:]
    space_of(shape, node.name)
    return shape


def _axes_read(flat: Flat) -> int | None:
    """Return how many axes the first node with weights reads; None if it takes any."""
    for node in flat.nodes:
        if node.type in ("Affine", "Linear", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten"):
            return {"Affine": 1, "Linear": 1, "Conv1d": 2, "Conv2d": 3, "SumPool2d": 3, "AvgPool2d": 3}.get(node.type)
    return None


def own_readout(flat: Flat) -> Node | None:
    """Return the neurons that the output reads, if it reads nothing else."""
    sources = flat.sources[flat.output.name]
    nodes = {node.name: node for node in flat.nodes}
    while len(sources) == 1:
        node = nodes[sources[0]]
        if node.type in NEURONS:
            return node
        if node.type not in ("Identity", "Flatten") or (node.type == "Flatten" and len(flat.readers[node.name]) != 1):
            return None
        sources = flat.sources[node.name]
    return None


def _steps(flat: Flat, options: NirOptions) -> int:
    if options.steps is not None:
        return options.steps
    text = flat.network.metadata.get(PREFIX + "steps")
    if text is None:
        raise _missing(flat, "--steps T", "steps")
    if not text.isdecimal() or not 1 <= int(text) <= MOST_STEPS:
        raise _invalid(flat, "steps", text, f"1 to {MOST_STEPS}")
    return int(text)


def _input_kind(flat: Flat, options: NirOptions) -> str:
    found = options.input or flat.network.metadata.get(PREFIX + "input")
    if found is None:
        raise _missing(flat, "--input spikes|rate|direct", "input")
    if found not in ("spikes", "rate", "direct"):
        raise _invalid(flat, "input", found, "spikes, rate, direct")
    return found


def _rate(flat: Flat, options: NirOptions) -> InputCode:
    found = options.rate or flat.network.metadata.get(PREFIX + "rate") or "bernoulli"
    if found not in ("bernoulli", "regular"):
        raise _invalid(flat, "rate", found, "bernoulli, regular")
    return found  # type: ignore[return-value]


def _seed(flat: Flat, options: NirOptions) -> int:
    text = flat.network.metadata.get(PREFIX + "seed", "0") if options.seed is None else str(options.seed)
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise _invalid(flat, "seed", text, "0 to 2**63 - 1")
    return int(text)


def _missing(flat: Flat, option: str, key: str) -> ModelError:
    return ModelError(
        flat.network.path,
        f"does not hold all that a run needs: {option} is required (or metadata {PREFIX}{key}: qsnnc nir-annotate)",
        code="nir-semantics", found=[key],
    )  # fmt: skip


def _invalid(flat: Flat, key: str, found: str, allowed: str) -> ModelError:
    return ModelError(
        flat.network.path,
        f"metadata {PREFIX}{key} is {found[:40]!r}; allowed: {allowed}. Correct it with qsnnc nir-annotate",
        code="nir-metadata", found=found[:40], allowed=allowed,
    )  # fmt: skip
