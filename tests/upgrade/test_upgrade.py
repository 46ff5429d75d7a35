"""From the version before: a folder that it left with dead letters, a stopped shard and refused
batches flows again by itself, or by one command; nothing that was accepted is lost."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from support.up import Up, running_up, wait_until

HERE = Path(__file__).parent

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


@dataclass
class Upgraded:
    """A running installation on what an older version left, and what that version had accepted."""

    up: Up
    expected: dict[str, Any]

    def run(self, project: str, name: str) -> dict[str, Any]:
        return dict(self.up.get(f"/v1/runs/local/{project}/{name}"))

    def is_there(self, project: str, name: str) -> bool:
        try:
            return "loss" in self.run(project, name)["summary"]
        except HTTPError:
            return False

    def rows(self, project: str, name: str) -> list[dict[str, Any]]:
        """The loss of each step."""
        code = (
            f"import json, penstock; run = penstock.Api().run('local/{project}/{name}'); "
            "rows = run.scan_history(keys=['_step', 'loss']); "
            "print(json.dumps([(row['_step'], row['loss']) for row in rows]))"
        )
        done = self.up.run_python(code)
        assert done.returncode == 0, done.stderr
        return [{"step": step, "loss": loss} for step, loss in json.loads(done.stdout)]

    def command(self, *arguments: str) -> str:
        """What a `penstock` command prints."""
        code = f"import sys; from penstock.cli import main; sys.exit(main({list(arguments)}))"
        done = self.up.run_python(code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def dead(self, *arguments: str) -> str:
        return self.command("dead", *arguments, "--data", str(self.up.folder / "data"))


@pytest.fixture(scope="module", params=sorted(each.name for each in HERE.glob("[0-9]*.tar.xz")))
def upgraded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Upgraded]:
    folder = tmp_path_factory.mktemp("upgrade")
    with tarfile.open(HERE / request.param) as archive:
        archive.extractall(folder, filter="data")
    expected = json.loads((folder / "expected.json").read_text())
    with running_up(folder) as up:
        for meta in (folder / "spool").glob("*/meta.json"):
            content = json.loads(meta.read_text()) | {"base_url": up.url}
            meta.write_text(json.dumps(content))
        yield Upgraded(up, expected)


@pytest.mark.smoke
def test_what_waited_in_a_stopped_shard_is_stored_without_a_hand(upgraded: Upgraded) -> None:
    for name, rows in upgraded.expected["honest"].items():
        wait_until(lambda name=name: upgraded.is_there("honest", name), 60)  # type: ignore[misc]
        assert upgraded.rows("honest", name) == rows


@pytest.mark.smoke
def test_dead_letters_are_stored_after_one_command(upgraded: Upgraded) -> None:
    assert "p0" in upgraded.dead("list")
    upgraded.dead("replay", "--all")

    def is_whole(name: str) -> bool:
        config = upgraded.run("poison", name)["config"]
        classes = [
            config.get(f"classes{number}") for number in range(upgraded.expected["poison"][name])
        ]
        length = upgraded.expected["long_list"]
        return classes == [[number] * length for number in range(len(classes))]

    for name in upgraded.expected["poison"]:
        wait_until(lambda name=name: is_whole(name), 60)  # type: ignore[misc]
    assert "local/" not in upgraded.dead("list")


@pytest.mark.smoke
def test_what_the_old_server_refused_is_sent_again_by_one_command(upgraded: Upgraded) -> None:
    upgraded.command("sync", "--rejected")

    def is_whole() -> bool:
        classes = upgraded.run("upgrade", "refused")["config"].get("classes")
        return bool(classes == [0] * upgraded.expected["long_list"])

    wait_until(is_whole, 60)
    assert not list((upgraded.up.folder / "spool").glob("*/rejected/*.batch"))


def test_a_run_of_the_old_version_goes_on(upgraded: Upgraded) -> None:
    """Numbers of rows that the queue counted, and of lanes, go on where they stood."""
    name, rows = next(iter(upgraded.expected["honest"].items()))
    more = [{"step": step, "loss": float(step)} for step in range(200, 250)]
    upgraded.up.post("/v1/batches", {"project": "honest", "run": name, "rows": more})
    wait_until(lambda: upgraded.rows("honest", name) == rows + more, 60)


def test_ready_says_that_all_is_well(upgraded: Upgraded) -> None:
    assert upgraded.up.get("/readyz")["workers"] == 1
