"""The content of a faults file: for each kind of fault a list of places, or a rate with a seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PlainValidator, Tag, model_validator

from chipsim.chip.spec import Link, Place
from chipsim.document import Document, read
from chipsim.exact import NUMBER, one_of

Number = Annotated[int, Field(ge=0, lt=1 << 31)]
Share = Annotated[float, Field(ge=0, le=1), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
Stuck = Annotated[Literal[0, 1], one_of(0, 1)]


def _core(value: Any) -> int | tuple[int, int]:
    ends = value if isinstance(value, list | tuple) else [value]
    if any(type(n) is not int or not 0 <= n < 1 << 31 for n in ends) or (ends is value and len(ends) != 2):
        raise ValueError("allowed: a core's number in the mapping, or its position [x, y]")
    return (int(ends[0]), int(ends[1])) if ends is value else int(value)


Core = Annotated[int | tuple[int, int], PlainValidator(_core)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Rate(_Strict):
    """Each place with this probability; the places of a rate are among those of a higher one with the same seed."""

    rate: Share
    seed: Seed | None = None  # None: the file's, else the run's


class StuckRate(Rate):
    """A rate, and what the places are stuck at."""

    at: Stuck


class AxonPlace(_Strict):
    """An axon of a core: its place in the list of the core's axons."""

    core: Core
    axon: Number


class StuckAxon(AxonPlace):
    """An axon whose bit does not change."""

    at: Stuck


class SynapseBit(AxonPlace):
    """A bit of a weight; the last of several is the sign."""

    neuron: Number
    bit: Number
    at: Stuck


class NeuronPlace(_Strict):
    """A neuron, as the n-th of a core or as an element of a layer."""

    core: Core | None = None
    layer: str | None = None
    neuron: Number

    @model_validator(mode="after")
    def _one(self) -> NeuronPlace:
        if (self.core is None) == (self.layer is None):
            raise ValueError("give either core (and its neuron's number there) or layer (and the neuron's number in it)")
        return self


class ThresholdBit(NeuronPlace):
    """A bit of a neuron's threshold; the last is the sign."""

    bit: Number


def _form(value: Any) -> str | None:
    if isinstance(value, dict | Rate):
        return "<rate>"
    return "<places>" if isinstance(value, list | tuple) else None


def _noise_form(value: Any) -> str | None:
    if isinstance(value, Rate):
        return "<rate>"
    return None if not isinstance(value, dict) else "<rate>" if "rate" in value else "<layers>"


_CHOICE = Discriminator(
    _form,
    custom_error_type="faults_form",
    custom_error_message="allowed: a list of places, or a rate with a seed such as {rate: 0.01, seed: 1}",
)
_NOISE_CHOICE = Discriminator(
    _noise_form,
    custom_error_type="faults_form",
    custom_error_message="allowed: a share for each layer such as {conv2: 0.1}, or {rate: 0.1, seed: 1} for all of them",
)
_RateOnly = Annotated[Rate, Tag("<rate>")]
_StuckRate = Annotated[StuckRate, Tag("<rate>")]
_Many = Field(strict=False)
NoiseEntry = Annotated[_RateOnly | Annotated[dict[str, Share], Tag("<layers>")], _NOISE_CHOICE]
PacketEntry = Annotated[_RateOnly | Annotated[tuple[AxonPlace, ...], _Many, Tag("<places>")], _CHOICE]
NeuronEntry = Annotated[_RateOnly | Annotated[tuple[NeuronPlace, ...], _Many, Tag("<places>")], _CHOICE]
SynapseEntry = Annotated[_StuckRate | Annotated[tuple[SynapseBit, ...], _Many, Tag("<places>")], _CHOICE]
AxonEntry = Annotated[_StuckRate | Annotated[tuple[StuckAxon, ...], _Many, Tag("<places>")], _CHOICE]
ThresholdEntry = Annotated[_RateOnly | Annotated[tuple[ThresholdBit, ...], _Many, Tag("<places>")], _CHOICE]
CoreEntry = Annotated[_RateOnly | Annotated[tuple[Place, ...], _Many, Tag("<places>")], _CHOICE]
LinkEntry = Annotated[_RateOnly | Annotated[tuple[Link, ...], _Many, Tag("<places>")], _CHOICE]


class Faults(_Strict):
    """All faults of a chip; docs/faults.md describes the effect of each."""

    seed: Seed | None = None  # of rates that have none; None: the run's
    noise: NoiseEntry | None = None
    dropped_packets: PacketEntry | None = None
    dead_neurons: NeuronEntry | None = None
    stuck_synapses: SynapseEntry | None = None
    stuck_axons: AxonEntry | None = None
    flipped_thresholds: ThresholdEntry | None = None
    dead_cores: CoreEntry | None = None
    dead_links: LinkEntry | None = None

    #: keys of each kind's rate, and of its places
    KEYS: ClassVar[dict[str, list[str]]] = {
        **{kind: list(Rate.model_fields) for kind in (
            "noise", "dropped_packets", "dead_neurons", "flipped_thresholds", "dead_cores", "dead_links"
        )},
        **{kind: list(StuckRate.model_fields) for kind in ("stuck_synapses", "stuck_axons")},
        "dropped_packets[]": list(AxonPlace.model_fields), "dead_neurons[]": list(NeuronPlace.model_fields),
        "stuck_synapses[]": list(SynapseBit.model_fields), "stuck_axons[]": list(StuckAxon.model_fields),
        "flipped_thresholds[]": list(ThresholdBit.model_fields),
    }  # fmt: skip


#: kinds of faults, as keys of a file
KINDS = tuple(name for name in Faults.model_fields if name != "seed")

Source = str | Path | Mapping[str, Any] | Faults | Document[Faults]


def load_faults(source: Source) -> Document[Faults]:
    """Read a faults file, or a dictionary with the same content.

    Raises
    ------
    InputError
        The file cannot be read, or breaks a rule: file, line, what was found, what is allowed.
    """
    if isinstance(source, Document):
        return source
    if isinstance(source, Faults):
        return Document(source, "faults")
    return read(source, Faults, "a list of faults", "faults-invalid")
