"""What made an exploration, for its tables and figures: the same for any number of workers and after any number of stops."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chipsim import provenance
from qsnnc.explore.explore import model_names
from qsnnc.explore.space import Space
from qsnnc.options import FrontendOptions


def origin(
    models: Sequence[str], space: Space, reading: FrontendOptions, dataset: str | None, split: str, images: str | None
) -> dict[str, Any]:
    """Return version, hashes of models, space and timed images, and the options with which the models are read.

    Parameters
    ----------
    models : sequence of str
        Paths.
    dataset : str, optional
        As given: a name or a path.
    images : str, optional
        SHA-256 of the timed images.
    """
    described = json.dumps([space.base, space.file.model_dump(mode="json")], sort_keys=True)
    data = None
    if dataset is not None:
        stored = dataset.endswith(".npz")
        data = {"name": dataset, "split": None if stored else split, "sha256": images}
    made = provenance.made_by(
        {"reading": asdict(reading)},
        models={name: provenance.file_sha256(path) for name, path in zip(model_names(models), models, strict=True)},
        space_sha256=hashlib.sha256(described.encode()).hexdigest(),
        dataset=data,
    )
    return {name: value for name, value in made.items() if name not in provenance.OF_THE_COMPUTING}


def line(made: dict[str, Any]) -> str:
    """Return what `origin` found in a line, for figures."""
    several = [f"{name} {(digest or '')[: provenance.DIGITS]}".rstrip() for name, digest in made["models"].items()]
    hashes = [f"space {made['space_sha256'][: provenance.DIGITS]}", *several]
    return "; ".join([provenance.line(made), ", ".join(hashes)])
