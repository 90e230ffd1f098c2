"""The JSON that the page draws from, as pydantic models: every key that its scripts read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from chipsim.errors import InputError
from chipsim.report.schema import Count, Made, Mean, Name, ResultSchema, RunChip, Share

Means = Annotated[list[Mean], Field(max_length=1 << 20)]


class PageCore(ResultSchema):
    """A core of a run, with every count."""

    id: Count
    x: Annotated[int, Field(ge=0)]
    y: Annotated[int, Field(ge=0)]
    layer: Name
    spikes: Count
    sops: Count
    axon_events: Count


class PageLayer(ResultSchema):
    """A layer of a run."""

    name: Name
    neurons: Count
    cores: Count
    spikes: Count
    sops: Count


class PageWorst(ResultSchema):
    """An image that the network gets wrong, or nearly."""

    image: Count
    label: Count
    prediction: int
    margin: float


class PartEnergy(ResultSchema):
    """Energy of a layer by part."""

    name: Name
    pj_per_image: Mean
    parts: dict[Name, Mean]


class PageEnergy(ResultSchema):
    """Energy of a run."""

    pj_per_image: Mean
    parts: dict[Name, Mean]
    layers: list[PartEnergy]
    cores: Means


class RunPage(RunChip):
    """A run, as far as the page needs it."""

    model_sha256: Name
    accuracy: Share | None
    spikes_per_image: Mean
    encoder_spikes_per_image: Mean
    sops_per_image: Mean
    axon_events_per_image: Mean
    packets_per_image: Mean
    cores: list[PageCore]  # type: ignore[assignment]
    layers: list[PageLayer]
    energy: PageEnergy | None
    confusion: list[tuple[int, int, Count]] | None = None
    worst_images: list[PageWorst] | None = None


class UncertainTotal(ResultSchema):
    """How many thresholds of a layer are uncertain, in how many spans."""

    thresholds: Count
    spans: Count


class CompiledLayer(ResultSchema):
    """A layer of a compilation."""

    name: Name
    removed_as: dict[Name, Count] = Field(default_factory=dict)
    exactness: Literal["certified", "tested"] | None = None
    uncertain_thresholds: list[dict[Name, Any]] = Field(default_factory=list)
    uncertain_total: UncertainTotal | None = None  # not in results of before, which list all spans


class CompilePage(ResultSchema):
    """A compilation, as far as the page needs it."""

    schema_: Literal["qsnnc-compile/1"] = Field(alias="schema")
    model_sha256: Name | None
    provenance: Made | None = None
    layers: list[CompiledLayer]

    @model_validator(mode="after")
    def _spans(self) -> CompilePage:
        for layer in self.layers:
            for span in layer.uncertain_thresholds:
                for key in ("channel", "level", "count"):
                    if not isinstance(span.get(key), int):
                        raise ValueError(f"layers: an uncertain threshold of {layer.name} has no {key}")
        return self


def check_cores(path: str, run: RunPage, content: dict[str, Any]) -> None:
    """Refuse the run of another mapping of the same model.

    Raises
    ------
    InputError
    """
    expected = content["totals"]["cores"]
    names = {entry["name"] for entry in content["populations"]}
    energy = run.energy is None or len(run.energy.cores) == expected
    if len(run.cores) != expected or run.chip != content["chip"]["name"] or not energy:
        raise InputError(
            path,
            f"is a run of {len(run.cores):,} cores on chip {run.chip!r}; the mapping has {expected:,} on "
            f"{content['chip']['name']!r}; give a run of this mapping",
            code="page-other",
            found=len(run.cores),
            allowed=expected,
        )
    unknown = next((core.layer for core in run.cores if core.layer not in names), None)
    if unknown is not None:
        raise InputError(
            path, f"names the layer {unknown!r}, which the mapping does not have; give a run of this mapping",
            code="page-other", found=unknown,
        )  # fmt: skip


def check_map(path: str, made: Made | None, content: dict[str, Any]) -> None:
    """Refuse a result of another mapping, though of the same model; none is known to be of one that was read from a pipe.

    Raises
    ------
    InputError
    """
    digest, expected = made.map_sha256 if made else None, content["map_sha256"]
    if None not in (digest, expected) and digest != expected:
        raise InputError(
            path,
            f"belongs to the mapping {str(digest)[:12]}..., the given one is {expected[:12]}... (SHA-256 of the file); "
            "give results of this mapping",
            code="page-other",
            found=digest,
            allowed=expected,
        )


def check_same(path: str, digest: str | None, content: dict[str, Any]) -> None:
    """Refuse a result of another model.

    Raises
    ------
    InputError
    """
    if digest != content["model_sha256"]:
        raise InputError(
            path,
            f"belongs to the model {str(digest)[:12]}..., the mapping to {content['model_sha256'][:12]}...; "
            "give results of this mapping",
            code="page-other",
            found=digest,
            allowed=content["model_sha256"],
        )
