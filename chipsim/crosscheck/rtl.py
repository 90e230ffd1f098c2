"""The chip in SystemVerilog (``rtl/``), run by Verilator, against chipsim: spikes, potentials and cycles."""

from __future__ import annotations

import shutil
from pathlib import Path

import chipsim
from chipsim.crosscheck import Crosscheck, Request, unavailable

#: beside the package in a checkout; a wheel does not hold it
SOURCES = Path(chipsim.__file__).resolve().parents[1] / "rtl"


def check(request: Request) -> Crosscheck:
    """Run the images of a request on both.

    Raises
    ------
    InputError
        Verilator or the SystemVerilog is missing, or does not cover the chip.
    """
    if not (SOURCES / "chip.sv").is_file():
        raise unavailable("rtl", f"{SOURCES} is missing", "run chipsim from a checkout of the repository (pip install -e .)")
    if shutil.which("verilator") is None:
        raise unavailable("rtl", "verilator is not on the path", "install it (Debian: apt-get install verilator)")
    raise unavailable("rtl", "this version cannot run the hardware yet", "use a newer one")
