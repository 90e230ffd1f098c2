"""The page in chromium: its size, how soon the chip is drawn, how long a frame of a zoom takes; and pictures for the docs.

``python benchmarks/page.py`` measures the LeNet (mappings/lenet-xbar1152.map) and a mapping of 10,000 cores.
``python benchmarks/page.py --screenshots docs/figures`` writes page-light.png and page-dark.png of the LeNet's run on the
digits. Both need chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import chipsim
from chipsim.datasets import load_dataset
from chipsim.options import RunOptions
from chipsim.report.page import Evidence, page

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
    frames = sorted(browser.driver.execute_async_script(ZOOM))
    print(f"{name}: {len(text) / 1e6:.2f} MB, chip drawn {drawn} ms after the page was asked for; a frame of a zoom takes "
          f"{frames[len(frames) // 2]:.0f} ms (median), {frames[-1]:.0f} ms (longest)")  # fmt: skip


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
            chipsim.write_mapping(large_mapping(), folder / "large.map")
            measure(browser, "10,000 cores", page(folder / "large.map"), folder)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
