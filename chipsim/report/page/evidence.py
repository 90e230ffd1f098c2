"""What the page shows besides the mapping: results of the commands, the ONNX model, pictures of images; all checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipsim.chip.routes import SIDES, STEPS
from chipsim.datasets import Dataset
from chipsim.errors import InputError
from chipsim.report import schema
from chipsim.report.page import results
from chipsim.report.page.model_nodes import nodes_of_populations
from chipsim.report.page.packing import packed

#: pixels of a side that the picture of an image has at most
MOST_PIXELS = 256


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Files and data beside the mapping; the page shows what there is.

    Parameters
    ----------
    run : str, optional
        JSON of ``chipsim run`` on this mapping.
    compiled : str, optional
        JSON of ``qsnnc compile`` or ``qsnnc check`` of the same model.
    model : str, optional
        The ONNX file that the mapping was compiled from: its nodes can be searched for.
    dataset : Dataset, optional
        The images of the run, for pictures of the worst.
    """

    run: str | None = None
    compiled: str | None = None
    model: str | None = None
    dataset: Dataset | None = None


def evidence_content(given: Evidence, content: dict[str, Any]) -> dict[str, Any]:
    """Return the page's keys ``run``, ``compile``, ``nodes`` and ``pictures``, None where nothing was given.

    Raises
    ------
    InputError
        A file cannot be read, is something else, or belongs to another mapping.
    """
    run = None if given.run is None else _run(given.run, content)
    return {
        "run": run,
        "compile": None if given.compiled is None else _compile(given.compiled, content),
        "nodes": None if given.model is None else nodes_of_populations(given.model, content),
        "pictures": None if given.dataset is None or run is None else _pictures(given.dataset, run),
    }


def _run(path: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a run as it is, but for long lists, which are packed."""
    _, text = schema.read(path, "a result of chipsim run --json", "chipsim-run/1")
    found = schema.parse(path, text, results.RunPage)
    results.check_same(path, found.model_sha256, content)
    results.check_map(path, found.provenance, content)
    results.check_cores(path, found, content)
    value: dict[str, Any] = json.loads(text)
    content["conditions"], content["made"] = schema.conditions_of(found), schema.made_line(found)
    names = ("spikes", "sops", "axon_events")
    value["cores"] = {name: packed([core[name] for core in value["cores"]], "float64") for name in names}
    if value["energy"]:
        value["energy"]["cores"] = packed(value["energy"]["cores"], "float64")
    if value["timing"]:
        value["timing"] = _packed_links(value["timing"])
    return value


def _packed_links(timing: dict[str, Any]) -> dict[str, Any]:
    """Return the key ``timing`` with its links as columns."""
    columns = list(zip(*timing["links"], strict=True)) or [(), (), (), (), ()]
    side = {name: number for number, name in enumerate(SIDES)}
    links = {
        "x": packed(columns[0], "int32"),
        "y": packed(columns[1], "int32"),
        "side": packed([side[name] for name in columns[2]], "uint8"),
        "after": packed(columns[3], "float64"),
        "ingress": packed(columns[4], "float64"),
    }
    ticks = [packed(row, "float64") for row in timing.get("link_ticks") or []]
    packets = timing.get("core_packets")
    return {
        **timing,
        "links": links,
        "link_ticks": ticks,
        "sides": [[name, *step] for name, step in zip(SIDES, STEPS, strict=False)],
        "core_packets": None if packets is None else packed(packets, "float64"),
    }


def _compile(path: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a compilation."""
    _, text = schema.read(path, "a result of qsnnc compile --json", "qsnnc-compile/1")
    found = schema.parse(path, text, results.CompilePage)
    results.check_same(path, found.model_sha256, content)
    results.check_map(path, found.provenance, content)
    value: dict[str, Any] = json.loads(text)
    return value


def _pictures(dataset: Dataset, run: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return pictures of the worst images, grey or in colour, uint8; None where images are no pictures.

    Raises
    ------
    InputError
        The data set has fewer images than the run, or other labels.
    """
    worst = run.get("worst_images") or []
    found = []
    for entry in worst:
        number, labels = entry["image"], dataset.labels
        if number >= len(dataset) or labels is None or int(labels[number]) != entry["label"]:
            raise InputError(
                dataset.name,
                f"has no image {number} with label {entry['label']}, which the run names; give the run's own images",
                code="page-other",
                found=number,
            )
        picture = _picture(np.asarray(dataset.images[number]))
        if picture is None:
            return None
        found.append({"image": number, **picture})
    return found


def _picture(image: np.ndarray[Any, Any]) -> dict[str, Any] | None:
    """Return an image as (rows, columns) or (rows, columns, 3), scaled to 0 to 255."""
    squeezed = image.reshape([side for side in image.shape if side > 1] or [1])
    if squeezed.ndim == 3 and squeezed.shape[0] == 3:
        squeezed = squeezed.transpose(1, 2, 0)
    colour = squeezed.ndim == 3 and squeezed.shape[2] == 3
    if not (squeezed.ndim == 2 or colour) or max(squeezed.shape[:2]) > MOST_PIXELS:
        return None
    values = squeezed.astype(np.float64)
    low, high = (0.0, 255.0) if squeezed.dtype == np.uint8 else (float(values.min()), float(values.max()))
    shown = np.clip(255 * (values - low) / ((high - low) or 1.0), 0, 255).round()
    return {"shape": list(shown.shape), "pixels": packed(shown, "uint8")}
