"""`/authorize`, where the `wandb` client sends users for a key, and the links that it prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from browser.sweep import Open
from playwright.sync_api import Page, expect
from support.up import Up, running_up

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("authorize")) as up:
        up.post("/v1/runs", {"project": "a project", "run": "r1", "name": "the run"})
        yield up


def log_in(page: Page, key: str) -> None:
    page.get_by_role("button", name="Log in with an API key").click()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in", exact=True).click()


def entity_of(up: Up, key: str) -> str:
    request = Request(f"{up.url}/v1/viewer", headers={"Authorization": f"Bearer {key}"})
    with urlopen(request, timeout=10) as reply:
        return str(reply.read(), "utf-8")


def test_a_visitor_is_shown_no_key(up: Up, open_page: Open) -> None:
    page = open_page(f"{up.url}/authorize?ref=models")
    expect(page.get_by_text("prints an API key when it starts")).to_be_visible()
    expect(page.get_by_role("button", name="Create key")).to_have_count(0)
    assert up.api_key not in page.content()


def test_a_key_is_created_after_login(up: Up, open_page: Open) -> None:
    page = open_page(f"{up.url}/authorize")
    log_in(page, up.api_key)
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("This key is shown only once")).to_be_visible()
    made = page.locator(".snippet pre").first.inner_text()
    assert made != up.api_key
    assert '"local"' in entity_of(up, made)
    expect(page.get_by_text(f"wandb login --host {up.url} {made}")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Create key")).to_be_visible()
    assert made not in page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits(up: Up, open_page: Open, width: int, scheme: str, tmp_path: Path) -> None:
    page = open_page(f"{up.url}/authorize", width=width, scheme=scheme)
    log_in(page, up.api_key)
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("This key is shown only once")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.screenshot(path=tmp_path / "authorize.png")


def test_addresses_that_the_client_prints(up: Up, open_page: Open) -> None:
    page = open_page(f"{up.url}/local/a%20project/runs/r1")
    expect(page.get_by_role("heading", name="the run")).to_be_visible()
    page.goto(f"{up.url}/local/a%20project")
    expect(page.get_by_text("the run").first).to_be_visible()
    page.goto(f"{up.url}/local/a%20project/sweeps/s1")
    expect(page.get_by_text("the run").first).to_be_visible()
