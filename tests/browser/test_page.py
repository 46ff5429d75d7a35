"""The page in a real Chromium: a sweep's curves are seen growing while it trains."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.smoke, pytest.mark.timeout(180)]

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


@contextmanager
def opened(url: str, *, width: int, height: int, scheme: str) -> Iterator[tuple[Page, list[str]]]:
    """The page at `url`, and what it complained of."""
    assert CHROMIUM, "install chromium to run the page's tests"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda message: (
                    complaints.append(message.text) if message.type == "error" else None
                ),
            )
            page.goto(url)
            yield page, complaints
        finally:
            browser.close()


@contextmanager
def training(up: Up, seconds: int) -> Iterator[None]:
    """`penstock demo` in another process."""
    command = [sys.executable, "-m", "penstock.cli", "demo", "--seconds", str(seconds)]
    process = subprocess.Popen([*command, "--runs", "3"], env=up.environ, stdout=subprocess.DEVNULL)
    try:
        yield
        assert process.wait(90) == 0
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(10)


def test_curves_grow_while_a_sweep_trains(tmp_path: Path) -> None:
    with (
        running_up(tmp_path) as up,
        opened(up.url, width=1440, height=900, scheme="light") as found,
    ):
        page, complaints = found
        # A page that is open before the first run finds it by itself.
        page.get_by_text("penstock demo").first.wait_for()
        with training(up, seconds=20):
            panel = page.locator("[data-key='train/loss'], [aria-label*='train/loss']").first
            panel.wait_for(timeout=30_000)
            panel.scroll_into_view_if_needed()
            canvas = panel.locator("canvas").first
            canvas.wait_for()
            first = panel.screenshot()
            seen = {first}

            def has_grown_twice() -> bool:
                page.wait_for_timeout(250)
                seen.add(panel.screenshot())
                return len(seen) >= 3

            wait_until(has_grown_twice, 30)
        page.screenshot(path=str(tmp_path / "light.png"))
        runs = up.get("/v1/projects/local/demo/runs")["runs"]
        assert len(runs) == 3
        for run in runs:
            page.get_by_text(run["name"]).first.wait_for()
        assert not complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(tmp_path: Path, scheme: str) -> None:
    with running_up(tmp_path) as up:
        body = {
            "project": "phone",
            "run": "r",
            "rows": [{"step": i, "train/loss": 1 / (i + 1)} for i in range(200)],
        }
        up.post("/v1/batches", body)
        with opened(up.url, width=390, height=844, scheme=scheme) as (page, complaints):
            page.locator("canvas").first.wait_for(timeout=20_000)
            width = page.evaluate("() => document.documentElement.scrollWidth")
            assert width <= 390
            assert not complaints


def test_the_login_is_asked_for_and_let_in(tmp_path: Path) -> None:
    with running_up(tmp_path, "--require-login") as up:
        up.post("/v1/batches", {"project": "p", "run": "r", "rows": [{"step": 0, "a": 1}]})
        with opened(up.url, width=1440, height=900, scheme="light") as (page, _):
            field = page.locator("input[type=password]").first
            field.wait_for()
            field.fill(up.api_key)
            field.press("Enter")
            page.locator("canvas").first.wait_for(timeout=20_000)
