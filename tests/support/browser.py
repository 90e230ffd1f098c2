"""A page in a real browser: Debian's chromium (packages chromium and chromium-driver) or another, through selenium."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def programs() -> tuple[str, str]:
    """Paths of a browser and its driver; tests that need them are skipped where there are none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("the page is tested in chromium, which is not here: apt-get install chromium chromium-driver")
    return browser, driver


class Browser:
    """A browser with one page."""

    def __init__(self, profile: Path, *, width: int = 1600, height: int = 1200) -> None:
        program, driver = programs()
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.clicks = 0
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def open(self, page: Path) -> None:
        """Load a page and wait until it has drawn everything."""
        self.driver.get_log("browser")  # of the page before
        self.driver.get(page.as_uri())
        self.wait("return document.documentElement.dataset.ready !== undefined || !failure.hidden")
        assert not self.script("return failure.hidden ? '' : failure.textContent")

    def wait(self, script: str, seconds: float = 30) -> Any:
        """Wait until a script returns something true."""
        last = time.monotonic() + seconds
        while not (found := self.script(script)):
            assert time.monotonic() < last, f"never true: {script}"
            time.sleep(0.02)
        return found

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def console(self) -> list[str]:
        """What the page wrote to the console since the last call: errors and warnings."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.script("return document.querySelector(arguments[0]).textContent", selector))

    def click(self, selector: str) -> None:
        self.one(selector).click()
        self.clicks += 1

    def click_at(self, selector: str, x: float, y: float) -> None:
        """Click a point of an element, pixels from its corner."""
        element = self.one(selector)
        size = element.size
        actions = ActionChains(self.driver, duration=0)
        actions.move_to_element_with_offset(element, round(x - size["width"] / 2), round(y - size["height"] / 2))
        actions.click().perform()
        self.clicks += 1

    def table(self, title: str) -> list[dict[str, str]]:
        """Rows of a table as their unrounded values."""
        script = """
            const box = document.querySelector(`[data-table="${arguments[0]}"]`);
            const names = [...box.querySelectorAll("th")].map((th) => th.textContent);
            return [...box.querySelectorAll("tbody tr")].map((tr) =>
                Object.fromEntries([...tr.children].map((td, i) => [names[i], td.dataset.value])));
        """
        return list(self.script(script, title))

    def close(self) -> None:
        self.driver.quit()
