"""A link shows the same view in another browser."""

from __future__ import annotations

import pytest
from browser.sweep import Open
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


def settle(page: Page) -> None:
    page.locator("canvas").first.wait_for()
    expect(page.locator(".panel-loading")).to_have_count(0)
    # Nothing is highlighted.
    page.mouse.move(0, 0)


def sights(page: Page) -> dict[str, object]:
    """The visible parts of the view."""
    return {
        "panels": [
            panel.get_attribute("data-panel") for panel in page.locator("[data-panel]").all()
        ],
        "runs": page.locator(".run:not(.is-hidden) .run-name").all_inner_texts(),
        "groups": page.locator(".group").all_inner_texts(),
        "zoom": page.locator(".chip").all_inner_texts(),
        "filter": page.get_by_role("combobox", name="Filter runs").input_value(),
        "search": page.get_by_label("Search runs").input_value(),
        "smoothing": page.get_by_label("Smoothing value").input_value(),
        "x": page.get_by_role("group", name="X axis").locator("[aria-pressed=true]").inner_text(),
    }


def test_a_view_made_by_hand_is_the_same_in_a_fresh_browser(
    sweep_url: str, open_page: Open
) -> None:
    page = open_page(sweep_url)
    settle(page)
    page.get_by_label("Search runs").fill("trial 1")
    page.get_by_role("combobox", name="Filter runs").fill("lr <= 1e-3")
    page.get_by_role("combobox", name="Filter runs").press("Enter")
    page.get_by_role("button", name="Sort runs").click()
    page.get_by_label("Sort by").fill("seed")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="trial 148").wait_for()
    page.get_by_role("group", name="X axis").get_by_text("Relative").click()
    page.get_by_label("Smoothing value").fill("0.5")
    page.get_by_label("Search panels").fill("loss")
    expect(page.locator("[data-panel]")).to_have_count(2)
    page.locator(".run .run-eye").nth(1).click()
    settle(page)
    page.wait_for_url("**hide=*")
    seen = sights(page)
    assert seen["filter"] == "lr <= 1e-3"
    assert len(seen["runs"]) == 19  # type: ignore[arg-type]
    assert seen["panels"] == ["eval/loss", "train/loss"]

    copy = open_page(page.url)
    settle(copy)
    expect(copy.locator(".run.is-hidden")).not_to_have_count(0)
    assert sights(copy) == seen


def test_the_table_is_in_the_address_too(sweep_url: str, open_page: Open) -> None:
    place = "&view=table&search=trial&sort=config.seed&col=config.lr@140&col=config.seed!"
    page = open_page(sweep_url + place)
    headers = page.get_by_role("columnheader")
    expect(headers).to_have_text(["Name", "seed", "lr"])
    expect(page.locator("[role=row][aria-rowindex='2'] a")).to_have_text("trial 0")
    expect(page.get_by_label("Search runs")).to_have_value("trial")
