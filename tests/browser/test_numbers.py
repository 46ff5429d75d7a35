"""Integers of any size are exact on the page."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser.sweep import Open
from playwright.sync_api import expect
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]
SEED = 4611686018427387905
CONFIG = {
    "seed": SEED, "low": -(2**63), "high": 2**64 - 1, "deep": {"ids": [SEED, {"a": 2**64 - 1}]},
    "safe": 2**53 - 1, "float": 1e21, "sum": 0.1 + 0.2, "zero": -0.0, "text": str(SEED),
}  # fmt: skip
TEXTS = {
    "seed": str(SEED), "low": "−9223372036854775808", "high": "18446744073709551615",
    "safe": "9007199254740991", "float": "1e21",
    "sum": "0.30000000000000004", "zero": "−0", "text": str(SEED),
}  # fmt: skip


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as up:
        for run, config in (("a", CONFIG), ("b", {**CONFIG, "seed": SEED + 1})):
            summary = {"tokens": 1234567890, "id": SEED}
            rows = [{"step": 0, "loss": 0.5}]
            body = {
                "project": "numbers",
                "run": run,
                "config": config,
                "rows": rows,
                "summary": summary,
            }
            up.post("/v1/batches", body)
        wait_until(lambda: [each["runs"] for each in up.get("/v1/projects")["projects"]] == [2], 30)
        wait_until(lambda: up.get("/v1/runs/local/numbers/b")["config"] != {}, 30)
        yield up


def test_the_api_says_numbers_as_they_are(up: Up) -> None:
    found = up.get("/v1/runs/local/numbers/a")
    assert {name: found["config"][name] for name in ("seed", "low", "high")} == {
        name: CONFIG[name] for name in ("seed", "low", "high")
    }
    assert found["config"]["deep"] == CONFIG["deep"]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_a_run_s_page_shows_all_digits(up: Up, open_page: Open, width: int, scheme: str) -> None:
    page = open_page(f"{up.url}/?project=local/numbers&run=a", width=width, scheme=scheme)
    if width < 600:
        page.get_by_role("button", name="Show run details").click()
    config = page.get_by_label("Config", exact=True)
    for name, text in TEXTS.items():
        leaf = config.locator(".leaf").filter(has=page.get_by_text(name, exact=True))
        expect(leaf.locator(".leaf-value")).to_have_text(text)
        expect(leaf).to_have_attribute("title", f"{name} = {text}")
    expect(config.get_by_text(f'[{SEED},{{"a":18446744073709551615}}]')).to_be_visible()
    summary = page.get_by_label("Summary", exact=True)
    expect(summary.get_by_text("1234567890")).to_be_visible()
    expect(summary.get_by_text(str(SEED))).to_be_visible()


def test_filters_tell_neighbours_apart(up: Up, open_page: Open) -> None:
    for text, runs in ((f"config.seed = {SEED}", ["a"]), (f"config.seed > {SEED}", ["b"]),
                       (f"config.seed in [{SEED + 1}, 5]", ["b"])):  # fmt: skip
        page = open_page(f"{up.url}/?project=local/numbers&filter={quote(text)}")
        expect(page.locator("[data-run]")).to_have_count(len(runs))
        for run in runs:
            expect(page.locator(f"[data-run={run}]")).to_be_visible()
        page.close()


def test_the_table_and_the_comparison_show_all_digits(up: Up, open_page: Open) -> None:
    page = open_page(
        f"{up.url}/?project=local/numbers&view=table&col=config.seed&col=summary.tokens"
    )
    expect(page.get_by_text(str(SEED), exact=True)).to_be_visible()
    expect(page.get_by_text(str(SEED + 1), exact=True)).to_be_visible()
    expect(page.get_by_text("1234567890").first).to_be_visible()
    page = open_page(f"{up.url}/?project=local/numbers&compare=a&compare=b")
    expect(page.get_by_text(str(SEED), exact=True).first).to_be_visible()
    expect(page.get_by_text(str(SEED + 1), exact=True)).to_be_visible()
