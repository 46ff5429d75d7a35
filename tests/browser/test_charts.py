"""Panels: the x axis, smoothing, groups, zoom, pins and the keyboard."""

from __future__ import annotations

import json
from typing import Any

import pytest
from browser.sweep import OPTIMIZERS, RATES, RUNS, Open
from playwright.sync_api import Page, Request, expect

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

PANEL = "[data-panel='train/loss']"


def watch_charts(page: Page) -> list[dict[str, Any]]:
    """Bodies of all requests for curves from now on."""
    asked: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/v1/charts"):
            asked.append(json.loads(request.post_data or "{}"))

    page.on("request", note)
    return asked


def settle(page: Page) -> None:
    """Wait until no panel is loading."""
    page.locator(f"{PANEL} canvas").first.wait_for()
    expect(page.locator(".panel-loading")).to_have_count(0)


def drawing(page: Page) -> str:
    """The curves of the panel, as a data URL."""
    found: str = page.locator(f"{PANEL} .plot-curves").evaluate("canvas => canvas.toDataURL()")
    return found


def point_at(page: Page, x: float, y: float) -> None:
    """Move the pointer within the plot of the panel, in fractions of its size."""
    box = page.locator(f"{PANEL} .u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_the_x_axis_is_switched_for_all_panels(sweep_url: str, open_page: Open) -> None:
    page = open_page(sweep_url)
    settle(page)
    asked = watch_charts(page)
    for name, x in (("Relative", "relative"), ("Wall", "_timestamp")):
        with page.expect_response("**/v1/charts"):
            page.get_by_role("group", name="X axis").get_by_text(name).click()
        settle(page)
        assert asked[-1]["x"] == x
        point_at(page, 0.5, 0.5)
        expect(page.locator(".tooltip-head")).to_contain_text("step")
    page.wait_for_url("**x=time*")
    page.go_back()
    expect(page.get_by_role("group", name="X axis").get_by_text("Relative")).to_have_attribute(
        "aria-pressed", "true"
    )


def test_smoothing_is_drawn_over_the_original_curve(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&only=run-149")
    settle(page)
    raw = drawing(page)
    page.get_by_label("Smoothing value").fill("0.9")
    page.wait_for_function(
        "before => document.querySelector('[data-panel=\"train/loss\"] .plot-curves').toDataURL()"
        " !== before",
        arg=raw,
    )
    # Smoothing never hides the spike of a single point.
    expect(page.locator(PANEL)).to_be_visible()
    point_at(page, 30 / 59, 0.1)
    expect(page.locator(".tooltip")).to_contain_text("(9)")
    page.wait_for_url("**smooth=0.9*")


def test_runs_are_grouped_by_config(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&most=200")
    settle(page)
    asked = watch_charts(page)
    page.keyboard.press("g")
    page.get_by_label("Group by").fill("lr")
    page.keyboard.press("Enter")
    groups = page.get_by_role("region", name="Groups")
    expect(groups.get_by_role("listitem")).to_have_count(len(RATES))
    expect(groups).to_contain_text(f"{RUNS // len(RATES)} runs")
    settle(page)
    assert sorted(asked[-1]["groups"]) == sorted(str(rate) for rate in RATES)
    point_at(page, 0.3, 0.8)
    expect(page.locator(".tooltip tr")).to_have_count(len(RATES))
    page.wait_for_url("**group=config.lr*")


def test_a_hidden_run_leaves_its_group(sweep_url: str, open_page: Open) -> None:
    page = open_page(f"{sweep_url}&most=4&group=config.optimizer.name")
    groups = page.get_by_role("region", name="Groups").get_by_role("listitem")
    expect(groups).to_have_count(len(OPTIMIZERS))
    expect(groups.first).to_contain_text("2 runs")
    page.get_by_role("button", name=f"Show trial {RUNS - 2}").click()
    expect(groups.first).to_contain_text("1 run")


def test_ranks_are_drawn_combined_as_a_mean_or_separately(sweep_url: str, open_page: Open) -> None:
    page = open_page(sweep_url)
    settle(page)
    asked = watch_charts(page)
    page.get_by_role("button", name="Chart settings").click()
    choice = page.get_by_role("group", name="Ranks")
    for name, field, value in (
        ("Mean ± band", "aggregate", "ranks"),
        ("Separate", "lanes", "rank"),
    ):
        with page.expect_response("**/v1/charts"):
            choice.get_by_text(name).click()
        settle(page)
        assert asked[-1][field] == value
    page.keyboard.press("Escape")
    point_at(page, 0.5, 0.5)
    expect(page.locator(".tooltip-name").first).to_contain_text("rank 0")


def test_pointing_at_a_curve_highlights_its_run_everywhere(sweep_url: str, open_page: Open) -> None:
    page = open_page(sweep_url)
    settle(page)
    point_at(page, 0.2, 0.9)
    highlighted = page.locator(".run.is-highlighted")
    expect(highlighted).to_have_count(1)
    name = highlighted.locator(".run-name").inner_text()
    expect(page.locator(".tooltip .is-highlighted .tooltip-name")).to_have_text(name)
    values = [float(text) for text in page.locator(".tooltip .tooltip-value").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    # Other panels show the value of the same run.
    expect(page.locator("[data-panel='eval/loss'] .panel-value")).not_to_be_empty()


def test_a_zoom_fetches_detail_everywhere_and_is_undone(sweep_url: str, open_page: Open) -> None:
    page = open_page(sweep_url)
    settle(page)
    asked = watch_charts(page)
    point_at(page, 0.25, 0.5)
    page.mouse.down()
    point_at(page, 0.5, 0.5)
    point_at(page, 0.75, 0.5)
    page.mouse.up()
    chip = page.locator(".chip")
    expect(chip).to_contain_text("steps")
    settle(page)
    page.wait_for_url("**zoom=*")
    keys = {key for body in asked if "from" in body for key in body["keys"]}
    assert keys == {"train/loss", "train/accuracy", "eval/loss"}
    page.go_back()
    expect(chip).to_have_count(0)
    page.go_forward()
    expect(chip).to_have_count(1)
    page.locator(f"{PANEL} .u-over").dblclick()
    expect(chip).to_have_count(0)


def test_panels_are_pinned_and_searched(sweep_url: str, open_page: Open) -> None:
    page = open_page(sweep_url)
    settle(page)
    page.locator(PANEL).hover()
    page.get_by_role("button", name="Pin train/loss to the top").click()
    expect(page.locator("[data-panel]").first).to_have_attribute("data-panel", "train/loss")
    page.keyboard.press("/")
    page.keyboard.type("^eval|accuracy")
    expect(page.locator("[data-panel]")).to_have_count(2)
    expect(page.locator(PANEL)).to_have_count(0)


def test_the_keyboard_drives_the_panels(sweep_url: str, open_page: Open) -> None:
    page = open_page(sweep_url)
    settle(page)
    page.locator("[data-panel='eval/loss']").focus()
    page.keyboard.press("l")
    expect(page.locator("[data-panel='eval/loss'] .chip-button")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-panel='train/accuracy']")).to_be_focused()
    page.keyboard.press("f")
    full = page.get_by_role("dialog")
    expect(full).to_have_attribute("aria-label", "train/accuracy")
    page.keyboard.press("ArrowRight")
    expect(full).to_have_attribute("aria-label", "train/loss")
    page.keyboard.press("s")
    expect(full.get_by_label("Smoothing value")).to_have_value("0.6")
    # On the slider, arrow keys move the slider.
    full.get_by_label("Smoothing", exact=True).press("ArrowRight")
    expect(full.get_by_label("Smoothing value")).not_to_have_value("0.6")
    expect(full).to_have_attribute("aria-label", "train/loss")
    page.keyboard.press("Escape")
    expect(full).to_have_count(0)
    page.keyboard.press("t")
    page.get_by_role("table", name="Runs").wait_for()
