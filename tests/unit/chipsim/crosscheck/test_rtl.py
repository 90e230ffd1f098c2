"""`chipsim crosscheck --with rtl`: what it needs, and what it makes of the comparison. Verilator itself runs in `make rtl`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.hand_mappings import two_cores

from chipsim.crosscheck import Request, crosscheck, rtl
from chipsim.errors import InputError
from chipsim.mapping import write_mapping

FOUND = {
    "version": "Verilator 5.006", "images": 2, "seconds": 1.0, "simulation_seconds": 0.25, "ticks": 6, "values": 24,
    "packets": 12, "cycles": 300, "differences": {}, "tiles": False,
}  # fmt: skip


@pytest.fixture
def request_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    """A mapping with data, and a machine that has Verilator and sources."""
    write_mapping(two_cores().build(), tmp_path / "m.map")
    np.savez(tmp_path / "d.npz", images=np.array([[2, 0], [2, 1]], np.float32))
    (tmp_path / "chip.sv").touch()
    monkeypatch.setattr(rtl, "SOURCES", tmp_path)
    monkeypatch.setattr(rtl.shutil, "which", lambda name: f"/usr/bin/{name}")
    return Request(str(tmp_path / "m.map"), str(tmp_path / "d.npz"))


def says(folder: Path, value: object, code: int = 0) -> None:
    """Put a script in the place of rtl/compare.py that prints a value, and keeps its arguments."""
    lines = [
        "import sys",
        f"open({str(folder / 'words')!r}, 'w').write(' '.join(sys.argv[1:]))",
        f"print({value if isinstance(value, str) else json.dumps(value)!r})",
        f"sys.exit({code})",
    ]
    (folder / "compare.py").write_text("\n".join(lines))


def test_what_is_equal(request_of: Request, tmp_path: Path) -> None:
    says(tmp_path, FOUND)
    found = crosscheck("rtl", request_of)
    assert found.equal
    assert found.compared.endswith("frames alone and a stream")
    assert (found.version, found.images, found.seconds) == ("Verilator 5.006", 2, 0.25)
    assert (found.potentials_equal, found.spikes_equal, found.cores_equal) == (True, True, True)
    assert (tmp_path / "words").read_text().split()[:2] == ["map", request_of.file]


def test_it_says_where_only_a_tile_was_compiled(request_of: Request, tmp_path: Path) -> None:
    says(tmp_path, {**FOUND, "tiles": True})
    assert crosscheck("rtl", request_of).compared.endswith("frames alone and a stream; cores and routers wired in C++")


@pytest.mark.parametrize(
    ("aspect", "equal"),
    [
        ("potentials", (False, True, True)),
        ("spikes", (True, False, True)),
        ("sent", (True, True, False)),
        ("ticks", (True, True, False)),
    ],
)
def test_what_differs(request_of: Request, tmp_path: Path, aspect: str, equal: tuple[bool, ...]) -> None:
    says(tmp_path, {**FOUND, "differences": {aspect: "tick 3: here 4, there 5"}}, 1)
    found = crosscheck("rtl", request_of)
    assert (found.potentials_equal, found.spikes_equal, found.cores_equal) == equal
    assert found.difference == f"{aspect}: tick 3: here 4, there 5"


def test_a_chip_that_it_does_not_cover(request_of: Request, tmp_path: Path) -> None:
    says(tmp_path, {"not_covered": "timing.multicast is True; the SystemVerilog covers false"}, 3)
    with pytest.raises(InputError, match=r"m\.map: timing\.multicast is True") as caught:
        crosscheck("rtl", request_of)
    assert (caught.value.code, caught.value.exit_code) == ("crosscheck-not-covered", 3)


def test_a_simulation_that_fails_is_told_with_its_last_line(request_of: Request, tmp_path: Path) -> None:
    (tmp_path / "compare.py").write_text("raise RuntimeError('tick 3 does not end')")
    with pytest.raises(InputError, match=r"RuntimeError: tick 3 does not end; run .*compare\.py"):
        crosscheck("rtl", request_of)


def test_what_cannot_be_had_is_refused_with_advice(request_of: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtl.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="rtl: verilator is not on the path; install it") as caught:
        crosscheck("rtl", request_of)
    assert caught.value.code == "crosscheck-unavailable"
    monkeypatch.setattr(rtl, "SOURCES", Path("/nowhere"))
    with pytest.raises(InputError, match="rtl: /nowhere is missing; run chipsim from a checkout"):
        crosscheck("rtl", request_of)


def test_bad_input_is_refused_as_by_every_verb(request_of: Request, tmp_path: Path) -> None:
    for wrong in (Request("no.map", request_of.dataset), Request(request_of.file, str(tmp_path / "no.npz"))):
        with pytest.raises(InputError, match=r"no\.(map|npz)"):
            crosscheck("rtl", wrong)
