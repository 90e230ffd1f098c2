"""Format a run as tables and files."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import asdict, fields
from typing import IO, TYPE_CHECKING, Any

from chipsim.engine.batches import processors
from chipsim.engine.result import CoreCount, Exceeded, RunResult
from chipsim.engine.shared_counts import Rows
from chipsim.files import write_npz
from chipsim.provenance import OF_THE_COMPUTING, digest, line
from chipsim.wording import shortened

if TYPE_CHECKING:
    from rich.table import Table

    from chipsim.timing.result import Profile

BUSIEST = 5


def per_core_csv(result: RunResult) -> bytes:
    """Return a CSV with one row per core and the columns of the JSON's ``cores``.

    A last column ``made_by`` is a digest of all that the counts depend on: mapping, images, options, version.
    """
    text = io.StringIO()
    made = "" if result.provenance is None else digest(result.provenance, OF_THE_COMPUTING)
    names = [*(field.name for field in fields(CoreCount)), "made_by"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(core), "made_by": made} for core in result.cores)
    return text.getvalue().encode()


def write_outputs(result: RunResult, file: IO[bytes]) -> None:
    """Write ``predictions``, ``scores``, ``potentials`` (``counts`` where spikes are) and ``labels`` as an npz file.

    Where they were kept, ``spikes_LAYER`` holds what each population sent, uint8 (images, steps, *shape). Of a run without
    some of the images, ``missing_images`` (M, 2) holds the first and the last of each range that has no rows.
    """
    read = "counts" if result.readout_of == "count" else "potentials"
    arrays: dict[str, Any] = {"predictions": result.predictions, "scores": result.scores, read: result.potentials}
    arrays |= {f"spikes_{name}": train for name, train in (result.trains or {}).items()}
    if result.labels is not None:
        arrays["labels"] = result.labels
    if result.missing_images:  # rows are no longer numbered as the data set is
        import numpy as np

        arrays["missing_images"] = np.array(result.missing_images)
    write_npz(file, arrays, zipfile.ZIP_DEFLATED, min(result.threads, processors()))


def write_per_image(result: RunResult, file: IO[bytes], timing: Profile | None = None) -> None:
    """Write ``spikes``, ``sops`` and ``axon_events``, int32 (images, cores), and ``encoder_spikes``, int64, as an npz file.

    Columns are the cores in the order of the run's ``cores``. Beside them stands what ``timing`` found of each image of its
    sample, `Profile.by_image`. Nothing is compressed: it would take longer than the run.
    """
    each = result.counted_by_image
    assert each is not None
    arrays: dict[str, Any] = {
        "spikes": Rows(each, "spikes"),
        "sops": Rows(each, "sops"),
        "axon_events": Rows(each, "events"),
        "encoder_spikes": each.encoder_spikes,
    }
    write_npz(file, arrays | (timing.by_image() if timing else {}), zipfile.ZIP_STORED)


def summary(result: RunResult) -> list[Any]:
    """Return lines and tables for a terminal."""
    from rich.table import Table

    j = result.figures()
    accuracy = "no labels" if result.accuracy is None else f"{100 * result.accuracy:.2f} %"
    head = Table(box=None, show_header=False, pad_edge=False)
    for name, value in (
        ("images", f"{result.images:,}" + (" (INCOMPLETE)" if result.missing_images else "")),
        ("accuracy", accuracy),
        ("ticks per image", str(result.ticks_per_image)),
        (
            "spikes per image",
            f"{j['spikes_per_image']:,.1f} on the chip, {j['encoder_spikes_per_image']:,.1f} from the encoder",
        ),
        ("SOPs per image", f"{j['sops_per_image']:,.0f}" + _paper(j["paper_sops_per_image"])),
        *_steps(result),
        ("axon events per image", f"{j['axon_events_per_image']:,.0f}"),
        (
            "images per second",
            f"{result.images_per_second:,.0f} on {result.threads} threads, engine {result.engine} "
            f"({result.load_seconds:.2f} s to load)",
        ),
    ):
        head.add_row(name, value)
    if result.relay_spikes:
        counts = f"{j['relay_spikes_per_image']:,.1f} spikes, {j['relay_sops_per_image']:,.0f} SOPs, not included above"
        head.add_row("relays per image", counts)
    if result.output_packets or result.readout == "host":
        whose = "; the SOPs of the last layer are the host's" if result.readout == "host" else ""
        head.add_row("packets to the host", f"{j['output_packets_per_image']:,.1f} per image{whose}")
    if result.exceeded is not None:
        head.add_row("levels exceeded", exceeded_line(result.exceeded, result.images))
    if result.unwatched:
        head.add_row("levels not watched", unwatched_line(result.unwatched))
    return [head, "", _layers(result), "", _busiest(result), "", line(result.provenance)]


def exceeded_line(found: Exceeded, images: int) -> str:
    """Say for how many images ``--levels`` left too few levels."""
    if not found.images:
        return "in no image"
    short = shortened(found.layers)
    layers = ", ".join(f"{short[name]} {count:,}" for name, count in found.layers.items() if count)
    return f"in {found.images:,} of {images:,} images ({layers}); their scores may differ from the model's"


def unwatched_line(names: tuple[str, ...]) -> str:
    """Say of which limited activations (``--levels``) images beyond the limit are not counted."""
    short = shortened(names)
    return (
        f"images beyond the limit of {', '.join(short[name] for name in names)} are not counted; chipsim compare finds them"
    )


def _steps(result: RunResult) -> list[tuple[str, str]]:
    if result.steps == 1:
        return []
    n = result.images * result.steps
    return [("per step", f"{result.steps} steps: {result.spikes / n:,.1f} spikes, {result.sops / n:,.0f} SOPs")]


def _paper(count: float | None) -> str:
    return "" if count is None else f" ({count:,.0f} by the paper's count)"


def _layers(result: RunResult) -> Table:
    from rich.table import Table

    table = Table("layer", title="per image and layer", title_justify="left", box=None, pad_edge=False)
    for name in ("neurons", "cores", "spikes", "SOPs", *["rate"] * (result.steps > 1)):
        table.add_column(name, justify="right")
    short = shortened(layer.name for layer in result.layers)
    for layer in result.layers:
        table.add_row(
            short[layer.name],
            f"{layer.neurons:,}",
            str(layer.cores),
            f"{layer.spikes / result.images:,.1f}",
            f"{layer.sops / result.images:,.0f}",
            *[f"{layer.rate:.3f}"] * (result.steps > 1),
        )
    return table


def _busiest(result: RunResult) -> Table:
    from rich.table import Table

    table = Table("core", title=f"the {BUSIEST} busiest cores, per image", title_justify="left", box=None, pad_edge=False)
    for name in ("x, y", "layer", "spikes", "SOPs", "axon events"):
        table.add_column(name, justify="right")
    short = shortened(layer.name for layer in result.layers)
    for core in sorted(result.cores, key=lambda core: -core.sops)[:BUSIEST]:
        table.add_row(
            str(core.id),
            f"{core.x}, {core.y}",
            short.get(core.layer, core.layer),
            f"{core.spikes / result.images:,.1f}",
            f"{core.sops / result.images:,.0f}",
            f"{core.axon_events / result.images:,.1f}",
        )
    return table
