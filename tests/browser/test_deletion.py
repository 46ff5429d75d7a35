"""Runs are edited and deleted on one page, and another page follows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.sweep import Open, run_body
from playwright.sync_api import Page, expect
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

PROJECT = "/v1/projects/local/sweep"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("deletion")) as up:
        for number in range(4):
            up.post("/v1/batches", run_body(number))
        wait_until(lambda: up.get("/v1/projects")["projects"], 60)
        wait_until(lambda: up.get(f"{PROJECT}/runs")["total"] == 4, 60)
        yield up


def log_in(page: Page, up: Up) -> None:
    page.get_by_role("button", name="Log in to edit or delete").click()
    page.get_by_label("API key").fill(up.api_key)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Edit").wait_for()


@pytest.mark.smoke
def test_a_run_is_renamed_and_deleted_for_every_page(site: Up, open_page: Open) -> None:
    url = f"{site.url}/?project=local/sweep"
    other = open_page(url)
    row = other.locator("li[data-run='run-002']")
    expect(row).to_be_visible()
    page = open_page(f"{url}&run=run-002", expected="410")
    log_in(page, site)
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Name").fill("the best of them")
    page.get_by_label("Tags").fill("kept, final")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="the best of them")).to_be_visible()
    expect(page.locator(".tag")).to_have_text(["kept", "final"])
    expect(row).to_contain_text("the best of them")
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("the best of them")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert site.get(f"{PROJECT}/runs")["total"] == 4
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete run").click()
    expect(page.locator("li[data-run]")).to_have_count(3)
    expect(row).to_have_count(0)
    assert site.get(f"{PROJECT}/runs")["total"] == 3
    # The selected runs can be deleted together.
    page.get_by_role("button", name="number of selected runs").click()
    page.get_by_role("button", name="Delete 3 selected runs").click()
    expect(dialog.get_by_role("listitem")).to_have_count(3)
    dialog.get_by_role("button", name="Delete 3 runs").click()
    expect(page.locator("li[data-run]")).to_have_count(0)
    expect(other.locator("li[data-run]")).to_have_count(0)


def test_a_page_of_a_run_that_is_deleted_says_so(site: Up, open_page: Open) -> None:
    page = open_page(f"{site.url}/?project=local/sweep&run=run-001", expected="410")
    page.get_by_role("heading", name="trial 1").wait_for()
    site.send("DELETE", "/v1/runs/local/sweep/run-001")
    page.get_by_text("was deleted on").wait_for()
