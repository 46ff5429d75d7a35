"""The link that our client prints opens the run, with or without a known entity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.sweep import Open
from playwright.sync_api import expect
from support.up import Up, running_up

pytestmark = pytest.mark.heavy

TRAINING = """
import penstock
run = penstock.init(project="a b&c", id="r 1", name="the first run")
run.log({"loss": 1.0})
run.finish()
print(run.url)
"""


@pytest.fixture(scope="module", params=["open", "login"])
def up(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Up]:
    options = ["--require-login"] if request.param == "login" else []
    with running_up(tmp_path_factory.mktemp("links"), *options) as up:
        yield up


@pytest.mark.parametrize("knows_entity", [False, True])
def test_the_printed_link_opens_the_run(
    up: Up, open_page: Open, tmp_path: Path, knows_entity: bool
) -> None:
    key = up.api_key
    if knows_entity:
        login = f"import penstock; assert penstock.login(key={key!r}, host={up.url!r})"
        done = up.run_python(login, XDG_CONFIG_HOME=str(tmp_path))
        assert done.returncode == 0, done.stderr
    done = up.run_python(TRAINING, XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    link = done.stdout.strip()
    assert done.stderr.count(link) == 2
    assert ("=local/" in link) == knows_entity
    if up.get("/v1/viewer")["login_required"]:
        page = open_page(link, expected="401")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Log in", exact=True).click()
    else:
        page = open_page(link)
    expect(page.get_by_text("the first run").first).to_be_visible()
    expect(page.get_by_text("loss").first).to_be_visible()
