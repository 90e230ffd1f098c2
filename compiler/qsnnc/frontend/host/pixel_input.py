"""Use the image itself as the chip's input: pixels as a population of levels, with no operator on the host (--encoder chip).

A pixel has 256 levels (or as many as the network's own input quantizer). The host only translates pixels to spikes; the
first linear operator is a layer on the chip. A value that is not a pixel level (such as a float between two of them) becomes
`NO_LEVEL`, which the host refuses at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.mapping import InputSpec
from chipsim.mapping.pixels import NO_LEVEL
from chipsim.mapping.pixels import pixels as apply_rule
from qsnnc.errors import ModelError
from qsnnc.frontend.linear.tensors import Part, as_map
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.reference import session
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Int, Population
from qsnnc.ir.names import free_name

if TYPE_CHECKING:
    import onnx

#: smallest value and highest level, by the input's dtype; floats are uint8 pixels after the pixel rule
GRIDS = {"uint8": (0, 255), "int8": (-128, 255), "float32": (0, 255), "float64": (0, 255)}
#: largest difference between steps, relative to the whole range
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The input's pixel levels and their values."""

    model: Model
    rule: InputSpec

    def __post_init__(self) -> None:
        if self.rule.dtype not in GRIDS:
            raise ModelError(
                self.rule.name,
                f"is an input of type {self.rule.dtype}; with the encoder on the chip, allowed are {', '.join(GRIDS)}. Use "
                f"--encoder host.",
                code="pixels-no-grid",
                node=self.rule.name,
                found=self.rule.dtype,
                allowed=list(GRIDS),
            )

    @property
    def whole(self) -> bool:
        """Whether every value of the input's dtype is a pixel level."""
        return not self.rule.dtype.startswith("float")

    @property
    def levels(self) -> int:
        """The highest level; the smallest value has level 0."""
        return GRIDS[self.rule.dtype][1]

    def values(self) -> npt.NDArray[np.float32]:
        """The model's input value for each level, (levels + 1, channels)."""
        low, count = GRIDS[self.rule.dtype]
        channels = self.rule.shape[0] if self.rule.shape else 1
        each = np.repeat(np.arange(low, low + count + 1)[:, None], channels, axis=1)
        if self.whole:
            return each.astype(np.float32)
        return apply_rule(each.astype(np.uint8), self.rule)

    def population(self, name: str, shape: tuple[int, ...]) -> Population:
        """Return the population of pixels, in an order that has the given shape; it has no tensor in the model."""
        size = as_map(shape, self.model.nodes[0])
        return Population(name, "", shape, size, self.levels, 1.0, float(GRIDS[self.rule.dtype][0]))

    def part(self, population: Population, region: Region) -> Part:
        """Return the output of a region that starts at the input and only moves and scales the pixels.

        Raises
        ------
        ModelError
            The region does anything else, or differs between channels.
        """
        found = self._evaluate(region) if region.nodes else self.values().astype(np.float64)
        scale, zero = self._line(region, found) if region.nodes else self._rule_of()
        return Part(population, scale, zero, found[:, 0])

    def _evaluate(self, region: Region) -> npt.NDArray[np.float64]:
        """Return the region's value at each level, (levels + 1, channels), by the reference on the input's dtype."""
        from onnx import helper

        dtype, values = np.dtype(self.rule.dtype), self.values()
        rest = (1,) * (len(self.rule.shape) - 1)
        given = (int(helper.np_dtype_to_tensor_dtype(dtype)), ("P", *values.shape[1:], *rest))
        run = session(self.model.subgraph({region.input: given}, [region.output], region.nodes)).run
        (found,) = run([region.output], {region.input: values.astype(dtype).reshape(*values.shape, *rest)})
        return np.asarray(found, np.float64).reshape(len(values), -1)

    def _rule_of(self) -> tuple[float, float]:
        """Return scale and zero point of the pixel rule: value = scale * (level + zero point)."""
        low = float(GRIDS[self.rule.dtype][0])
        if self.whole or self.rule.pixels == "raw":
            return 1.0, low
        if self.rule.pixels == "unit":
            return 1 / 255, 0.0
        if len(self.rule.mean) > 1 or len(self.rule.std) > 1:
            raise ModelError(
                self.rule.name,
                "has a mean or deviation per channel; with the encoder on the chip, all channels must share one of each: "
                "use --encoder host",
                code="pixels-no-grid",
                node=self.rule.name,
            )
        mean, std = float(np.float32(self.rule.mean[0])), float(np.float32(self.rule.std[0]))
        return 1 / (255 * std), -255 * mean

    def _line(self, region: Region, found: npt.NDArray[np.float64]) -> tuple[float, float]:
        scale = float(found[-1, 0] - found[0, 0]) / self.levels
        line = found[0, 0] + scale * np.arange(self.levels + 1)[:, None]
        if not (scale > 0 and np.abs(found - line).max() <= TOLERANCE * scale * self.levels):
            raise ModelError(
                region.output,
                "is computed from the pixels by more than one shift and one positive scale for all channels, and is not "
                "quantized; with the encoder on the chip, pixels may only be shifted, scaled and quantized: "
                "use --encoder host",
                code="pixels-no-grid",
                node=region.output,
            )
        return scale, float(found[0, 0]) / scale


def encoder(rule: InputSpec, shape: tuple[int, ...], elements: Int | None = None) -> bytes:
    """Build encoder.onnx: values [N, ...] to ``levels`` int32 [N, *shape], `NO_LEVEL` for a value between levels.

    ``elements`` are the pixels in the order in which they are sent; by default that of the image.
    """
    from onnx import TensorProto, helper, numpy_helper

    low, count = GRIDS[rule.dtype]
    made: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    taken = {rule.name}

    def node(op: str, *inputs: str | np.generic | Int, **attributes: Any) -> str:
        names = []
        for value in inputs:
            if isinstance(value, str):
                names.append(value)
            else:
                names.append(free_name(f"constant_{len(constants)}", taken))
                constants.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        made.append(helper.make_node(op, names, [free_name(f"value_{len(made)}", taken)], **attributes))
        return str(made[-1].output[0])

    if rule.dtype.startswith("float"):
        single = node("Cast", rule.name, to=TensorProto.FLOAT)
        mean, std, unit = np.float32(rule.mean[0]), np.float32(rule.std[0]), np.float32(255)
        back = node("Cast", single, to=TensorProto.DOUBLE)
        if rule.pixels == "normal":
            back = node("Add", node("Mul", back, np.float64(std)), np.float64(mean))
        if rule.pixels != "raw":
            back = node("Mul", back, np.float64(255))
        level = node("Clip", node("Round", back), np.float64(0), np.float64(count))
        again = node("Cast", level, to=TensorProto.FLOAT)  # check with the pixel rule of FORMAT.md
        if rule.pixels != "raw":
            again = node("Div", again, unit)
        if rule.pixels == "normal":
            again = node("Div", node("Sub", again, mean), std)
        whole = node("Cast", level, to=TensorProto.INT32)
        node("Where", node("Equal", again, single), whole, NO_LEVEL)
    else:
        node("Sub", node("Cast", rule.name, to=TensorProto.INT32), np.int32(low))
    if elements is not None:
        row = node("Reshape", str(made[-1].output[0]), np.array([0, -1], np.int64))
        node("Reshape", node("Gather", row, elements, axis=1), np.array([0, *shape], np.int64))
    made[-1].output[0] = "levels"
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(rule.dtype))
    graph = helper.make_graph(
        made,
        "encoder",
        [helper.make_tensor_value_info(rule.name, kind, ("N", *rule.shape))],
        [helper.make_tensor_value_info("levels", TensorProto.INT32, ("N", *shape))],
        constants,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(proto.SerializeToString(deterministic=True))
