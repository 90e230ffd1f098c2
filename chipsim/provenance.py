"""What made a result: command, version, files with their hashes, data set, options, time.

Two results that differ in one of these have another `provenance` in their JSON. A mapping holds none of it, so that the same
model gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chipsim import paths
from chipsim.errors import UsageError

if TYPE_CHECKING:
    from chipsim.datasets import Dataset

#: keys that differ between two equal runs
OF_THE_MOMENT = ("command", "time")
#: keys on which no result depends: files of equal results are equal byte for byte, whoever computed them
OF_THE_COMPUTING = (*OF_THE_MOMENT, "threads", "engine", "batch", "data_dir")
#: hex digits of a hash that a figure or a table shows
DIGITS = 8
#: bytes of images that are hashed at a time
BLOCK = 1 << 26


def made_by(options: object, **facts: object) -> dict[str, Any]:
    """Return the provenance of a result that a command writes.

    Parameters
    ----------
    options : dataclass or dict
        The options of the verb, as given. A file among ``faults`` and ``avoid`` is hashed: ``faults_sha256``.
    **facts
        What else made it, such as ``map_sha256``.
    """
    from importlib import metadata

    given: dict[str, Any] = asdict(options) if is_dataclass(options) and not isinstance(options, type) else dict(options)  # type: ignore[call-overload]
    for name in ("faults", "avoid"):
        if isinstance(given.get(name), str | os.PathLike):
            given[f"{name}_sha256"] = file_sha256(given[name])
    return {
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],
        "version": metadata.version("qsnnc"),
        "time": _now().isoformat(timespec="seconds"),
        **facts,
        **{name: _plain(value) for name, value in given.items() if name not in facts},
    }


def _now() -> datetime:
    """The time; with ``SOURCE_DATE_EPOCH`` in the environment that one, so that whole files can be compared."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError):
        said = f"is {given!r}; allowed: seconds since the start of 1970"
        raise UsageError("SOURCE_DATE_EPOCH", said, code="option-value", found=given) from None


def _plain(value: object) -> Any:
    """Return a value as JSON holds it."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)


def file_sha256(path: str | os.PathLike[str]) -> str | None:
    """Return the hash of a file's content; None for what is no file, such as a pipe that was read already."""
    return paths.sha256(path) if paths.is_stored(path) else None


def dataset_facts(data: Dataset, source: str) -> dict[str, Any]:
    """Return name, split, number and hash of the images that were used.

    The hash is that of an npz file's content, or of the images and labels of a data set that is called by name.
    """
    found = file_sha256(source) if source.endswith(".npz") else _arrays_sha256(data)
    return {"name": data.name, "split": data.split, "images": len(data), "sha256": found}


def _arrays_sha256(data: Dataset) -> str:
    import numpy as np

    from chipsim.datasets.events import EventFrames

    found = hashlib.sha256()
    if isinstance(data.images, EventFrames):
        for name in ("x", "y", "t", "p", "offsets"):
            found.update(np.ascontiguousarray(getattr(data.images, name)).tobytes())
        return found.hexdigest()
    step = max(1, BLOCK // max(1, int(np.prod(data.images.shape[1:]))))
    for first in range(0, len(data), step):
        found.update(np.ascontiguousarray(data.images[first : first + step]).tobytes())
    if data.labels is not None:
        found.update(data.labels.tobytes())
    return found.hexdigest()


def digest(made: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """Return a short hash of a provenance: two that differ in a key that counts have different ones."""
    kept = {name: value for name, value in made.items() if name not in without}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:DIGITS]


def line(made: Mapping[str, Any] | None) -> str:
    """Return a provenance in a line, for figures and tables; '' of a result without.

    It names what a reader compares, hashes by their first digits; the first is the `digest` of everything.
    """
    if not made:
        return ""
    data = made.get("dataset") or {}
    named = " ".join(str(data[key]) for key in ("name", "split") if data.get(key))
    if data.get("images"):
        named += f", {data['images']:,} images"
    if data.get("sha256"):
        named += f" ({data['sha256'][:DIGITS]})"
    hashes = [f"{what} {made[f'{what}_sha256'][:DIGITS]}" for what in ("map", "model") if made.get(f"{what}_sha256")]
    when = str(made.get("time") or "").replace("T", " ").replace("+00:00", " UTC")
    what = "run" if made.get("engine") else "made by"
    parts = [
        f"{what} {digest(made)}", when, f"qsnnc {made['version']}" if made.get("version") else "",
        " of ".join(hashes), named, f"engine {made['engine']}" if made.get("engine") else "",
        f"threads {made['threads']}" if made.get("threads") else "",
    ]  # fmt: skip
    return "; ".join(part for part in parts if part)


def conditions(made: Mapping[str, Any] | None, faults: Mapping[str, Any] | None = None) -> str:
    """Return what tells a run from one of the same network on a healthy chip, for titles and labels; '' if nothing does.

    Parameters
    ----------
    made : dict, optional
        The key ``provenance`` of a run's JSON.
    faults : dict, optional
        The key ``faults``.
    """
    made = made or {}
    parts = [f"noise {made['noise']:g}, seed {made.get('seed', 0)}"] if made.get("noise") else []
    broken = [name for name, value in (faults or {}).items() if value]
    if broken or made.get("faults"):
        parts.append(f"faults: {', '.join(broken) or 'none drawn'}, seed {made.get('seed', 0)}")
    if made.get("limit"):
        parts.append(f"first {made['limit']:,} images")
    return "; ".join(parts)
