"""A real Chromium, and a sweep of runs, served by a real `penstock up`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.sweep import RUNS, Open, run_body
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize
from support.chromium import chromium
from support.up import Up, running_up, wait_until


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens pages. After the test, no page may have logged an error other than `expected`."""
    complaints: list[str] = []

    def open_page(
        url: str,
        *,
        scheme: str = "light",
        width: int = 1440,
        height: int = 900,
        expected: str | None = None,
    ) -> Page:
        page = browser.new_context(
            viewport=ViewportSize(width=width, height=height),
            color_scheme="dark" if scheme == "dark" else "light",
        ).new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def note(message: ConsoleMessage) -> None:
            is_expected = expected is not None and expected in message.text
            if message.type == "error" and not is_expected:
                complaints.append(message.text)

        page.on("console", note)
        page.goto(url)
        return page

    yield open_page
    assert complaints == []


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A project `sweep` of `RUNS` runs, oldest first, each with a lower loss than the one before."""
    with running_up(tmp_path_factory.mktemp("sweep")) as up:
        for number in range(RUNS):
            up.post("/v1/batches", run_body(number))
        wait_until(lambda: has_all(up), 60)
        yield up


@pytest.fixture
def sweep_url(sweep: Up) -> str:
    """Address of the sweep's page; append further parameters with `&`."""
    return f"{sweep.url}/?project=local/sweep"


def has_all(up: Up) -> bool:
    """Whether the whole sweep can be read."""
    projects = up.get("/v1/projects")["projects"]
    if [project["runs"] for project in projects] != [RUNS]:
        return False
    keys = up.get("/v1/projects/local/sweep/keys")["keys"]
    return [key["runs"] for key in keys] == [RUNS] * 3
