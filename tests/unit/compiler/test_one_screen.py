"""What compile, check and run print fits one screen, whatever the network is like."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import call_text, qsnnc
from support.networks import Builder
from support.places import MODELS, ZOO
from support.screens import on_one_screen

import chipsim
from chipsim import screen
from chipsim.report.screen import run_screen
from qsnnc import check
from qsnnc.explain.screen import compilation_screen
from qsnnc.explain.tables import MOST_SPANS, compilation_json, compilation_tables
from qsnnc.ir.uncertain import UncertainThresholds

LONG = "/model/features/stage_3/block_12/" + "conv" * 40 + "\x1b[2J"


def deep(layers: int, name: str = LONG) -> Builder:
    net = Builder((1, 6, 6))
    for number in range(layers):
        net.conv(f"{name}{number}", np.array([[[[1.0]]]]))
        net.quantize(f"{name}q{number}", 0, 2)
    net.flatten()
    net.gemm("fc", np.tile([[1.0], [-1.0]], (1, 36)))
    return net


@pytest.mark.slow
def test_thirty_layers_with_long_names_are_folded(save, tmp_path: Path) -> None:
    path = save(deep(31).model(), f"{'long' * 30}.onnx")
    for chip in ("xbar1152", "mini"):
        found = check(path, chip)
        text = compilation_screen(found, str(path), "x" * 200)
        on_one_screen(text)
        assert re.search(r"^(1[78]|20) more layers ", text, re.MULTILINE), text
    done = qsnnc("compile", path, "-o", "a.map", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    on_one_screen(done.stdout)
    images = np.ones((3, 1, 6, 6), np.uint8)
    np.savez(tmp_path / "d.npz", images=images, labels=np.zeros(3, np.int64))
    for more in ((), ("--timing", "cycle"), ("--noise", "0.5")):
        run = call_text("chipsim", "run", "a.map", "--dataset", "d.npz", *more, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        on_one_screen(run.stdout)
        assert run.stdout.startswith("accuracy: ")
    everything = call_text("chipsim", "run", "a.map", "--dataset", "d.npz", "--verbose", cwd=tmp_path).stdout
    assert len(everything.splitlines()) > screen.HEIGHT


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted(path for path in MODELS.glob("*.onnx") if "fp32" not in path.stem), ids=lambda path: path.stem
)
@pytest.mark.parametrize("chip", ["xbar1152", "mini"])
def test_every_trained_network(path: Path, chip: str) -> None:
    on_one_screen(compilation_screen(check(path, chip), str(path)))


def test_a_run_without_labels_says_so() -> None:
    net = chipsim.MappingBuilder("mini")
    net.core(net.readout("scores", 2), net.input(3), np.ones((3, 2), int))
    images = chipsim.Dataset("hand", "test", np.ones((2, 3), np.float32), None)
    text = run_screen(chipsim.run(net.build(), images), "hand.map")
    on_one_screen(text)
    assert text.startswith("accuracy: unknown (the images have no labels), 2 images (hand.map on chip")


@given(st.lists(st.text(max_size=300), max_size=60), st.integers(3, 12))
def test_whatever_lines_there_are(lines: list[str], most: int) -> None:
    part = screen.some(lines, most, "notes")
    assert len(part) <= most
    on_one_screen(screen.screen(["head"], part, screen.table(("a", "b"), [(line, "1") for line in lines]), part))


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(2, 20))
def test_the_largest_stay(sizes: list[int], most: int) -> None:
    shown = screen.largest(sizes, most)
    assert len(shown) <= most
    assert shown == sorted(shown)
    rest = [size for at, size in enumerate(sizes) if at not in set(shown)]
    assert not rest or max(rest) <= min(sizes[at] for at in shown)
    assert len(rest) != 1 or len(sizes) <= most + 1


def test_the_screen_writes_out_no_uncertain_threshold(save, monkeypatch: pytest.MonkeyPatch) -> None:
    """An 8-bit network has millions; only the JSON lists some."""

    def written_out(thresholds: UncertainThresholds, most: int) -> list[dict[str, object]]:
        raise AssertionError(f"{len(thresholds)} thresholds are written out")

    monkeypatch.setattr(UncertainThresholds, "to_json", written_out)
    path = save(deep(3, "conv").model())
    found = check(path)
    assert compilation_screen(found, str(path))
    assert compilation_tables(found)
    with pytest.raises(AssertionError, match="written out"):
        compilation_json(found)


def test_the_json_lists_the_first_of_many_uncertain_thresholds(save) -> None:
    rng = np.random.default_rng(1)
    net = Builder((1, 4, 4))
    net.conv("stem", rng.normal(0, 1, (8, 1, 3, 3)), pads=[1] * 4)
    net.quantize("stem/quant", 0, 200)
    net.conv("wide", rng.integers(-100, 101, (6, 8, 3, 3)) / 12_000, rng.normal(0, 1, 6), pads=[1] * 4)
    net.quantize("wide/quant", 0, 200)
    net.flatten()
    net.gemm("head", rng.integers(-3, 4, (2, 96)).astype(float))
    found = check(save(net.model()))
    row, layer = compilation_json(found)["layers"][0], found.layers[0].layer
    assert len(layer.uncertain) > MOST_SPANS
    assert row["uncertain_thresholds"] == layer.uncertain.to_json()[:MOST_SPANS]
    assert row["uncertain_total"] == layer.uncertain.total_json()


def test_a_network_that_is_refused_before_a_layer_is_laid_out_has_a_screen() -> None:
    path = ZOO / "ort_qdq_u16_s8.onnx"  # 65,535 levels
    found = check(path, "paicore25")
    assert not found.fits
    assert not found.layers
    text = compilation_screen(found, str(path))
    on_one_screen(text)
    assert text.startswith("ort_qdq_u16_s8.onnx does not fit: chip 'paicore25' has 63 cores\n")
    assert "error[cores]: c1" in text
