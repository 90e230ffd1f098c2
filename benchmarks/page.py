"""The page in chromium: its size, how soon the chip is drawn, how long a frame of a zoom takes; and pictures for the docs.

``python benchmarks/page.py`` measures the LeNet (mappings/lenet-xbar1152.map), 10,000 cores of 256 axons each, and the 9,745
cores (1,046 axons each on average) of a network that is compiled for it, which takes a minute.
``python benchmarks/page.py --screenshots docs/figures`` writes page-light.png and page-dark.png of the LeNet's run on the
digits. Both need chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from compile_scale import network

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import load_dataset
from chipsim.options import RunOptions
from chipsim.report.page import Evidence, page
from qsnnc import compile_model
from qsnnc.options import Placing

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from support.browser import Browser  # noqa: E402
from support.large_map import large_mapping  # noqa: E402

LENET = ROOT / "mappings" / "lenet-xbar1152.map"
#: milliseconds of each of 60 steps of a zoom, drawn one after the other
ZOOM = """
    const chip = document.getElementById("chip"), key = (k) => chip.dispatchEvent(new KeyboardEvent("keydown", {key: k}));
    const done = arguments[0], frames = [];
    let step = 0, last = performance.now();
    const next = () => {
        const now = performance.now();
        frames.push(now - last);
        last = now;
        if (step++ < 60) { key(step % 20 < 10 ? "+" : "-"); requestAnimationFrame(next); } else done(frames.slice(2));
    };
    requestAnimationFrame(next);
"""


def measure(browser: Browser, name: str, text: str, folder: Path) -> None:
    """Print the size of a page, when its chip was drawn, and the frames of a zoom."""
    file = folder / f"{name}.html"
    file.write_text(text)
    browser.open(file)
    drawn = int(browser.script("return document.documentElement.dataset.chipDrawn"))
    print(f"{name}: {len(text) / 1e6:.2f} MB, chip drawn {drawn} ms after the page was asked for; {zoom(browser)}")
    if browser.script("return !document.getElementById('links-option').hidden"):
        browser.click("#links")
        print(f"{name}, links by load: {zoom(browser)}")


def zoom(browser: Browser) -> str:
    """Say how long the frames of a zoom take."""
    frames = sorted(browser.driver.execute_async_script(ZOOM))
    return f"a frame of a zoom takes {frames[len(frames) // 2]:.0f} ms (median), {frames[-1]:.0f} ms (longest)"


def lenet_run(folder: Path) -> Evidence:
    """Run the LeNet on the digits with cycles of 20 images."""
    digits = load_dataset("digits")
    value = chipsim.run(LENET, digits).to_json()
    value |= chipsim.profile_json(chipsim.profile(LENET, digits, RunOptions(), limit=20))
    path = folder / "run.json"
    path.write_text(json.dumps(value))
    return Evidence(run=str(path), model=str(ROOT / "models" / "lenet.onnx"), dataset=digits)


def screenshots(browser: Browser, file: Path, folder: Path) -> None:
    """Write the first screen in light and dark, with the core that computes channel 3 at (5, 7) of conv2."""
    browser.open(file)
    if browser.script("return document.documentElement.dataset.theme") == "dark":
        browser.click("#theme")
    browser.click("[data-population='1']")
    browser.wait("return document.querySelector('[data-channel=\"3\"]')")
    browser.click("[data-channel='3']")
    browser.wait("return document.querySelector('[data-channel=\"3\"]').getAttribute('aria-pressed') === 'true'")
    size = browser.one("#feature-map").size
    browser.click_at("#feature-map", 7.5 * size["width"] / 24, 5.5 * size["height"] / 24)
    browser.wait("return document.querySelector('#core-panel .use')")
    browser.script("scrollTo(0, 0); document.activeElement.blur()")
    print(browser.text("#answer"))
    browser.driver.save_screenshot(str(folder / "page-light.png"))
    browser.click("#theme")
    browser.script("metric.value = 'sops'; metric.dispatchEvent(new Event('change'))")
    browser.click("#links")
    browser.script("tick.value = 2; tick.dispatchEvent(new Event('input')); return new Promise(requestAnimationFrame)")
    browser.driver.save_screenshot(str(folder / "page-dark.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screenshots", type=Path, metavar="DIR")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        browser = Browser(folder / "profile", width=1500, height=1120)
        try:
            text = page(LENET, lenet_run(folder))
            if given.screenshots:
                (folder / "lenet.html").write_text(text)
                screenshots(browser, folder / "lenet.html", given.screenshots)
                return
            measure(browser, "lenet", text, folder)
            chipsim.write_mapping(large_mapping(neurons=256), folder / "large.map")
            measure(browser, "10,000 cores", page(folder / "large.map"), folder)
            chip = load_chip("xbar1152").model_copy(update={"grid": (100, 100)})
            compiled = compile_model(network(88, 5), chip, placing=Placing(effort=0))
            chipsim.write_mapping(compiled.mapping, folder / "compiled.map")
            name = f"{compiled.cores:,} cores, {len(compiled.mapping.axon_source):,} axons"
            measure(browser, name, page(folder / "compiled.map"), folder)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
