"""The chip as a picture: what is drawn is what the run's JSON says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from support.command_line import unlabelled

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import InputError, UsageError
from chipsim.report import drawing, figures, pictures, plots
from chipsim.timing.tick import INCREMENTS

RUN: dict[str, Any] = {
    "schema": "chipsim-run/1",
    "chip": "grid",
    "images": 10,
    "floorplan": {"grid": [4, 3], "ports": [[0, 0], [0, 2]], "dead_cores": [[3, 0]], "dead_links": [[[1, 1], [2, 1]]]},
    "cores": [
        {"id": 0, "x": 0, "y": 0, "layer": "conv", "sops": 1000},
        {"id": 1, "x": 1, "y": 0, "layer": "conv", "sops": 30000},
        {"id": 2, "x": 2, "y": 1, "layer": "relay", "sops": 0},
        {"id": 3, "x": 2, "y": 2, "layer": "fc", "sops": 500},
    ],
    "timing": {
        "mode": "cycle",
        "images": 5,
        "clock_mhz": 100.0,
        "links": [[0, 0, "east", 12.5, 2000.0], [2, 1, "south", 77.0, 0.0], [2, 2, "west", 3.0, 0.0]],
        "ticks": [
            {"layer": "ingress", **dict.fromkeys(INCREMENTS, 0.0), "injection": 9000.0, "sync": 10.0},
            {"layer": "conv", **dict.fromkeys(INCREMENTS, 5.0), "rows": 321.0},
            {"layer": "fc", **dict.fromkeys(INCREMENTS, 2.0), "contention": 1234.0},
        ],
    },
}


def changed(**keys: Any) -> dict[str, Any]:
    return json.loads(json.dumps(RUN)) | keys


def write(folder: Path, content: Any) -> str:
    path = folder / "r.json"
    path.write_text(json.dumps(content))
    return str(path)


def texts(kind: str, folder: Path, content: Any) -> str:
    """The words of a figure: an SVG that keeps them as text."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        return pictures.draw(kind, pictures.read(kind, [write(folder, content)]), "svg").decode()


@pytest.mark.slow
def test_words(tmp_path: Path) -> None:
    cores = texts("map", tmp_path, RUN)
    for shown in (
        "4 of 11 cores", "conv: 2 cores, 3,100 SOPs", "relay: 1 core, 0 SOPs", "fc: 1 core, 50 SOPs", "dead core",
        "dead link", "port of the host", "synaptic operations per core and image", "x, router",
    ):  # fmt: skip
        assert shown in cores, shown
    links = texts("links", tmp_path, RUN)
    for shown in (
        "south from 2, 1 to 2, 2, 77 flits per image", "east from 0, 0 to 1, 0, 2,000 flits per image", "mean of 5 images",
    ):  # fmt: skip
        assert shown in links, shown
    ticks = texts("ticks", tmp_path, RUN)
    for shown in (
        "9,010, bound by injection", "346, bound by rows", "1,244, bound by contention", "100 cycles are 1 us",
        "10,600 cycles for a frame alone", "the same without the ingress", *INCREMENTS,
    ):  # fmt: skip
        assert shown in ticks, shown


@pytest.mark.slow
def test_a_run_without_timing_has_a_map_and_nothing_else(tmp_path: Path) -> None:
    bare = changed(timing=None)
    assert "conv" in texts("map", tmp_path, bare)
    for kind in ("links", "ticks"):
        with pytest.raises(InputError, match=f"has no timing, which {kind} needs.*--timing cycle") as error:
            pictures.read(kind, [write(tmp_path, bare)])
        assert error.value.code == "result-timing"


def test_each_direction_has_its_line(tmp_path: Path) -> None:
    """Lines lie to the right of where the flits go, next to their link, the busiest the widest."""
    run = pictures.read("links", [write(tmp_path, RUN)])
    figure = drawing.links(run)
    (lines,) = [c for c in figure.axes[0].collections if isinstance(c, LineCollection) and c.get_array() is not None]
    assert lines.get_array().tolist() == [3.0, 12.5, 77.0]
    west, east, south = (np.mean(segment, axis=0).round(2).tolist() for segment in lines.get_segments())
    assert (west, east, south) == ([1.5, 1.86], [0.5, 0.14], [1.86, 1.5])
    assert lines.get_linewidths()[2] == max(lines.get_linewidths())


def test_no_axis_names_a_router_that_is_not_there(tmp_path: Path) -> None:
    run = pictures.read("map", [write(tmp_path, RUN)])
    axes = drawing.cores(run).axes[0]
    columns, rows = run.grid
    assert axes.get_xticks().tolist() == list(range(columns))
    assert axes.get_yticks().tolist() == list(range(rows))
    assert drawing._places(32) == [0, 5, 10, 15, 20, 25, 30]
    assert drawing._places(1) == [0]


def test_frames_close_around_a_layer() -> None:
    """The border of one cell, of two, of a corner: a straight line for each side that has no neighbour."""
    for places, sides in (({(0, 0)}, 4), ({(0, 0), (1, 0)}, 6), ({(0, 0), (1, 0), (0, 1)}, 8)):
        found = drawing._frame(places)
        assert len(found) == sides
        assert all(abs(a[0] - b[0]) < 1e-9 or abs(a[1] - b[1]) < 1e-9 for a, b in found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", figures.PICTURES)
def test_odd_chips(tmp_path: Path, kind: str) -> None:
    """One row, one core, no links, nothing to do."""
    floor = {"grid": [9, 1], "ports": [[0, 0]], "dead_cores": [], "dead_links": []}
    timing = RUN["timing"] | {"links": [], "ticks": RUN["timing"]["ticks"][:1]}
    core = {"id": 0, "x": 8, "y": 0, "layer": "fc", "sops": 0}
    run = pictures.read(kind, [write(tmp_path, changed(floorplan=floor, timing=timing, cores=[core]))])
    for form in plots.SUFFIXES:
        first, second = (pictures.draw(kind, run, form) for _ in range(2))
        assert first == second


def test_refused(tmp_path: Path) -> None:
    path = write(tmp_path, RUN)
    with pytest.raises(UsageError, match="takes one result; found 2 files"):
        pictures.read("map", [path, path])
    off = [{"id": 0, "x": 4, "y": 0, "layer": "a", "sops": 1}]
    for content in (
        [],
        {"schema": "qsnnc-results/1"},
        changed(floorplan=None),
        changed(cores=off),
        changed(cores=[{}]),
        changed(cores=None),
        changed(timing=RUN["timing"] | {"links": [[0, 0, "up", 1, 1]]}),
        changed(timing={"mode": "cycle"}),
        changed(images="many"),
        changed(images=0),
        changed(floorplan=RUN["floorplan"] | {"grid": [4, 10**9]}),
        changed(cores=[{"id": 0, "x": 0, "y": 0, "layer": "a", "sops": float("nan")}]),
    ):
        with pytest.raises(InputError):
            pictures.read("map", [write(tmp_path, content)])
    (tmp_path / "text").write_text("not JSON")
    for name in ("text", "none"):
        with pytest.raises(InputError):
            pictures.read("map", [str(tmp_path / name)])


@pytest.mark.slow
def test_a_run_holds_what_is_drawn(small, tmp_path: Path) -> None:
    """The links of the JSON add up to its hops, the largest is the busiest, and the three figures can be drawn."""
    compiled, _, data = small
    images = Dataset("random", "test", data.images, None)
    content = chipsim.run(compiled.mapping, images).to_json()
    content |= chipsim.profile_json(chipsim.profile(compiled.mapping, images))
    timing, floor = content["timing"], content["floorplan"]
    assert floor == {
        "grid": [6, 6],
        "ports": [list(p) for p in compiled.mapping.chip.ports],
        "dead_cores": [],
        "dead_links": [],
    }
    flits, ingress = np.array([link[3:] for link in timing["links"]]).T
    assert flits.sum() == pytest.approx(timing["chip_hops"])
    assert ingress.sum() == pytest.approx(timing["host_hops"])
    assert flits.max() == timing["busiest_link"] > 0
    at = timing["links"][int(flits.argmax())]
    assert at[:3] == [timing["busiest_link_at"][key] for key in ("x", "y", "side")]
    for kind in figures.PICTURES:
        drawn = texts(kind, tmp_path, content)
        assert all(layer["name"] in drawn for layer in content["layers"]) or kind == "links"


@pytest.mark.slow
def test_the_verb(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from chipsim.cli import main

    path = write(tmp_path, RUN)
    monkeypatch.chdir(tmp_path)
    for words, code, said in (
        (("map", path, "-o", "m.svg"), 0, f"m.svg: map of {path}"),
        (("ticks", path, "-q"), 0, ""),
        (("links",), 2, "plot: links needs a result"),
        (("links", path, path), 2, "plot: links takes one result"),
        (("chip", path), 2, "KIND: unknown figure 'chip'; expected map, links, ticks, sparsity, sops, accuracy"),
        (("map", "none.json"), 3, "none.json: cannot be read"),
    ):
        monkeypatch.setattr("sys.argv", ["chipsim", "plot", *words])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capfd.readouterr().err
        assert (left.value.code, (not code or unlabelled(printed).startswith(said))) == (code, True), printed
    assert (tmp_path / "m.svg").exists()
    assert (tmp_path / "ticks.png").exists()
