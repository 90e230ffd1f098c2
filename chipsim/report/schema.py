"""The JSON of results, as pydantic models: writers check against them what they write, and readers what they draw.

A model states the keys that a figure needs. Results hold more keys, which are not looked at here.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chipsim import paths
from chipsim.chip.routes import SIDES
from chipsim.errors import InputError
from chipsim.files import MOST_JSON, parse_json
from chipsim.provenance import conditions, line
from chipsim.timing.tick import INCREMENTS
from chipsim.wording import refusal

Name = Annotated[str, Field(max_length=4096)]
Share = Annotated[float, Field(ge=0, le=1)]
Mean = Annotated[float, Field(ge=0, le=1e18)]  # of a count
Count = Annotated[int, Field(ge=0, le=1 << 62)]
Images = Annotated[int, Field(ge=1, le=1 << 40)]
Side = Annotated[int, Field(ge=1, le=1024)]
Place = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class ResultSchema(BaseModel):
    """Strict types, and further keys are let be."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False, defer_build=True)


class MadeOf(ResultSchema):
    """The images of a result."""

    model_config = ConfigDict(extra="allow")

    name: Name | None = None
    split: Name | None = None
    images: Count | None = None
    sha256: Name | None = None


class Made(ResultSchema):
    """What of the provenance of a result tells it from others in a figure."""

    model_config = ConfigDict(extra="allow")  # all of it tells two results apart

    time: Name | None = None
    version: Name | None = None
    map_sha256: Name | None = None
    model_sha256: Name | None = None
    engine: Name | None = None
    threads: Count | None = None
    noise: Annotated[int | float, Field(ge=0, le=1)] = 0.0
    seed: Count = 0
    faults: Any = None
    limit: Images | None = None
    dataset: MadeOf | None = None

    def as_written(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return self.model_dump(exclude_unset=True)


class RunMeans(ResultSchema):
    """Means per image of a run (``chipsim run --json``)."""

    schema_: Literal["chipsim-run/1"] = Field(alias="schema")
    accuracy: Share | None
    paper_spikes_per_image: Mean
    sops_per_image: Mean
    paper_sops_per_image: Mean | None
    faults: dict[str, Any] | None = None
    provenance: Made | None = None


class CoreCounts(ResultSchema):
    """A core of a run."""

    id: Count
    x: Annotated[int, Field(ge=0)]
    y: Annotated[int, Field(ge=0)]
    layer: Name
    sops: Count


class Floorplan(ResultSchema):
    """The grid of the chip that ran."""

    grid: tuple[Side, Side]
    ports: list[Place] = []
    dead_cores: list[Place] = []
    dead_links: list[tuple[Place, Place]] = []


class Timing(ResultSchema):
    """Cycles of a run: links by x, y, side, flits of the cores' packets and of the host's."""

    mode: Name
    images: Images
    clock_mhz: Annotated[float, Field(gt=0, le=1e9)]
    links: list[tuple[int, int, Literal[SIDES], Mean, Mean]]  # type: ignore[valid-type]
    ticks: Annotated[list[dict[str, Any]], Field(min_length=1)]

    @model_validator(mode="after")
    def _increments(self) -> Timing:
        for number, tick in enumerate(self.ticks):
            if not isinstance(tick.get("layer"), str):
                raise ValueError(f"timing.ticks[{number}].layer is no text")
            for part in INCREMENTS:
                value = tick.get(part)
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e18:
                    raise ValueError(f"timing.ticks[{number}].{part} is {value!r}; allowed: 0 to 1e18")
        return self


class RunChip(ResultSchema):
    """What a run says about the cores and links of its chip."""

    schema_: Literal["chipsim-run/1"] = Field(alias="schema")
    chip: Name
    images: Images
    floorplan: Floorplan | None = None
    timing: Timing | None = None
    faults: dict[str, Any] | None = None
    provenance: Made | None = None
    cores: list[CoreCounts]

    @model_validator(mode="after")
    def _on_the_grid(self) -> RunChip:
        if self.floorplan is None:
            return self
        columns, rows = self.floorplan.grid
        links = self.timing.links if self.timing else ()
        places = {
            "cores": [(core.x, core.y) for core in self.cores],
            "floorplan.ports": self.floorplan.ports,
            "floorplan.dead_cores": self.floorplan.dead_cores,
            "floorplan.dead_links": [end for link in self.floorplan.dead_links for end in link],
            "timing.links": [(x, y) for x, y, *_ in links],
        }
        for key, found in places.items():
            for x, y in found:
                if not (0 <= x < columns and 0 <= y < rows):
                    raise ValueError(f"{key}: ({x}, {y}) is not on the grid of {columns} x {rows}")
        return self


class NoiseRow(ResultSchema):
    """Accuracy with a share of the encoder's spikes lost."""

    mean: Share


class NetworkRow(ResultSchema):
    """A network of a results table."""

    model: Name
    k: Annotated[int, Field(ge=0, le=64)]
    B: Annotated[int, Field(ge=0, le=64)]
    neurons: Annotated[int, Field(ge=1, le=1 << 62)]
    paper_spikes: Mean
    sops: Mean
    paper_sops: Mean
    snn_accuracy: Share
    ann_accuracy: Share
    noise: Annotated[dict[str, NoiseRow], Field(max_length=8)]

    @model_validator(mode="after")
    def _shares(self) -> NetworkRow:
        for share in self.noise:
            try:
                good = 0 <= float(share) <= 1
            except ValueError:
                good = False
            if not good:
                raise ValueError(f"noise: the key {share!r} is not a fraction; allowed: 0 to 1")
        return self


class ResultsTable(ResultSchema):
    """The results of several networks (``models/results.py``)."""

    schema_: Literal["qsnnc-results/1"] = Field(alias="schema")
    networks: Annotated[list[NetworkRow], Field(min_length=1)]


class RatePoint(ResultSchema):
    """The runs of one rate of a fault."""

    rate: Share
    accuracies: Annotated[list[Share], Field(min_length=1)]


class FaultCurve(ResultSchema):
    """A fault at several rates."""

    fault: Name
    points: Annotated[list[RatePoint], Field(min_length=1)]


class SweepFile(ResultSchema):
    """The result of ``chipsim sweep --json``."""

    schema_: Literal["chipsim-sweep/1"] = Field(alias="schema")
    model_sha256: Name
    chip: Name
    dataset: Name
    images: Images
    healthy: Share
    provenance: Made | None = None
    curves: list[FaultCurve]


def conditions_of(run: RunMeans | RunChip) -> str:
    """Return what tells a run from one of the same network on a healthy chip."""
    return conditions(run.provenance.model_dump() if run.provenance else None, run.faults)


def made_line(run: RunMeans | RunChip) -> str:
    """Return what made a run, in a line; '' where the file does not say."""
    return line(run.provenance.as_written()) if run.provenance else ""


Schema = TypeVar("Schema", bound=ResultSchema)


def check_written(value: dict[str, Any], *models: type[BaseModel]) -> None:
    """Assert that a result that is about to be written can be read again."""
    text = json.dumps(value)
    for model in models:
        model.model_validate_json(text)


def read(path: str, made_by: str, *names: str) -> tuple[str, bytes]:
    """Read the JSON of a result: its schema, and the file.

    Parameters
    ----------
    made_by : str
        What writes such a file, for the error.
    *names : str
        The schemas that are expected.

    Raises
    ------
    InputError
        The file cannot be read, or has another schema.
    """
    content = paths.read(path, MOST_JSON, "file-unreadable")
    value = parse_json(path, content)
    found = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(found, str) or found not in names:
        shown = repr(found) if len(repr(found)) <= 60 else f"{repr(found)[:60]}..."
        text = f"has the schema {shown}; expected: {made_by}"
        raise InputError(path, text, code="result-schema", found=shown, allowed=list(names))
    return found, content


def parse(path: str, content: bytes, model: type[Schema]) -> Schema:
    """Validate a result.

    Raises
    ------
    InputError
        A key is missing or holds something else.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise refusal(error, path, {}, "result-schema", lambda at: (), "write it again with --json") from None


def at_most(path: str, what: str, count: int, most: int) -> None:
    """Refuse more than a figure can show.

    Raises
    ------
    InputError
    """
    if count > most:
        text = f"has {count:,} {what}; allowed: {most:,} in one figure"
        raise InputError(path, text, code="plot-large", limit=what, found=count, allowed=most)
