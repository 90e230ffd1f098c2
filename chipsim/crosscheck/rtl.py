"""The chip in SystemVerilog (``rtl/``), run by Verilator, against chipsim: spikes, potentials and cycles.

The comparison is ``rtl/compare.py``, a process of its own: the hardware is no part of the installed package.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import chipsim
from chipsim import paths
from chipsim.crosscheck import Crosscheck, Request, not_covered, unavailable
from chipsim.engine.setup import of_one_step, open_dataset, open_mapping

#: beside the package in a checkout; a wheel does not hold it
SOURCES = Path(chipsim.__file__).resolve().parents[1] / "rtl"


def check(request: Request) -> Crosscheck:
    """Run the images of a request on both, each alone and as a stream.

    Raises
    ------
    InputError
        Verilator or the SystemVerilog is missing, or does not cover the chip.
    """
    # what is no mapping, or no data, is refused as by every verb
    of_one_step(open_mapping(request.file), "the hardware of rtl/")
    open_dataset(request.dataset, request.data)
    if not paths.is_stored(SOURCES / "chip.sv"):
        raise unavailable("rtl", f"{SOURCES} is missing", "run chipsim from a checkout of the repository (pip install -e .)")
    if shutil.which("verilator") is None:
        raise unavailable("rtl", "verilator is not on the path", "install it (Debian: apt-get install verilator)")
    found = _compare(request)
    differences: dict[str, str] = found["differences"]
    return Crosscheck(
        simulator="rtl",
        version=found["version"],
        images=found["images"],
        potentials_equal="potentials" not in differences,
        spikes_equal="spikes" not in differences,
        cores_equal=not differences.keys() - {"potentials", "spikes"},
        seconds=found["simulation_seconds"],
        compared=f"{found['values']:,} potentials and spikes, {found['packets']:,} packets sent and ejected, "
        f"{found['ticks']:,} ticks of {found['cycles']:,} cycles; frames alone and a stream"
        + "; cores and routers wired in C++"
        * found["tiles"],
        difference="; ".join(f"{name}: {text}" for name, text in differences.items()) or None,
    )


def _compare(request: Request) -> dict[str, Any]:
    """Run ``rtl/compare.py`` and return its JSON."""
    options = {
        "--dataset": request.dataset,
        "--split": request.data.split,
        "--data-dir": request.data.data_dir,
        "--limit": request.data.limit,
    }
    words = [f"{name}={value}" for name, value in options.items() if value is not None]
    command = [sys.executable, str(SOURCES / "compare.py"), "map", request.file, *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines() or ["nothing"]
        raise unavailable(
            "rtl", f"the simulation failed: {lines[-1][:300]}", f"run {' '.join(command)} to see all"
        ) from None
    if "not_covered" in found:
        raise not_covered(request.file, found["not_covered"])
    return found
