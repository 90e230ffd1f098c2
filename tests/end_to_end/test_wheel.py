"""The wheel that a user installs: every subpackage, the presets and the format's page, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from support.places import ROOT

CODE = """
import chipsim, qsnnc
from chipsim.chip import load_chip
assert load_chip("mini").grid == (4, 4)
done = qsnnc.compile_model(MODEL, chip="mini")
from chipsim.report.page import page
chipsim.write_mapping(done.mapping, "net.map")
assert page("net.map").startswith("<!DOCTYPE html>")
print(chipsim.run(done.mapping, "digits", limit=20).images, chipsim.__file__, qsnnc.__file__)
"""


def test_installed_wheel_works_from_anywhere(tmp_path: Path) -> None:
    source, wheels, site = (tmp_path / name for name in ("source", "wheels", "site"))
    source.mkdir()
    for name in ("compiler", "chipsim"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(wheels),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"chipsim", "qsnnc"}
    for needed in (
        "qsnnc/partition/fill.py",
        "chipsim/chip/presets/xbar1152.yaml",
        "chipsim/mapping/FORMAT.md",
        "chipsim/py.typed",
        "chipsim/report/page/assets/main.js",
        "chipsim/report/page/echarts/echarts.min.js",
        "chipsim/report/page/echarts/LICENSE",
        "chipsim/report/page/echarts/LICENSE-d3",
        "chipsim/report/page/echarts/NOTICE",
    ):
        assert needed in names
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    code = CODE.replace("MODEL", repr(str(ROOT / "models" / "tiny.onnx")))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    images, *places = done.stdout.split()
    assert images == "20"
    assert all(place.startswith(str(site)) for place in places)
