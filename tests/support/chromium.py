"""A real Chromium for the page's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """The installed one, which speaks to nobody by itself."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    assert path, "install chromium to run the page's tests"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_QUIET, *arguments])
        yield browser
        browser.close()
