"""System metrics of our own client have a section on the run's page, a curve for each node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.sweep import Open
from playwright.sync_api import expect
from support.logged import Logged
from support.samplers import MEASURED, end_samplers
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]

TRAINING = """
import time, penstock
run = penstock.init(project="machine", id="r", name="measured")
until = time.monotonic() + 5
while time.monotonic() < until:
    run.log({"loss": 1.0}); sum(range(100_000)); time.sleep(0.02)
run.finish()
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as up:
        done = up.run_python(TRAINING, **MEASURED)
        assert done.returncode == 0, done.stderr
        run = Logged(up, "machine", "r")
        wait_until(lambda: len(run.system().get("system.cpu", {})) > 2, 60)
        yield up
        end_samplers(tmp_path / "spool")


def test_the_section_has_its_charts(up: Up, open_page: Open) -> None:
    page = open_page(f"{up.url}/?project=local/machine&run=r", height=2_000)
    section = page.get_by_role("button", name="system")
    expect(section).to_be_visible()
    section.scroll_into_view_if_needed()
    panel = page.locator("[data-panel='system.cpu']")
    panel.scroll_into_view_if_needed()
    expect(panel.locator("canvas").first).to_be_visible()
    expect(page.get_by_text("No data in the selected runs.")).to_have_count(0)
