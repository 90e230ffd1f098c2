"""A figure of each drawing module is the same bytes in another process, with other hashes of strings."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

from chipsim.engine.sweep import Point, Sweep
from chipsim.report import curves, pictures, plots, saturation
from qsnnc.explore import plots as explored

ROW = {"model": "tiny", "chip": "mini-1", "axons": 64, "cores": 2, "energy_pj": 9e4 / 7, "area_bits": 1000}


def drawn() -> list[str]:
    """Hashes of the figures."""
    rates = saturation.RATES
    meshes = [
        saturation.Curve(buffer, rates, rates, tuple(20 + buffer / 3 * rate for rate in rates)) for buffer in (2, 4, 8, 16)
    ]
    points = tuple(Point("noise", rate, 0, 0.9 - rate / 3) for rate in (0.0, 0.1))
    rows = [ROW, ROW | {"chip": "mini-2", "cores": 3, "energy_pj": 5e3}]
    figures = [
        plots.draw("sparsity", [plots.Network("mine", paper_spikes=4321.0 / 7)], "svg"),
        saturation.draw(meshes, "svg"),
        curves.draw(Sweep("0" * 64, "mini", "digits", 4, 0.9, points), "svg"),
        pictures.draw("map", pictures.of_mapping(str(ROOT / "mappings" / "tiny-mini.map")), "svg"),
        explored.front(rows, rows, ("cores", "energy_pj"), "run 1"),
        explored.parallel(rows, rows, ["axons", "energy_pj"], "run 1"),
        explored.over(rows, "energy_pj", "axons", "run 1"),
    ]
    return [hashlib.sha256(figure).hexdigest() for figure in figures]


@pytest.mark.slow
def test_figures_are_the_same_bytes() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; import {Path(__file__).stem} as mine; print(*mine.drawn())"
    environment = {"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == drawn()
