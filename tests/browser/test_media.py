"""Media, console and files on the page, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.gallery import fill_gallery, send_records
from browser.sweep import Open
from playwright.sync_api import Locator, Page, expect
from support.up import Up, running_up

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]
NOT_FOUND = "404"
"""In the browser's error for files that are not uploaded yet."""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("gallery")) as up:
        fill_gallery(up)
        yield up


@pytest.fixture
def url(gallery: Up) -> str:
    return f"{gallery.url}/?project=local/gallery"


def panel(page: Page, key: str) -> Locator:
    return page.locator(f"[data-panel='{key}']")


def shown_width(image: Locator) -> int:
    width: int = image.evaluate("image => image.naturalWidth")
    return width


@pytest.mark.smoke
def test_images_stand_side_by_side_and_follow_the_slider(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&panels=images/sample")
    images = panel(page, "images/sample").locator("img")
    expect(images).to_have_count(2)
    expect(panel(page, "images/sample").get_by_text("at 10").first).to_be_visible()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.tile img')].every(image => image.naturalWidth === 8)"
    )
    slider = panel(page, "images/sample").get_by_label("Step")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(panel(page, "images/sample").get_by_text("at 5").first).to_be_visible()
    expect(panel(page, "images/sample").locator(".media-step")).to_have_text("step 5 of 10")


def test_one_image_fills_the_page(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&panels=images/sample")
    panel(page, "images/sample").locator(".tile").first.click()
    box = page.get_by_role("dialog")
    expect(box.get_by_text("8 × 8 · 1 of 2")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(box.get_by_text("8 × 8 · 2 of 2")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(box.get_by_text("step 5 ·")).to_be_visible()
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)


def test_a_link_opens_media_in_full_screen(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&panels=images/sample&full=images/sample")
    full = page.get_by_role("dialog", name="images/sample")
    full.locator(".tile").nth(1).wait_for()
    # The frame was there, and had the focus, before the page knew what was logged.
    expect(full.locator("[data-panel]")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog", name="other/histogram")).to_be_visible()
    page.keyboard.press("f")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_missing_files_are_reported(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&panels=images/late", expected=NOT_FOUND)
    expect(panel(page, "images/late").get_by_text("not uploaded yet")).to_have_count(2)


def test_histograms_show_the_bars_of_a_step(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&panels=histogram")
    areas = panel(page, "other/histogram").locator(".heat-area")
    expect(areas).to_have_count(2)
    areas.first.hover()
    expect(panel(page, "other/histogram").get_by_text("Step 5")).to_be_visible()
    expect(panel(page, "other/histogram").locator(".heat-bars rect")).to_have_count(8)


def test_tables_are_sorted_by_a_click(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&panels=table")
    table = panel(page, "other/table")
    names = table.locator("tbody td:first-child")
    expect(names).to_have_text(["b", "a", "c"])
    table.get_by_role("button", name="score").click()
    expect(names).to_have_text(["b", "a", "c"])
    table.get_by_role("button", name="score").click()
    expect(names).to_have_text(["c", "a", "b"])
    table.get_by_role("button", name="name").click()
    expect(names).to_have_text(["a", "b", "c"])


def test_pages_are_shown_without_any_rights(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&panels=other/page", expected="Blocked script execution")
    frame = panel(page, "other/page").frame_locator("iframe").first
    expect(frame.get_by_text("A page")).to_be_visible()
    expect(frame.get_by_text("taken over")).to_have_count(0)


def test_opened_by_itself_an_uploaded_page_runs_no_script(gallery: Up, open_page: Open) -> None:
    address = f"{gallery.url}/v1/runs/local/gallery/one/files/media/page.html"
    page = open_page(address, expected="Blocked script execution")
    expect(page.get_by_text("A page")).to_be_visible()
    assert page.evaluate("window.origin") == "null"


def test_media_come_live(gallery: Up, url: str, open_page: Open) -> None:
    page = open_page(f"{url}&panels=images/news")
    page.get_by_text("No panels match").wait_for()
    value = '{"_type": "image-file", "path": "media/0.png", "caption": "breaking"}'
    record = {"t": "value", "key": "images/news", "step": 20, "time": 1, "kind": "image-file"}
    send_records(gallery, "two", 2, [{**record, "json": value}])
    expect(panel(page, "images/news").get_by_text("breaking")).to_be_visible()


def test_logs_begin_at_the_end_and_go_on(gallery: Up, url: str, open_page: Open) -> None:
    page = open_page(f"{url}&run=two&tab=logs")
    logs = page.get_by_role("region", name="Logs")
    expect(logs.get_by_text("line number 2999")).to_be_visible()
    error = logs.locator(".log-line.is-error")
    expect(error.locator(".ansi-red")).to_have_text("broken")
    line = {"t": "console", "line": 3_000, "time": 1, "stream": "stdout", "text": "one more"}
    send_records(gallery, "two", 3, [line])
    expect(logs.get_by_text("one more")).to_be_visible()
    expect(logs.get_by_text("3,001 lines")).to_be_visible()
    logs.locator(".logs-scroll").evaluate("box => box.scrollTo(0, 0)")
    # Near the top, a page of earlier lines is inserted, and nothing jumps.
    first = logs.get_by_text("line number 0", exact=True)
    for _ in range(10):
        logs.locator(".logs-scroll").evaluate("box => box.scrollTo(0, 0)")
        if first.count():
            break
        page.wait_for_timeout(300)
    expect(first).to_be_visible()
    logs.get_by_role("button", name="Jump to end").click()
    expect(logs.get_by_text("one more")).to_be_visible()


def test_logs_are_searched(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&run=one&tab=logs")
    logs = page.get_by_role("region", name="Logs")
    logs.locator(".log-line").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("NUMBER 12")
    expect(logs.locator(".log-line").first).to_contain_text("line number 12")
    expect(logs.locator("mark").first).to_have_text("number 12")
    expect(logs.get_by_text("111 matches")).to_be_visible()
    logs.get_by_label("Search logs").fill("nowhere")
    page.get_by_text("No matching lines").wait_for()


def test_files_are_a_tree_with_previews(url: str, open_page: Open) -> None:
    page = open_page(f"{url}&run=one&panels=loss")
    page.get_by_role("button", name="Files").click()
    files = page.get_by_role("region", name="Files")
    files.get_by_role("button", name="notes 100%.txt").first.click()
    expect(page.get_by_text("remember the milk")).to_be_visible()
    files.get_by_role("button", name="settings.json").first.click()
    expect(page.locator(".preview-text")).to_have_text('{\n  "rate": 0.5\n}')
    files.get_by_role("button", name="5.png").first.click()
    # A function: the page's security policy forbids evaluating a text again.
    page.wait_for_function("() => document.querySelector('.preview img')?.naturalWidth === 8")
    with page.expect_download() as download:
        files.get_by_role("link", name="Download notes 100%.txt").click()
    assert download.value.suggested_filename == "notes 100%.txt"
    files.get_by_label("Search files").fill("settings")
    expect(files.locator(".file-row.is-file")).to_have_count(1)
    page.go_back()
    page.locator("[data-panel='loss']").wait_for()


def test_a_run_without_files_and_lines_says_so(gallery: Up, url: str, open_page: Open) -> None:
    gallery.post("/v1/runs", {"project": "gallery", "run": "bare"})
    page = open_page(f"{url}&run=bare&tab=logs")
    page.get_by_text("No output").wait_for()
    page.get_by_role("button", name="Files").click()
    page.get_by_role("heading", name="No files").wait_for()


@pytest.mark.parametrize("tab", ["charts", "logs", "files"])
def test_it_fits_a_phone(url: str, open_page: Open, tab: str) -> None:
    page = open_page(f"{url}&run=one&tab={tab}", width=390, height=844, expected=NOT_FOUND)
    page.locator(".main > :nth-child(2)").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
