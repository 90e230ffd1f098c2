"""The figures of an exploration: names that can be read, what made them, the values of the table."""

from __future__ import annotations

import re

import matplotlib as mpl
import pytest

from qsnnc.explore import plots

MADE = "run 0badcafe; space 12345678, tiny 87654321"
ROWS = [
    {"model": "tiny", "chip": f"mini-{n}", "grid": [n + 1, 8], "axons": 64, "cores": 2 + n // 2, "energy_pj": 9e4 / (1 + n), "area_bits": 1000 * n}
    for n in range(30)
]  # fmt: skip


def words(drawn: bytes) -> str:
    return drawn.decode()


@pytest.mark.slow
def test_names_do_not_overlap_and_what_made_it_stands_below() -> None:
    with mpl.rc_context({"svg.fonttype": "none"}):
        text = words(plots.front(ROWS, ROWS, ("cores", "energy_pj", "area_bits"), MADE))
    found = re.findall(r' x="([\d.]+)" y="([\d.]+)"[^>]*>(mini-\d+)', text)
    assert len(found) > 5
    boxes = [(float(x), float(y), 3.8 * len(name)) for x, y, name in found]
    for number, (x, y, width) in enumerate(boxes):
        for other, below, wide in boxes[:number]:
            assert abs(y - below) >= 7 or x >= other + wide or other >= x + width
    assert MADE in text
    assert "energy, pJ" in text


@pytest.mark.slow
def test_values_stand_at_both_ends_as_the_table_has_them() -> None:
    with mpl.rc_context({"svg.fonttype": "none"}):
        text = words(plots.parallel(ROWS, ROWS[:2], ["grid", "axons", "cores", "energy_pj"], MADE))
        over = words(plots.over(ROWS, "cores", "grid", MADE))
    for shown in ("1 x 8", "30 x 8", "90,000", "3,000", "Pareto front", MADE):
        assert shown in text, shown
    for shown in ("1 x 8", "tiny, the smallest", MADE):
        assert shown in over, shown
