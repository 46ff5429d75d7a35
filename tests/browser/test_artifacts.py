"""The artifacts of a run on its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.sweep import Open
from playwright.sync_api import expect
from support.up import Up, running_up
from support.wandb_scripts import run_wandb

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

CODE = """
import pathlib, wandb
pathlib.Path("weights.bin").write_bytes(b"weights")
with wandb.init(project="demo", id="maker") as run:
    made = wandb.Artifact("model", type="checkpoint")
    made.add_file("weights.bin", name="inner/weights ü.bin")
    made.add_reference("custom://bucket/data", name="data", checksum=False)
    run.log_artifact(made, aliases=["best"])
    made.wait()
with wandb.init(project="demo", id="user") as run:
    run.use_artifact("model:best")
with wandb.init(project="demo", id="neither") as run:
    pass
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as up:
        run_wandb(up, CODE).check()
        yield up


def test_a_run_shows_what_it_logged_and_the_files_in_it(
    up: Up, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(f"{up.url}/?project=local/demo&run=maker")
    page.get_by_role("radio", name="Artifacts").or_(
        page.get_by_role("button", name="Artifacts")
    ).first.click()
    logged = page.get_by_role("region", name="Logged")
    row = logged.get_by_role("button", name="model:v0")
    expect(row).to_contain_text("best")
    expect(row).to_contain_text("checkpoint")
    expect(page.get_by_role("region", name="Used")).to_have_count(0)
    row.click()
    expect(logged.get_by_text("inner/weights ü.bin")).to_be_visible()
    expect(logged.get_by_title("custom://bucket/data")).to_contain_text("reference")
    with page.expect_download() as download:
        logged.get_by_role("link", name="Download inner/weights ü.bin").click()
    download.value.save_as(tmp_path / "saved")
    assert download.value.suggested_filename == "weights ü.bin"
    assert (tmp_path / "saved").read_bytes() == b"weights"


def test_a_run_shows_what_it_used(up: Up, open_page: Open) -> None:
    page = open_page(f"{up.url}/?project=local/demo&run=user&tab=artifacts")
    used = page.get_by_role("region", name="Used")
    expect(used.get_by_role("button", name="model:v0")).to_be_visible()
    expect(page.get_by_role("region", name="Logged")).to_have_count(0)


def test_a_run_without_artifacts_says_so(up: Up, open_page: Open) -> None:
    page = open_page(f"{up.url}/?project=local/demo&run=neither&tab=artifacts")
    expect(page.get_by_role("heading", name="No artifacts")).to_be_visible()
