"""The list of projects, and the way back to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser.sweep import Open
from support.up import running_up

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


def body(project: str) -> dict[str, object]:
    return {"project": project, "run": "r", "rows": [{"step": 0, "loss": 1.0}]}


def test_one_project_is_opened_at_once_and_several_are_listed(
    tmp_path: Path, open_page: Open
) -> None:
    with running_up(tmp_path) as up:
        up.post("/v1/batches", body("alpha"))
        page = open_page(up.url)
        page.locator("[data-panel=loss]").wait_for()
        page.get_by_role("link", name="All projects").click()
        page.get_by_role("heading", name="Projects").wait_for()
        assert page.locator(".project-row").count() == 1

        up.post("/v1/batches", body("beta"))
        page.goto(up.url)
        page.get_by_role("link", name="beta").wait_for()
        page.get_by_label("Search projects").fill("alp")
        page.get_by_role("link", name="beta").wait_for(state="detached")
        page.get_by_role("link", name="alpha").click()
        page.locator("[data-panel=loss]").wait_for()
        assert "project=local/alpha" in page.url
        page.go_back()
        page.get_by_role("link", name="beta").wait_for()
        page.context.close()
