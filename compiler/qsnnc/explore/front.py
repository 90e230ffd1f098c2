"""The Pareto front: the chips of a network that no other one beats in every figure."""

from __future__ import annotations

from collections.abc import Sequence

from chipsim.errors import UsageError
from qsnnc.explore.explore import Row
from qsnnc.explore.space import FIGURES

#: other names of figures
ALIASES = {"energy": "energy_pj", "area": "area_bits", "bits": "area_bits", "link": "busiest_link"}


def parse_figures(text: str) -> tuple[str, ...]:
    """Parse the two or three figures of ``--pareto``, all of which are to be small.

    Raises
    ------
    UsageError
    """
    found = tuple(ALIASES.get(part.strip(), part.strip()) for part in text.split(","))
    unknown = next((name for name in found if name not in FIGURES), None)
    if unknown is not None or not 2 <= len(set(found)) == len(found) <= 3:
        said = f"has the unknown figure {unknown!r}" if unknown is not None else f"is {text!r}"
        raise UsageError(
            "--pareto", f"{said}; allowed: two or three of {', '.join(FIGURES)}", code="option-value", found=text
        )
    return found


def front(rows: Sequence[Row], figures: Sequence[str]) -> list[Row]:
    """Return the rows of each model that no other row of that model beats: as good in all figures and better in one.

    Rows with the same figures are all on the front. Those that do not fit, or lack a figure, are not.
    """
    found = []
    for model in dict.fromkeys(row.model for row in rows):
        known = [
            (tuple(row.figures[name] for name in figures), row)
            for row in rows
            if row.model == model and row.figures.get("fits") and all(row.figures[name] is not None for name in figures)
        ]
        best: list[tuple[float, ...]] = []
        for values in sorted({values for values, _ in known}):  # whoever beats a row comes before it
            if not any(all(a <= b for a, b in zip(other, values, strict=True)) for other in best):
                best.append(values)
        found += [row for values, row in known if values in best]
    return found
