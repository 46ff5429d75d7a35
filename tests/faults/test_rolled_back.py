"""A store, or a catalog, replaced by an older copy under a real `penstock up`: the clients bring back
what it lacks, by themselves."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.faultload import start_shipper
from support.gateways import free_port
from support.up import Up, start_up, wait_until

from penstock.spool.progress import load_progress
from penstock.spool.root import spools_in

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]

PROJECT = "older"
# `early` ends and `late` begins and ends between the copy and its return; `going` logs all the time.
TRAINING = """
import json, pathlib, time, penstock
flags = pathlib.Path({flags!r})

def start(name, **config):
    return penstock.init(project={project!r}, id=name, config=config, reinit="create_new")

def log(run, first, count):
    for step in range(first, first + count):
        run.log({{"x": step / 3, "y": float(-step)}}, step=step)

early, going = start("early", lr=0.1), start("going", lr=0.3)
log(early, 0, 200), log(going, 0, 200)
while not (flags / "copied").exists():
    time.sleep(0.02)
log(early, 200, 300)
early.log({{"new/key": 1.0}}, step=499)
early.config.update({{"lr": 0.2, "deep": {{"x": 1}}}})
early.summary["best"] = 7
early.finish(exit_code=3)
late = start("late", seed=5)
late.tags = ("t",)
log(late, 0, 250)
late.finish()
step = 200
while not (flags / "end").exists():
    log(going, step, 1)
    step += 1
    time.sleep(0.005)
going.summary["last"] = step
going.finish()
(flags / "steps").write_text(json.dumps({{"early": 500, "late": 250, "going": step}}))
"""


class Site:
    """`penstock up` on one port and folder, a shipper that looks often, and a training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flags = folder / "flags"
        self.flags.mkdir()
        self._port = free_port()
        root = folder / "spool"
        root.mkdir(mode=0o700)
        self.root = root
        self.up = start_up(folder, port=self._port)
        self.shipper = start_shipper(root, heartbeat_s=0.5)
        code = TRAINING.format(flags=str(self.flags), project=PROJECT)
        self.training = subprocess.Popen([sys.executable, "-c", code], env=self.up.environ)

    def start_again(self) -> None:
        self.up = start_up(self.folder, port=self._port)

    def run(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.up.get(f"/v1/runs/local/{PROJECT}/{name}")
        except HTTPError:  # not known yet
            return {}
        return found

    def verify(self, name: str) -> dict[str, Any]:
        """What `penstock verify` finds."""
        done = subprocess.run(
            [sys.executable, "-m", "penstock.cli", "verify", f"{PROJECT}/{name}", "--json"],
            env=self.up.environ, capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def is_stored(self) -> bool:
        """Whether the shipper has learnt that all of it is in the store."""
        return all(load_progress(folder).done for folder in spools_in(self.root))

    def clock_moves(self) -> None:
        """Wait until the catalog's clock, and so the store's and the queue's, has gone on."""
        for value in range(2):
            before = self._clock()
            # It goes on with what is stored, and else once a minute.
            row = {"step": value, "loss": 1.0}
            self.up.post("/v1/batches", {"project": PROJECT, "run": "clock", "rows": [row]})
            wait_until(lambda before=before: self._clock() > before, 30)  # type: ignore[misc]

    def _clock(self) -> int:
        with closing(sqlite3.connect(self.folder / "data" / "catalog.db", timeout=30)) as catalog:
            rows = catalog.execute("SELECT value FROM meta WHERE name = 'clock'").fetchall()
        return int(rows[0][0]) if rows else 0

    def end(self) -> None:
        for process in (self.training, self.shipper):
            if process.poll() is None:
                process.kill()
            process.wait()
        if self.up.process.poll() is None:
            self.up.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path)
    try:
        yield running
    finally:
        running.end()


@pytest.mark.parametrize("what", ["points", "catalog.db"])
def test_an_older_copy_under_a_real_installation(
    site: Site, tmp_path: Path, what: str, row: Callable[[str], None]
) -> None:
    """S3: stopped, replaced by an older copy of itself, started."""
    place, copy = tmp_path / "data" / what, tmp_path / "copy"
    wait_until(lambda: all(is_whole(site, name, 200) for name in ("early", "going")), 30)
    site.clock_moves()
    assert site.up.stop() == 0
    if place.is_dir():
        shutil.copytree(place, copy, symlinks=True)
    else:
        shutil.copy2(place, copy)

    site.start_again()
    (site.flags / "copied").touch()
    wait_until(lambda: site.run("early").get("state") == "failed", 60)
    wait_until(lambda: site.run("late").get("state") == "finished", 60)
    site.clock_moves()
    assert site.verify("late")["clean"]
    assert site.up.stop() == 0

    for suffix in ("", "-wal", "-shm"):
        newer = place.with_name(place.name + suffix)
        if newer.is_dir():
            shutil.rmtree(newer)
        else:
            newer.unlink(missing_ok=True)
    copy.rename(place)
    started = time.monotonic()
    site.start_again()
    (site.flags / "end").touch()
    assert site.training.wait(60) == 0
    steps = json.loads((site.flags / "steps").read_text())

    ended = {"early": "failed", "late": "finished", "going": "finished"}

    def is_back() -> bool:
        return site.is_stored() and all(
            site.run(name).get("state") == ended[name] and is_whole(site, name, steps[name])
            for name in steps
        )

    wait_until(is_back, 120)
    took_s = time.monotonic() - started
    row(f"3 runs, {sum(steps.values()):,} steps; all back {took_s:.1f} s after the start")
    for name in steps:
        found = site.verify(name)
        assert found["clean"], found
        assert found["sent"] == found["stored"] == 2 * steps[name] + (name == "early")
    early, late, going = (site.run(name) for name in ("early", "late", "going"))
    assert (early["state"], early["info"]["exit_code"]) == ("failed", 3)
    assert early["config"] == {"lr": 0.2, "deep": {"x": 1}}
    assert early["summary"]["best"] == 7
    assert (late["state"], late["config"], late["tags"]) == ("finished", {"seed": 5}, ["t"])
    assert (going["state"], going["config"]) == ("finished", {"lr": 0.3})
    assert going["summary"]["last"] == steps["going"]


def is_whole(site: Site, name: str, steps: int) -> bool:
    """Whether a reader finds so many steps of this run."""
    return site.run(name) != {} and len(history(site.up, name)) == steps


def history(up: Up, name: str) -> list[str]:
    request = Request(f"{up.url}/v1/runs/local/{PROJECT}/{name}/history")
    request.add_header("Authorization", f"Bearer {up.api_key}")
    with urlopen(request, timeout=10) as reply:
        return list(reply.read().splitlines())
