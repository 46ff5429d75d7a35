"""The page in a real Chromium: curves grow while a sweep is running."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from benchmarks.light_page import SWITCH
from browser.sweep import Open
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


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


@pytest.mark.smoke
def test_curves_grow_while_a_sweep_trains(tmp_path: Path, open_page: Open) -> None:
    with running_up(tmp_path) as up:
        page = open_page(up.url)
        # A page that is open before the first run shows it automatically.
        page.get_by_text("penstock demo").first.wait_for()
        with training(up, seconds=20):
            panel = page.locator("[data-panel='train/loss']")
            panel.wait_for(timeout=30_000)
            panel.scroll_into_view_if_needed()
            panel.locator("canvas").first.wait_for()
            seen = {panel.screenshot()}

            def has_grown_twice() -> bool:
                page.wait_for_timeout(250)
                seen.add(panel.screenshot())
                return len(seen) >= 3

            wait_until(has_grown_twice, 30)
        runs = up.get("/v1/projects/local/demo/runs")["runs"]
        assert len(runs) == 3
        for run in runs:
            page.get_by_role("link", name=run["name"]).first.wait_for()
        page.context.close()


@pytest.mark.smoke
def test_a_hidden_page_asks_for_nothing_and_catches_up(tmp_path: Path, open_page: Open) -> None:
    with running_up(tmp_path) as up:

        def log(step: int, key: str) -> None:
            rows = [{"step": step, key: 1.0}]
            up.post("/v1/batches", {"project": "p", "run": "r", "rows": rows})
            keys = "/v1/projects/local/p/keys"
            wait_until(lambda: key in [each["key"] for each in up.get(keys)["keys"]], 20)

        log(0, "early")
        page = open_page(f"{up.url}/?project=local/p")
        page.locator("[data-panel='early'] canvas").first.wait_for()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        with page.expect_event("requestfailed", lambda request: "/events" in request.url):
            page.evaluate(SWITCH, "hidden")
        asked.clear()
        log(1, "late")
        page.wait_for_timeout(2_000)
        assert asked == []
        assert page.locator("[data-panel='late']").count() == 0
        page.evaluate(SWITCH, "visible")
        page.locator("[data-panel='late'] canvas").first.wait_for()
        page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["", "&view=table", "&run=run-001", "&compare=run-001"])
def test_every_page_fits_a_phone(sweep_url: str, open_page: Open, scheme: str, place: str) -> None:
    page = open_page(sweep_url + place, scheme=scheme, width=390, height=844)
    page.get_by_text("trial 1").first.wait_for(state="attached")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_the_login_is_asked_for_let_in_and_ended(tmp_path: Path, open_page: Open) -> None:
    with running_up(tmp_path, "--require-login") as up:
        up.post("/v1/batches", {"project": "p", "run": "r", "rows": [{"step": 0, "a": 1}]})
        page = open_page(up.url, expected="401")
        field = page.get_by_label("API key")
        field.fill(up.api_key)
        field.press("Enter")
        page.locator("canvas").first.wait_for()
        page.get_by_role("button", name="Log out").click()
        field.wait_for()
        page.reload()
        field.wait_for()
        page.context.close()
