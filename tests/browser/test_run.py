"""The run page, and the comparison of runs."""

from __future__ import annotations

import pytest
from browser.sweep import Open
from playwright.sync_api import expect

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


def test_a_run_shows_its_config_and_its_metrics(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&run=run-010")
    page.get_by_role("heading", name="trial 10").wait_for()
    config = page.get_by_role("region", name="Config")
    expect(config.get_by_title("optimizer.name = adam")).to_be_visible()
    expect(config.get_by_title("seed = 10")).to_be_visible()
    page.get_by_label("Search config and summary").fill("momentum")
    expect(config.get_by_title("seed = 10")).to_have_count(0)
    expect(config.get_by_title("optimizer.momentum = 0.9")).to_be_visible()
    panel = page.locator("[data-panel='train/loss']")
    expect(panel.locator(".panel-value")).to_have_text("0.5947")
    page.get_by_role("link", name="sweep").click()
    expect(page.get_by_role("region", name="Runs")).to_be_visible()


def test_a_run_that_is_not_there_leads_back(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&run=nobody", expected="404")
    page.get_by_text("was not found").wait_for()
    page.get_by_role("link", name="sweep").click()
    page.locator("[data-panel='train/loss']").wait_for()


def test_runs_are_compared_where_they_differ(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&compare=run-002&compare=run-001&compare=run-004")
    table = page.get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_count(4)
    lr = table.get_by_role("row", name="lr")
    expect(lr.get_by_role("cell")).to_have_text(["0.003", "0.001", "0.001"])
    momentum = table.get_by_role("row", name="optimizer.momentum")
    expect(momentum).to_have_count(0)
    page.get_by_label("Differences only").uncheck()
    expect(momentum.get_by_role("cell")).to_have_text(["0.9", "0.9", "0.9"])
    page.get_by_role("button", name="Remove trial 2").click()
    # The remaining two have the same rate; the page shows the first difference of their curves.
    expect(table.get_by_role("row", name="train/loss at step 0")).to_be_visible()
    expect(lr.get_by_role("cell")).to_have_text(["0.001", "0.001"])
    page.go_back()
    expect(lr.get_by_role("cell")).to_have_count(3)
