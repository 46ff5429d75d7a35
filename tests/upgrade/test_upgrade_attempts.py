"""From the version before, which ordered writers and edits by their machines' clocks: what was shown is
shown, its clients' batches mean what they meant, and no run stays as an edit or a clock froze it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.up import Up, running_up, wait_until
from upgrade.make_attempts import HOUR_US, is_stored, log, rows, summary

HERE = Path(__file__).parent

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upgrade")
    with tarfile.open(HERE / "attempts.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    return found


@pytest.fixture(scope="module")
def up(folder: Path, expected: dict[str, Any]) -> Iterator[Up]:
    with running_up(folder) as up:
        for meta in (folder / "spool").glob("*/meta.json"):
            meta.write_text(json.dumps(json.loads(meta.read_text()) | {"base_url": up.url}))
        for run, shown in expected["rows"].items():
            assert rows(up, run) == shown
            assert summary(up, run) == expected["summary"][run]
        yield up


def steps_of(found: list[list[Any]]) -> dict[float, list[int]]:
    """The first and last step of each value."""
    steps: dict[float, list[int]] = {}
    for step, value in found:
        steps.setdefault(value, []).append(step)
    return {value: [each[0], each[-1]] for value, each in steps.items()}


@pytest.mark.smoke
def test_a_run_that_an_edit_froze_goes_on(up: Up, expected: dict[str, Any]) -> None:
    assert summary(up, "frozen") == {"a": -1.0}
    log(up, "frozen", "w1", range(100, 150), 3.0, seq=3, started=expected["now"])
    wait_until(lambda: summary(up, "frozen") == {"a": 3.0}, 60)
    found = up.get("/v1/runs/local/old/frozen")
    assert found["config"] == {"c": 1}
    assert steps_of(rows(up, "frozen")) == {1.0: [0, 49], 2.0: [50, 99], 3.0: [100, 149]}


def test_a_later_attempt_of_an_old_client_replaces_from_its_first_step(
    up: Up, expected: dict[str, Any]
) -> None:
    log(up, "attempts", "w3", range(120, 200), 3.0, started=expected["now"] + HOUR_US)
    wait_until(lambda: is_stored(up, "attempts", 199), 60)
    wanted = {1.0: [0, 49], 2.0: [50, 119], 3.0: [120, 199]}
    assert steps_of(rows(up, "attempts")) == wanted
    assert summary(up, "attempts") == {"a": 3.0}


def test_a_run_whose_clock_was_ahead_can_be_edited_and_goes_on(
    up: Up, expected: dict[str, Any]
) -> None:
    up.send("PATCH", "/v1/runs/local/old/ahead", {"name": "edited", "tags": ["kept"]})
    found = up.get("/v1/runs/local/old/ahead")
    assert (found["name"], found["tags"]) == ("edited", ["kept"])
    log(up, "ahead", "w1", range(50, 100), 2.0, seq=2, started=expected["now"] + HOUR_US)
    wait_until(lambda: summary(up, "ahead") == {"a": 2.0}, 60)
    found = up.get("/v1/runs/local/old/ahead")
    assert (found["name"], found["tags"]) == ("edited", ["kept"])


def test_an_offline_run_of_an_old_client_is_sent(up: Up) -> None:
    done = up.run_python("import sys; from penstock.cli import main; sys.exit(main(['sync']))")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: is_stored(up, "offline", 19), 60)
    assert rows(up, "offline") == [[step, 3.0] for step in range(20)]
    assert up.get("/v1/runs/local/old/offline")["config"] == {"lr": 0.1}
