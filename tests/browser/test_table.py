"""The table of runs: searched, filtered, sorted and paged by the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from browser.sweep import RUNS, Open
from playwright.sync_api import Page, Request, expect

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


def expect_first(page: Page, name: str) -> None:
    expect(page.locator("[role=row][aria-rowindex='2'] a")).to_have_text(name)


def expect_total(page: Page, total: int) -> None:
    expect(page.get_by_role("button", name="number of selected runs")).to_contain_text(
        f"of {total} selected"
    )


def watch_searches(page: Page) -> list[dict[str, Any]]:
    """Bodies of all requests for runs from now on."""
    asked: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/runs/search"):
            asked.append(json.loads(request.post_data or "{}"))

    page.on("request", note)
    return asked


def test_runs_are_fetched_page_by_page(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&view=table")
    expect_first(page, f"trial {RUNS - 1}")
    asked = watch_searches(page)
    page.locator(".table-scroll").evaluate("table => table.scrollTo(0, table.scrollHeight)")
    page.get_by_role("link", name="trial 0", exact=True).wait_for()
    assert 100 in [body.get("offset") for body in asked]
    assert all(body["limit"] <= 100 for body in asked)
    # Only rows near the viewport are rendered.
    assert page.locator("[role=row]").count() < 80


def test_search_and_filter_narrow_table_and_charts(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&view=table")
    page.get_by_label("Search runs").fill("trial 14")
    expect_total(page, 11)
    box = page.get_by_role("combobox", name="Filter runs")
    box.fill("lr > 1e-3 and state = finished")
    # 14, 140, 146 and 149; 143 failed.
    expect_total(page, 4)
    page.get_by_title("Charts (t)").click()
    expect(page.locator(".runs .run")).to_have_count(4)
    expect_total(page, 4)


def test_an_invalid_filter_shows_an_error_and_changes_nothing(
    sweep_url: str, open_page: Open
) -> None:
    page = open_page(f"{sweep_url}&view=table")
    expect_total(page, RUNS)
    box = page.get_by_role("combobox", name="Filter runs")
    box.fill("nonsense > 3")
    expect(page.get_by_text("Unknown field “nonsense”")).to_be_visible()
    expect_total(page, RUNS)


def test_a_filter_is_completed_from_the_fields(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&view=table")
    expect_total(page, RUNS)
    page.get_by_role("combobox", name="Filter runs").focus()
    page.keyboard.type("opti")
    page.get_by_role("option", name="config.optimizer.name").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.type("= s")
    page.get_by_role("option", name="sgd").click()
    expect_total(page, RUNS // 2)
    assert "filter=config.optimizer.name" in page.url


def test_a_header_sorts_both_ways(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&view=table&col=config.seed&col=summary.train/loss")
    expect_first(page, f"trial {RUNS - 1}")
    header = page.get_by_role("columnheader", name="train/loss")
    header.get_by_title("Sort by summary.train/loss").click()
    expect_first(page, "trial 0")
    expect(header).to_have_attribute("aria-sort", "descending")
    header.get_by_title("Sort by summary.train/loss").click()
    expect_first(page, f"trial {RUNS - 1}")
    page.go_back()
    expect_first(page, "trial 0")


def test_columns_are_chosen_pinned_and_resized(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&view=table&col=config.seed")
    page.get_by_role("button", name="Choose columns").click()
    page.get_by_role("textbox", name="Search columns").fill("momentum")
    page.get_by_role("button", name="config.optimizer.momentum", exact=True).click()
    page.keyboard.press("Escape")
    header = page.get_by_role("columnheader", name="optimizer.momentum")
    expect(header).to_be_visible()
    edge = page.get_by_role("separator", name="Width of column config.optimizer.momentum")
    before = header.bounding_box()
    edge.press("ArrowRight")
    header.hover()
    page.get_by_role("button", name="Pin column config.optimizer.momentum").click()
    expect(page.get_by_role("columnheader").nth(1)).to_contain_text("optimizer.momentum")
    after = header.bounding_box()
    assert before
    assert after
    assert after["width"] == before["width"] + 16
    page.wait_for_url("**col=config.optimizer.momentum%40*")


def test_eye_icons_select_runs(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&view=table")
    count = page.get_by_role("button", name="number of selected runs")
    expect(count).to_contain_text("20 of")
    page.get_by_role("button", name=f"Show trial {RUNS - 1}").click()
    expect(count).to_contain_text("19 of")
    page.locator(".table-scroll").evaluate("table => table.scrollTo(0, table.scrollHeight)")
    page.get_by_role("button", name="Show trial 0", exact=True).click()
    expect(count).to_contain_text("20 of")
    page.wait_for_url("**show=run-000*")


def test_a_row_opens_its_run(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&view=table&col=config.seed")
    name = f"trial {RUNS - 2}"
    page.get_by_role("cell", name=str(RUNS - 2), exact=True).click()
    page.get_by_role("heading", name=name).wait_for()
    page.go_back()
    expect_first(page, f"trial {RUNS - 1}")
