"""The options of a compile, as frozen values.

Each function takes them by keyword, as in ``compile_model(path, keep_dead=True)``, or as one value of the class that
stands beside it here; keywords go before the fields of the value:

=================  =====================================
`FrontendOptions`  `read_layers`, `verify`
`BackendOptions`   `compile_layers`
`CompileOptions`   `compile_model`, `check`
=================  =====================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, get_args

from chipsim.chip.avoid import Source as Broken
from chipsim.errors import UsageError
from qsnnc.frontend.integerize.host_parts import Boundaries, Readout
from qsnnc.frontend.linear.weight_bits import FEWEST_BITS, MOST_BITS, WeightBits
from qsnnc.nir.options import NirOptions
from qsnnc.place.positions import Strategy

if TYPE_CHECKING:
    import numpy.typing as npt

#: how levels travel: one bit for each thermometer neuron, one word for each feature, or whichever takes fewer cores
LevelCode = Literal["auto", "thermometer", "value"]


@dataclass(frozen=True, slots=True, eq=False)
class Placing:
    """How cores get their positions on the grid.

    Parameters
    ----------
    images : ndarray, (N, ...), optional
        Calibration images of the model's dtype, or uint8 pixels: a packet counts as often as its source fires on them.
        Without images every source counts once.
    name : str
        What errors call the images.
    effort : float
        Work of the annealer relative to its default; 0 keeps the greedy start.
    seed : int
        Seed of the annealer's moves.
    strategy : str
        ``annealed``, or one of ``greedy``, ``row-major``, ``random``, ``hilbert`` for comparison.
    """

    images: npt.NDArray[Any] | None = None
    name: str = "calibration images"
    effort: float = 1.0
    seed: int = 0
    strategy: Strategy = "annealed"


@dataclass(frozen=True, kw_only=True)
class FrontendOptions:
    """How a model is read.

    Parameters
    ----------
    pixels : str, optional
        How uint8 pixels become the model's input: ``raw``, ``unit`` or ``MEAN,STD``. The model's own metadata takes
        precedence; without either it is ``unit``.
    output : str, optional
        Name of the output to compile, where the graph has several.
    levels : dict
        Largest level of activations, by the name of their layer, node or tensor: the network that is compiled has a
        Clip there.
    encoder : str
        Where the host's part ends. ``host``: at the first quantized activation, or after the first linear layer if the
        image is quantized to more than 15 levels and that layer's activation is not. A layer's name: at that layer's
        activation. With ``chip`` the pixels themselves enter the chip, in the code that takes the fewest cores.
    readout : str
        Where the last linear layer is computed: ``chip``, ``host``, or ``auto``, on the chip if its weights are integers
        of at most 8 bits times a scale.
    weight_bits : int or dict, optional
        Quantize the weights of the chip's layers to so many bits (2 to 8): of all layers, or of some by name. Weights
        that have no more bits stay as they are.
    nir : NirOptions
        How a NIR file is read (docs/nir.md); of no effect for ONNX.
    """

    pixels: str | None = None
    output: str | None = None
    levels: Mapping[str, int] = field(default_factory=dict)
    encoder: str = "host"
    readout: Readout = "auto"
    weight_bits: int | Mapping[str, int] | None = None
    nir: NirOptions = field(default_factory=NirOptions)

    @property
    def boundaries(self) -> Boundaries:
        """Where the chip's part begins and ends, and how many bits its weights may have."""
        place = self.encoder if self.encoder not in ("host", "chip") else None
        return Boundaries(self.encoder == "chip", place, self.readout, _weight_bits(self.weight_bits))

    def __post_init__(self) -> None:
        if not self.encoder:
            raise UsageError("--encoder", "is empty; expected host, chip or a layer", code="option-value", found="")
        if self.readout not in get_args(Readout):
            allowed = ", ".join(get_args(Readout))
            raise UsageError(
                "--readout", f"unknown place {self.readout!r} for the last layer; expected {allowed}",
                code="option-value", found=self.readout, allowed=get_args(Readout),
            )  # fmt: skip
        given = _weight_bits(self.weight_bits)
        for bits in (given.every, *given.named.values()):
            if bits is not None and not FEWEST_BITS <= bits <= MOST_BITS:
                raise UsageError(
                    "--weight-bits", f"{bits} bits are not possible; allowed: {FEWEST_BITS} to {MOST_BITS}",
                    code="option-value", found=bits, allowed=[FEWEST_BITS, MOST_BITS],
                )  # fmt: skip
        try:
            parse_pixels(self.pixels or "unit")
        except ValueError as error:
            raise UsageError("--pixels", str(error), code="option-value", found=self.pixels) from None


def _weight_bits(given: int | Mapping[str, int] | None) -> WeightBits:
    if isinstance(given, Mapping):  # "" is every other layer
        return WeightBits(given.get(""), {name: bits for name, bits in given.items() if name})
    return WeightBits(given)


def parse_pixels(text: str) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """Parse a rule for uint8 pixels: its name, mean and standard deviation, as `chipsim.mapping.InputSpec` has them.

    Raises
    ------
    ValueError
        Text of another form.
    """
    if text in ("raw", "unit"):
        return text, (0.0,), (1.0,)
    try:
        mean, std = (float(part) for part in text.split(","))
        if not (std > 0 and abs(mean) < 1e6 and std < 1e6):
            raise ValueError
    except ValueError:
        raise ValueError(f"unknown pixel rule {text!r}; expected raw, unit or MEAN,STD (as in 0.1307,0.3081)") from None
    return "normal", (mean,), (std,)


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """How a layer graph is put on a chip.

    Parameters
    ----------
    keep_dead : bool
        Keep neurons that never fire, always fire or are read by nothing, and axons without a weight.
    avoid : path or dict, optional
        Dead cores and links of one particular chip, in addition to those of its specification: docs/faults.md.
    placing : Placing
        How cores get their positions.
    code : str
        How levels travel on a chip that can send words of several bits (docs/paicore25.md): ``thermometer``, ``value``
        or ``auto``, whichever takes fewer cores.
    """

    keep_dead: bool = False
    avoid: Broken | None = None
    placing: Placing = field(default_factory=Placing)
    code: LevelCode = "auto"


@dataclass(frozen=True, kw_only=True)
class CompileOptions(FrontendOptions, BackendOptions):
    """All options from an ONNX model to a mapping: those of `FrontendOptions` and of `BackendOptions`."""


class FrontendKeywords(TypedDict, total=False):
    """The fields of `FrontendOptions` as keywords, for type checkers."""

    pixels: str | None
    output: str | None
    levels: Mapping[str, int]
    encoder: str
    readout: Readout
    weight_bits: int | Mapping[str, int] | None
    nir: NirOptions


class BackendKeywords(TypedDict, total=False):
    """The fields of `BackendOptions` as keywords, for type checkers."""

    keep_dead: bool
    avoid: Broken | None
    placing: Placing
    code: LevelCode


class CompileKeywords(FrontendKeywords, BackendKeywords, total=False):
    """The fields of `CompileOptions` as keywords, for type checkers."""


Options = TypeVar("Options", FrontendOptions, BackendOptions, CompileOptions)


def merged(options: Options, keywords: Mapping[str, Any]) -> Options:
    """Return the options with the fields that were given as keywords in place of their own.

    Raises
    ------
    TypeError
        A keyword that is no option.
    """
    return replace(options, **keywords)
