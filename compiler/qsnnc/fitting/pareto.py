"""Choose which changes are reported: those that no other one beats, on the calibration images alone."""

from __future__ import annotations

from collections.abc import Sequence

from qsnnc.fitting.compiled import Fitting

#: most changes that are reported
MOST = 5
#: share of predictions that may differ: beyond, a change is reported only if no other one fits
RUINED = 0.5


def cost(fitting: Fitting) -> tuple[float, float]:
    """Return what a change costs: accuracy (or predictions, without labels), then the error of the scores.

    Without images both are the sum of the errors that uniform quantizers of so few levels and bits have.
    """
    measured = fitting.calibration
    if measured is None:
        return (fitting.narrowing, fitting.narrowing)
    lost = measured.predictions_changed / measured.count if measured.lost is None else measured.lost
    return (max(0.0, lost), measured.error)


def beats(one: Fitting, other: Fitting) -> bool:
    """Return whether a change is no worse than another on the same chip in every respect, and better in one.

    Compared are the cores, the accuracy lost, and the share of the network that is left to the host. The cores of
    different chips are not comparable, and a change of the chip costs no accuracy.
    """
    if one.chip != other.chip:
        return False
    a, b = ((each.cores, cost(each)[0], each.host_share) for each in (one, other))
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def chosen_of(fitting: Sequence[Fitting]) -> list[Fitting]:
    """Return up to `MOST` changes that no other one beats, the least costly first.

    Of more than that, the costliest narrowings are left out: the other kinds give one or two each. A network that answers
    otherwise on more than half of the images is no change worth a look, unless it is the only one that fits.
    """
    distinct: list[Fitting] = []
    for each in [each for each in fitting if not _ruined(each)] or fitting:
        if not any(_same(each, other) for other in distinct):
            distinct.append(each)
    front = [each for each in distinct if not any(beats(other, each) for other in distinct)]
    front.sort(key=lambda each: (*cost(each), each.host_share, each.cores))
    while len(front) > MOST:
        narrowings = [each for each in front if _narrows(each)] or front
        front.remove(narrowings[-1])
    return front


def _ruined(each: Fitting) -> bool:
    measured = each.calibration
    return measured is not None and measured.predictions_changed > RUINED * measured.count


def _same(one: Fitting, other: Fitting) -> bool:
    """Return whether two changes cost and take the same; the one that came first is the simpler."""
    same = (one.cores, cost(one), one.host_share) == (other.cores, cost(other), other.host_share)
    return same and one.chip == other.chip


def _narrows(each: Fitting) -> bool:
    return bool(each.change.narrowed or each.change.weight_bits)
