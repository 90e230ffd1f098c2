"""What made a compilation, a check or a search for changes: its provenance."""

from __future__ import annotations

import hashlib
from typing import Any

from chipsim.chip import AnyChip
from chipsim.provenance import made_by


def origin(options: object, chip: AnyChip, model_sha256: str | None, **facts: object) -> dict[str, Any]:
    """Return command, version, time, the hashes of model and chip, and the options.

    Parameters
    ----------
    options : dataclass or dict
        As given.
    chip : ChipSpec or PaicoreSpec
        Its hash tells apart two chip files that give one name to different limits.
    **facts
        What else made it, such as ``map_sha256``.
    """
    described = hashlib.sha256(chip.model_dump_json().encode()).hexdigest()
    return made_by(options, **facts, model_sha256=model_sha256, chip=chip.name, chip_sha256=described)
