"""Select the drawing function and the input files for each figure of ``chipsim plot``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chipsim.errors import UsageError
from chipsim.report import plots

#: drawn of results beside the published figures, of one run's chip, of `chipsim sweep --json`, and of nothing at all
RESULTS, PICTURES, SWEEPS, ALONE = plots.KINDS, ("map", "links", "ticks"), ("faults",), ("saturation",)
KINDS = (*PICTURES, *RESULTS, *SWEEPS, *ALONE)


def check(kind: str, files: Sequence[str], target: str, published: bool = False) -> None:
    """Refuse an unknown figure or file format, and too many or missing input files.

    Raises
    ------
    UsageError
    """
    if kind not in KINDS:
        raise UsageError("KIND", f"unknown figure {kind!r}; expected {', '.join(KINDS)}", code="option-value", found=kind)
    if published and kind not in SWEEPS:
        raise UsageError("--published", f"applies to faults only, not to {kind}", code="option-unused")
    if kind in ALONE and files:
        raise UsageError("plot", f"{kind} runs its own simulation and takes no files", code="plot-files")
    if kind not in ALONE and not files:
        made_by = "chipsim sweep" if kind in SWEEPS else "chipsim run"
        raise UsageError("plot", f"{kind} needs a result file written by {made_by} --json", code="plot-files")
    plots.suffix(target)


def draw(
    kind: str,
    files: Sequence[str],
    form: str,
    *,
    published: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> bytes:
    """Draw a figure of KINDS; ``published`` adds the authors' figures to a sweep, ``progress`` is told of simulations.

    Raises
    ------
    UsageError, InputError
    """
    if kind in PICTURES:
        from chipsim.report import pictures

        return pictures.draw(kind, pictures.read(kind, files), form)
    if kind in SWEEPS:
        from chipsim.report import curves

        return curves.draw(curves.read_sweeps(files), form, beside=published)
    if kind in ALONE:
        from chipsim.report import saturation

        return saturation.draw(saturation.curves(progress=progress), form)
    return plots.draw(kind, plots.read_results(files), form)
