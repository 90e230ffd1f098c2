"""The figures: what is drawn is what the results say, beside the published bars."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chipsim.errors import InputError, UsageError
from chipsim.report import figures, plots

RUN = {
    "schema": "chipsim-run/1",
    "paper_spikes_per_image": 4321.0,
    "sops_per_image": 1.5e6,
    "paper_sops_per_image": 7.25e6,
    "accuracy": 0.9876,
}
ROW = {
    "model": "mine", "k": 0, "B": 1, "neurons": 26880, "paper_spikes": 5000.0, "sops": 2.0e6, "paper_sops": 3.5e6,
    "ann_accuracy": 0.99, "snn_accuracy": 0.9912, "noise": {"0.1": {"mean": 0.985}, "0.2": {"mean": 0.97}},
}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "run-k1b2.json").write_text(json.dumps(RUN))
    (tmp_path / "table.json").write_text(json.dumps({"schema": "qsnnc-results/1", "networks": [ROW]}))
    return [str(tmp_path / name) for name in ("run-k1b2.json", "table.json")]


def texts(kind: str, files: list[str]) -> str:
    """The words of a figure: an SVG that keeps them as text."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        return plots.draw(kind, plots.read_results(files), "svg").decode()


@pytest.mark.slow
def test_published_beside_ours(files: list[str]) -> None:
    spikes = texts("sparsity", files)
    for shown in ("4,321", "18,587", "5,000", "(19 %)", "6,346", "(24 %)", "7,911", "spikes per image"):
        assert shown in spikes, shown
    sops = texts("sops", files)
    for shown in ("7.25", "27.88", "1.50", "3.50", "2.14", "2.00", "millions"):
        assert shown in sops, shown
    errors = texts("accuracy", files)
    for shown in ("1.24", "0.63", "0.88", "0.73", "1.50", "3.00", "0.78", "0.50", "20 % of encoder spikes lost"):
        assert shown in errors, shown


@pytest.mark.slow
def test_a_run_of_an_unknown_network_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(RUN | {"paper_sops_per_image": None, "accuracy": None}))
    for kind in plots.KINDS:
        assert "own" in texts(kind, [str(path)])


@pytest.mark.slow
@pytest.mark.parametrize("form", plots.SUFFIXES)
def test_formats_and_determinism(files: list[str], form: str) -> None:
    first, second = (plots.draw("sops", plots.read_results(files), form) for _ in range(2))
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form])


def test_refused(tmp_path: Path) -> None:
    refused = (("speed", ["r"], "a.png"), ("sops", ["r"], "a.gif"), ("sops", [], "a.png"), ("saturation", ["r"], "a.png"))
    for kind, files, target in refused:
        with pytest.raises(UsageError):
            figures.check(kind, files, target)
    for text in (
        "",
        "[]",
        '{"schema": "other"}',
        '{"schema": "chipsim-run/1"}',
        '{"schema": "qsnnc-results/1", "networks": [1]}',
    ):
        path = tmp_path / "x.json"
        path.write_text(text)
        with pytest.raises(InputError):
            plots.read_results([str(path)])
    with pytest.raises(InputError):
        plots.read_results([str(tmp_path / "none.json")])
