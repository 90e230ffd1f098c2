"""Code the pixels of an image that enters the chip: as a thermometer, or in bit planes with weights to match.

Thermometer: a pixel of L levels is L neurons, as any feature is. Digits: the pixel is a sum of coefficients 1, 2, 4, ...,
the last of which is what is left of L, so that they sum to L and every level is the sum of some of them. A reader's weight
w becomes w * c on the digit c. No weight is wider than the chip's, and an axon gives a neuron one weight; so a digit is sent
by as many neurons as its largest product needs, and a product fills one after the other: the fewest synapses that can hold
it. The potentials are those of the thermometer, and so are thresholds and all that follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.mapping.pixels import NO_LEVEL
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.ir.weights import bits_needed, weight_range

#: the oldest opset that has all operators that turn levels into bits
OPSET = 10


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A code of a pixel: its coefficients, and how many neurons send each."""

    weight_bits: int  # 0: a thermometer
    coefficients: tuple[int, ...]
    senders: tuple[int, ...]

    @property
    def neurons(self) -> int:
        """Number of neurons per pixel."""
        return sum(self.senders)

    def __str__(self) -> str:
        if not self.weight_bits:
            return f"a thermometer code of {self.neurons} neurons per pixel"
        return (
            f"bit planes for {self.weight_bits}-bit weights, {self.neurons} neurons per pixel ("
            + ", ".join(f"{count} for {c}" for c, count in zip(self.coefficients, self.senders, strict=True))
            + ")"
        )


def thermometer(levels: int) -> Code:
    """Return the thermometer code: one neuron per level."""
    return Code(0, (1,) * levels, (1,) * levels)


def digits(levels: int, low: int, high: int, bits: int) -> Code | None:
    """Return bit planes for weights from low to high on a chip with weights of that many bits.

    None if weights of that many bits cannot be negative and some are.

    Examples
    --------
    >>> digits(255, -1, 1, 8).senders
    (1, 1, 1, 1, 1, 1, 1, 2)
    """
    bottom, top = weight_range(bits)
    if low < 0 and not bottom:
        return None
    count = levels.bit_length()
    coefficients = [1 << place for place in range(count - 1)]
    coefficients.append(levels - sum(coefficients))
    need = [max(1, -(-high * c // top), -(-low * c // bottom) if low < 0 else 0) for c in coefficients]
    return Code(bits, tuple(coefficients), tuple(need))


def encode(graph: LayerGraph, code: Code) -> LayerGraph:
    """Return the same network with its first population in a code of bits."""
    if not code.weight_bits:
        return graph
    old = graph.encoder
    channels, rows, columns = old.shape
    assert graph.encoder_onnx is not None, "the host makes pixels of the image"
    shape = (channels * code.neurons, rows, columns)
    new = Population(old.name, "", shape, shape, 1, 1.0, 0.0)

    def coded(layer: Layer) -> Layer:
        links = [_coded(link, code) if link.source == old.name else link for link in layer.connections]
        return replace(layer, connections=tuple(links))

    return replace(
        graph,
        encoder=new,
        layers=tuple(coded(layer) for layer in graph.layers),
        encoder_onnx=_appended(graph.encoder_onnx, old, code),
    )


def codes(graph: LayerGraph, chip: ChipSpec) -> list[Code]:
    """List the codes to choose from: the thermometer, and bit planes for each weight width that needs fewer neurons."""
    import onnx

    levels = graph.encoder.levels
    links = [link for layer in graph.layers for link in layer.connections if link.source == graph.encoder.name]
    found = [thermometer(levels)]
    if levels < 3 or any(link.level_wise for link in links):  # a pool of the pixels themselves compares level by level
        return found
    assert graph.encoder_onnx is not None, "the host makes pixels of the image"
    if onnx.load_model_from_string(graph.encoder_onnx).opset_import[0].version < OPSET:
        return found
    low, high = min(int(link.weights.min()) for link in links), max(int(link.weights.max()) for link in links)
    for bits in sorted(chip.weight_bits):
        code = digits(levels, low, high, bits)
        if code is not None and code.neurons < levels:
            found.append(code)
    return found


def _coded(link: Connection, code: Code) -> Connection:
    """Rewrite a connection to read the digits: each product goes to the first neurons of its digit that can hold it."""
    out, inputs, *kernel = link.weights.shape
    low, high = weight_range(code.weight_bits)
    parts: list[Int] = []
    for coefficient, senders in zip(code.coefficients, code.senders, strict=True):
        rest = link.weights * coefficient
        for _ in range(senders):
            held = np.clip(rest, low, high)
            parts.append(held)
            rest = rest - held
        assert not rest.any(), "a digit's neurons hold every product"
    weights = np.stack(parts, axis=2).reshape(out, inputs * code.neurons, *kernel)
    assert bits_needed(weights) <= code.weight_bits
    return replace(link, weights=weights)


def _appended(content: bytes, old: Population, code: Code) -> bytes:
    """Append the code to the encoder: levels as bits, int32 [N, channels * neurons, rows, columns]; `NO_LEVEL` stays."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    proto = onnx.load_model_from_string(content)
    graph = proto.graph
    for node in graph.node:
        for number, name in enumerate(node.output):
            if name == "levels":
                node.output[number] = "qsnnc.code.pixels"
    channels, rows, columns = old.shape
    places = len(code.coefficients) - 1
    half = 1 << places
    constants: dict[str, npt.NDArray[np.generic]] = {
        "apart": np.array([-1, channels, 1, rows, columns], np.int64),
        "half": np.array(half, np.int32),
        "last": np.array(code.coefficients[-1], np.int32),
        "powers": (1 << np.arange(places, dtype=np.int32)).reshape(1, 1, -1, 1, 1),
        "two": np.array(2, np.int32),
        "senders": np.repeat(np.arange(places + 1), code.senders),
        "zero": np.array(0, np.int32),
        "most": np.array(old.levels, np.int32),
        "none": np.array(NO_LEVEL),
        "together": np.array([-1, channels * code.neurons, rows, columns], np.int64),
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"qsnnc.code.{name}") for name, value in constants.items()
    )
    chain: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("Reshape", "pixels apart", "pixel", {}),
        ("Less", "pixel half", "below", {}),  # the last coefficient is in the sum from half on
        ("Not", "below", "above", {}),
        ("Cast", "above", "upper", {"to": TensorProto.INT32}),
        ("Mul", "upper last", "taken", {}),
        ("Sub", "pixel taken", "rest", {}),
        ("Div", "rest powers", "shifted", {}),
        ("Mod", "shifted two", "lower", {}),
        ("Concat", "lower upper", "digits", {"axis": 2}),
        ("Gather", "digits senders", "sent", {"axis": 2}),
        ("Less", "pixel zero", "under", {}),
        ("Greater", "pixel most", "over", {}),
        ("Or", "under over", "wrong", {}),
        ("Where", "wrong none sent", "bits", {}),
    )
    for op, inputs, out, attributes in chain:
        names = [f"qsnnc.code.{name}" for name in inputs.split()]
        graph.node.append(helper.make_node(op, names, [f"qsnnc.code.{out}"], **attributes))
    graph.node.append(helper.make_node("Reshape", ["qsnnc.code.bits", "qsnnc.code.together"], ["levels"]))
    del graph.output[:]
    shape = ("N", channels * code.neurons, rows, columns)
    graph.output.append(helper.make_tensor_value_info("levels", TensorProto.INT32, shape))
    return bytes(proto.SerializeToString(deterministic=True))
