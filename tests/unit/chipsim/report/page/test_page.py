"""The page in a real browser: what it shows is what the mapping and the JSON hold."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from support.browser import Browser
from support.large_map import SIDE, large_mapping
from support.networks import Recipe, build
from support.places import ROOT

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from chipsim.errors import InputError
from chipsim.options import RunOptions
from chipsim.paicore import to_bytes
from chipsim.provenance import line
from chipsim.report.page import Evidence, page
from qsnnc import compile_model
from qsnnc.explain.inspect import inspect
from qsnnc.explain.tables import compilation_json

pytestmark = pytest.mark.slow
#: colours in the picture that paper gets of each figure
PRINTED = """
    return Object.fromEntries([...document.querySelectorAll("#figures .paper")].map((picture) => {
        const {data} = picture.getContext("2d").getImageData(0, 0, picture.width, picture.height), found = new Set();
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
        return [picture.closest("figure").dataset.figure, found.size];
    }));
"""
HOSTILE = "</script><img src=x onerror=window.hacked=1>{a|b}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with markup in the names of its tensors and nodes, and nothing else changed."""
    graph = model.graph
    kept = {entry.name for entry in (*graph.input, *graph.output)}
    for node in graph.node:
        node.name = f"{node.name}{HOSTILE}"
        for names in (node.input, node.output):
            names[:] = [name if name in kept else f"{name}{HOSTILE}" for name in names]
    for constant in graph.initializer:
        constant.name = f"{constant.name}{HOSTILE}"
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A small network whose names hold markup: mapping, JSON of compilation and run, and its page."""
    folder = tmp_path_factory.mktemp("page")
    chip = load_chip("mini").model_copy(update={"grid": (6, 6), "targets": 256, "dead_cores": ((5, 5),)})
    model = folder / "model.onnx"
    model.write_bytes(renamed(build(Recipe(6, 2, 1, 2, ("conv", "maxpool"), 3, seed=5, odd=True))).SerializeToString())
    compiled = compile_model(model, chip)
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 6)).astype(np.uint8)
    data = Dataset("random", "test", images, np.arange(12, dtype=np.int64) % 3)
    run = chipsim.run(compiled.mapping, data).to_json()
    run |= chipsim.profile_json(chipsim.profile(compiled.mapping, data, RunOptions(), limit=4))
    first, *rest = compiled.mapping.layers
    hostile = replace(compiled.mapping, layers=(replace(first, name=HOSTILE), *rest))
    for entry in (*run["layers"], *run["cores"], *run["energy"]["layers"]):
        for key in ("name", "layer"):
            if entry.get(key) == first.name:
                entry[key] = HOSTILE
    for tick in run["timing"]["ticks"]:
        tick["layers"] = [HOSTILE if name == first.name else name for name in tick["layers"]]
    file, result, built = folder / "net.map", folder / "run.json", folder / "compile.json"
    chipsim.write_mapping(hostile, file)
    run["provenance"]["map_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    result.write_text(json.dumps(run))
    built.write_text(json.dumps(compilation_json(compiled)))
    out = folder / "page.html"
    out.write_text(page(file, Evidence(run=str(result), compiled=str(built), model=str(model), dataset=data)))
    return SimpleNamespace(mapping=hostile, run=run, page=out, model=model, file=file, folder=folder)


@pytest.fixture
def opened(browser: Browser, made):
    browser.open(made.page)
    return browser


def core_point(browser: Browser, mapping, core: int) -> tuple[float, float]:
    """Where a core lies on the canvas."""
    left, top, scale = (float(browser.one("#chip").get_attribute(f"data-{name}")) for name in ("left", "top", "scale"))
    x, y = mapping.core_position[core].tolist()
    return left + (x + 0.5) * scale, top + (y + 0.5) * scale


def test_it_loads_without_an_error_and_without_the_network(opened: Browser, made) -> None:
    assert opened.console() == []
    assert opened.script("return performance.getEntriesByType('resource').map((e) => e.name)") == []
    policy = opened.one("meta[http-equiv]").get_attribute("content")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "://" not in made.page.read_text().split("<script>")[0]


def test_names_are_text(opened: Browser, made) -> None:
    assert opened.script("return window.hacked") is None
    assert opened.script("return document.images.length") == 0
    assert HOSTILE in opened.text(".layers")
    assert opened.table("Layers")[0]["layer"] == HOSTILE
    opened.one("#query").send_keys("conv")
    assert HOSTILE in opened.wait("return found.textContent")  # the nodes of the model
    assert opened.script("return window.hacked") is None


def test_every_core_is_drawn_where_it_is(opened: Browser, made) -> None:
    assert int(opened.one("#chip").get_attribute("data-drawn")) == made.mapping.cores
    colours = opened.script("""
        const pen = chip.getContext("2d"), {left, top, scale} = chip.dataset, found = [];
        for (let y = 0; y < 6; y++) for (let x = 0; x < 6; x++)
            found.push([...pen.getImageData(+left + (x + 0.3) * scale, +top + (y + 0.5) * scale, 1, 1).data].join());
        return found;
    """)
    used = {y * 6 + x for x, y in made.mapping.core_position.tolist()}
    empty = {colours[place] for place in range(36) if place not in used}
    assert len(empty) == 1
    assert {place for place, colour in enumerate(colours) if colour not in empty} == used


def test_a_click_shows_the_core(opened: Browser, made) -> None:
    cores = inspect(made.mapping)["cores"]
    for core in (0, made.mapping.cores - 1):
        opened.click_at("#chip", *core_point(opened, made.mapping, core))
        opened.wait(f"return document.querySelector('#core-panel h3')?.textContent.startsWith('Core {core} at ')")
        x, y = made.mapping.core_position[core].tolist()
        assert opened.text("#core-panel h3") == f"Core {core} at ({x}, {y})"
        for use in ("axons", "columns", "targets"):
            assert int(opened.one(f"[data-use={use}]").get_attribute("data-used")) == cores[core][use]


def test_a_core_shows_its_neurons_and_weights(opened: Browser, made) -> None:
    whole = inspect(made.mapping, core=0)["cores"][0]
    opened.click_at("#chip", *core_point(opened, made.mapping, 0))
    opened.wait("return document.querySelector('#core-panel details')")
    opened.click("#core-panel details summary")
    opened.wait("return document.querySelector('[data-table=\"Neurons of core 0\"]')")
    assert [int(row["threshold"]) for row in opened.table("Neurons of core 0")] == whole["thresholds"]
    opened.script("document.querySelector('.weights').scrollIntoView({block: 'center'})")
    size = opened.one(".weights").size
    rows, columns = len(whole["weights"]), len(whole["weights"][0])
    for axon, neuron in ((0, 0), (rows - 1, columns - 1), (rows // 2, columns // 3)):
        x, y = (neuron + 0.5) * size["width"] / columns, (axon + 0.5) * size["height"] / rows
        opened.click_at(".weights", x, y)
        opened.wait(f"return document.querySelector('#core-panel .readout').textContent.includes('axon {axon}:')")
        assert opened.text("#core-panel .readout").startswith(f"weight {whole['weights'][axon][neuron]}\n")


def test_from_an_element_to_its_core_in_three_clicks(opened: Browser, made) -> None:
    m = made.mapping
    _, rows, columns = m.layers[0].shape
    owner = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
    neuron = int(np.flatnonzero(m.core_layer[owner] == 0)[-1])
    feature, core = int(m.neuron_element[neuron]) // m.layers[0].levels, int(owner[neuron])
    channel, row, column = (int(at) for at in np.unravel_index(feature, m.layers[0].shape))
    opened.clicks = 0
    opened.click("[data-population='1']")
    opened.wait("return document.querySelector('[data-channel]')")
    opened.click(f"[data-channel='{channel}']")
    opened.wait(f"return document.querySelector('[data-channel=\"{channel}\"]').getAttribute('aria-pressed') === 'true'")
    size = opened.one("#feature-map").size
    opened.click_at("#feature-map", (column + 0.5) * size["width"] / columns, (row + 0.5) * size["height"] / rows)
    opened.wait("return document.querySelector('#answer')")
    x, y = m.core_position[core].tolist()
    where = f"channel {channel}, row {row}, column {column} of {HOSTILE}"
    assert opened.text("#answer").startswith(f"{where}: core {core} at ({x}, {y}), neuron")
    opened.wait(f"return document.querySelector('#core-panel h3')?.textContent.startsWith('Core {core} ')")
    assert opened.clicks == 3


def test_search_goes_both_ways(opened: Browser, made) -> None:
    m = made.mapping
    neuron = m.neurons - 1
    opened.one("#query").send_keys(f"neuron {neuron}")
    said = opened.wait("return found.textContent")
    assert f"core {m.cores - 1} at" in said
    assert m.layers[-1].name in said
    opened.click("#found button")
    opened.wait(f"return document.querySelector('#core-panel h3')?.textContent.startsWith('Core {m.cores - 1} ')")


def test_the_numbers_are_those_of_the_json(opened: Browser, made) -> None:
    run = made.run
    for title, key in (("Spikes by layer", "spikes in the run"), ("Synaptic operations by layer", "SOPs in the run")):
        name = key.split()[0].lower()
        shown = {row["layer"]: float(row[key]) for row in opened.table(title)}
        assert {layer["name"]: layer[name] for layer in run["layers"]}.items() <= shown.items()
    ticks = opened.table("Cycles by tick")
    assert [float(row["cycles"]) for row in ticks] == [tick["cycles"] for tick in run["timing"]["ticks"]]
    assert [float(row["sync"]) for row in ticks] == [tick["sync"] for tick in run["timing"]["ticks"]]
    parts = {row["part"]: float(row["pJ per image"]) for row in opened.table("Energy by part")}
    assert parts == run["energy"]["parts"]
    matrix = [[int(row[name]) for name in ("label", "prediction", "images")] for row in opened.table("Confusion matrix")]
    assert matrix == run["confusion"]
    assert [float(row["margin"]) for row in opened.table("Worst images")] == [row["margin"] for row in run["worst_images"]]
    cores = opened.table("Cores")
    for name in ("spikes", "sops", "axon_events"):
        assert [float(row[name.replace("_", " ")]) for row in cores] == [core[name] for core in run["cores"]]
    assert [float(row["pJ per image"]) for row in cores] == run["energy"]["cores"]
    whole = {row["key"]: row["value"] for row in opened.table("Run")}
    assert float(whole["accuracy"]) == run["accuracy"]
    assert float(whole["sops_per_image"]) == run["sops_per_image"]


def test_tables_sort_filter_and_copy(opened: Browser, made) -> None:
    box = "[data-table='Cores']"
    opened.script("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    number = [th.text for th in opened.one(box).find_elements("css selector", "th")].index("sops")
    opened.one(f"{box} th:nth-child({number + 1}) button").click()
    shown = [float(row["sops"]) for row in opened.table("Cores")]
    assert shown == sorted((core["sops"] for core in made.run["cores"]), reverse=True)
    last = made.mapping.layers[-1].name
    opened.one(f"{box} input").send_keys(last)
    assert {row["layer"] for row in opened.table("Cores")} == {last}
    opened.one(f"{box} .table-tools button").click()
    head, *rows = opened.wait("return window.copied").strip().split("\n")
    assert head.startswith("core,x,y,layer,")
    assert len(rows) == (made.mapping.core_layer == len(made.mapping.layers) - 1).sum()


def test_ticks_links_theme_keys_and_print(opened: Browser, made) -> None:
    slider = "tick.value = arguments[0]; tick.dispatchEvent(new Event('input'))"
    opened.script(slider, 1)
    assert f"{made.run['timing']['ticks'][1]['cycles']:,.0f}"[:3] in opened.text("#tick-said")
    before = opened.script("return chip.toDataURL()")
    opened.click("#links")
    opened.wait("return document.querySelector('#link-legend .ramp')")
    opened.script("return new Promise(requestAnimationFrame)")
    assert opened.script("return chip.toDataURL()") != before
    theme = opened.script("return document.documentElement.dataset.theme")
    opened.click("#theme")
    assert opened.script("return document.documentElement.dataset.theme") != theme
    opened.one("#chip").send_keys("\ue014")  # right
    opened.wait("return document.querySelector('#core-panel h3')?.textContent.startsWith('Core 0 ')")
    if opened.script("return document.documentElement.dataset.theme") == "light":
        opened.click("#theme")
    at_once, later = opened.script("""
        window.dispatchEvent(new Event("beforeprint"));
        const now = chip.toDataURL(), frame = () => new Promise(requestAnimationFrame);
        return frame().then(frame).then(() => [now, chip.toDataURL()]);
    """)
    assert at_once == later  # no frame is drawn before the paper is
    assert opened.script("return document.querySelectorAll('#figures details:not([open])').length") == 0
    assert opened.script("return document.documentElement.dataset.theme") == "light"
    pictures = opened.script(PRINTED)
    assert pictures.keys() >= {"Confusion matrix", "Spikes by layer", "Energy by part"}
    assert all(colours > 3 for colours in pictures.values()), pictures
    opened.script("window.dispatchEvent(new Event('afterprint'))")
    assert opened.script("return document.querySelectorAll('.paper').length") == 0
    assert opened.console() == []


def test_ten_thousand_cores(browser: Browser, tmp_path: Path) -> None:
    mapping = large_mapping()
    chipsim.write_mapping(mapping, tmp_path / "large.map")
    text = page(tmp_path / "large.map")
    assert len(text) < 2_000_000
    (tmp_path / "page.html").write_text(text)
    browser.open(tmp_path / "page.html")
    assert int(browser.one("#chip").get_attribute("data-drawn")) == SIDE * SIDE
    browser.click_at("#chip", *core_point(browser, mapping, 5050))
    browser.wait("return document.querySelector('#core-panel h3')?.textContent === 'Core 5050 at (50, 50)'")
    assert browser.console() == []


def test_a_paicore(browser: Browser, tmp_path: Path) -> None:
    program = compile_model(ROOT / "models" / "lenet-k0b1.onnx", "paicore25").mapping
    (tmp_path / "net.paicore").write_bytes(to_bytes(program))
    (tmp_path / "page.html").write_text(page(tmp_path / "net.paicore"))
    browser.open(tmp_path / "page.html")
    assert int(browser.one("#chip").get_attribute("data-drawn")) == len(program.cores)
    shown = browser.table("Cores")
    for name in ("records", "parameters", "potentials", "weights"):
        assert [int(row[f"{name} rows"]) for row in shown] == [getattr(core, name) for core in program.cores]
    browser.one("#query").send_keys("core 0")
    browser.wait("return found.textContent")
    browser.click("#found button")
    browser.wait("return document.querySelector('#core-panel .weights')")
    assert int(browser.one("[data-use=rows]").get_attribute("data-used")) == int(shown[0]["rows"])
    assert browser.console() == []


def test_the_run_of_another_mapping_of_the_same_model_is_refused(made) -> None:
    other = made.folder / "other.json"
    other.write_text(json.dumps({**made.run, "provenance": {**made.run["provenance"], "map_sha256": "0" * 64}}))
    with pytest.raises(InputError, match="belongs to the mapping 000000000000") as caught:
        page(made.file, Evidence(run=str(other)))
    assert caught.value.code == "page-other"


def test_the_page_says_what_made_the_run(opened: Browser, made) -> None:
    assert opened.text("#made") == line(made.run["provenance"])
    assert hashlib.sha256(made.file.read_bytes()).hexdigest() in opened.text("#footer")
