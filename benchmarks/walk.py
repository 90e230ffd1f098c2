"""A stranger's walk, timed: ``python benchmarks/walk.py``.

1. From a clone to the page of the LeNet in two commands: ``make demo``, and opening ``demo.html``; pip is told apart.
2. Which core computes channel 3 at (5, 7) of conv2: three clicks in chromium, and the mapping asked the same.
3. From a refusal to a network that fits: the command that the refusal prints, and the first command that this one prints for
   the same chip.

Needs git, make, a network or a cache that pip installs from, chromium and chromedriver. ``--clone DIR`` walks through a
clone that is there already, with ``.venv``.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from support.browser import Browser  # noqa: E402

LAYER, CHANNEL, ROW, COLUMN = "conv2", 3, 5, 7
REFUSED = "qsnnc compile models/lenet-k1b4.onnx -o k1b4.map"
Found = TypeVar("Found")


def timed(said: str, call: Callable[[], Found]) -> Found:
    """Print the seconds of a call."""
    start = time.perf_counter()
    found = call()
    print(f"{time.perf_counter() - start:7.1f} s  {said}", flush=True)
    return found


def shell(command: str, folder: Path, code: int = 0) -> str:
    """Run a command line in the clone, with its environment first on the path; return what it printed."""
    line = f'export PATH="$PWD/.venv/bin:$PATH"; {command}'
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def to_the_page(clone: Path, browser: Browser) -> None:
    """`make demo`, then the page."""
    timed("make demo: of it the environment (pip)", lambda: shell("make .venv/installed", clone))
    timed("make demo: the rest", lambda: shell("make demo", clone))
    timed("opening demo.html, until all is drawn", lambda: browser.open(clone / "demo.html"))


def to_the_core(clone: Path, browser: Browser) -> None:
    """Three clicks, and what the mapping says."""

    def walk() -> None:
        browser.clicks = 0
        number = browser.script(
            "return [...document.querySelectorAll('[data-population]')].findIndex((e) => e.title === arguments[0])", LAYER
        )
        browser.click(f"[data-population='{number}']")
        browser.wait(f"return document.querySelector('[data-channel=\"{CHANNEL}\"]')")
        browser.click(f"[data-channel='{CHANNEL}']")
        pressed = f"return document.querySelector('[data-channel=\"{CHANNEL}\"]').getAttribute('aria-pressed') === 'true'"
        browser.wait(pressed)
        size = browser.one("#feature-map").size
        browser.click_at("#feature-map", (COLUMN + 0.5) * size["width"] / 24, (ROW + 0.5) * size["height"] / 24)
        browser.wait("return document.querySelector('#answer')")

    timed(f"which core computes channel {CHANNEL} at ({ROW}, {COLUMN}) of {LAYER}", walk)
    said = browser.text("#answer")
    print(f"           {browser.clicks} clicks: {said}")
    program = (
        "import numpy as np, chipsim; m = chipsim.read_mapping('demo.map'); "
        f"at = [p.name for p in m.layers].index('{LAYER}'); p = m.layers[at]; "
        f"element = int(np.ravel_multi_index(({CHANNEL}, {ROW}, {COLUMN}), p.shape)) * p.levels; "
        "owner = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset)); "
        "core = int(owner[(m.core_layer[owner] == at) & (m.neuron_element == element)][0]); "
        "print('core', core, 'at', tuple(m.core_position[core].tolist()))"
    )
    wanted = shell(f"python -c {shlex.quote(program)}", clone).strip()
    assert f": {wanted}, neuron" in said, (wanted, said)
    print(f"           the mapping says: {wanted}")


def to_a_network_that_fits(clone: Path) -> None:
    """The command that a refusal prints, and the first one that it prints for the same chip."""
    refusal = timed(f"{REFUSED}: refused", lambda: shell(REFUSED, clone, 4))
    search = re.search(r"^next: (qsnnc fit .*)$", refusal, re.MULTILINE)
    assert search, refusal
    found = timed(f"1. {search[1]}", lambda: shell(search[1], clone))
    commands = [line.strip() for line in found.splitlines() if line.strip().startswith("qsnnc compile ")]
    same = next(line for line in commands if "--chip xbar1152 " in line)
    done = timed(f"2. {same}", lambda: shell(same, clone))
    print("           " + done.strip().splitlines()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clone", type=Path, metavar="DIR")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        clone = given.clone or Path(name) / "clone"
        if given.clone is None:
            timed(
                "git clone",
                lambda: shell(f"git clone --quiet {shlex.quote(str(ROOT))} {shlex.quote(str(clone))}", Path(name)),
            )
        browser = Browser(Path(name) / "profile", width=1500, height=1120)
        try:
            to_the_page(clone, browser)
            to_the_core(clone, browser)
        finally:
            browser.close()
        to_a_network_that_fits(clone)


if __name__ == "__main__":
    main()
