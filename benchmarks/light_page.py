"""A page in a real Chromium, for what it costs the server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Page, sync_playwright

__all__ = ["SWITCH", "Viewed", "open_page"]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
# A headless browser has no other tab to switch to, so this sets what the page would see after a switch.
SWITCH = """state => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
  Object.defineProperty(document, "hidden", { configurable: true, get: () => state === "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@dataclass(frozen=True, slots=True)
class Viewed:
    """An open page."""

    page: Page

    def show(self, *, is_hidden: bool) -> None:
        """Switch to this page, or to another tab."""
        self.page.evaluate(SWITCH, "hidden" if is_hidden else "visible")


@contextmanager
def open_page(url: str) -> Iterator[Viewed | None]:
    """The page at this address; None if there is no browser."""
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        page = browser.new_page()
        page.goto(url)
        yield Viewed(page)
        browser.close()
