"""A damaged catalog under a real `penstock up`: it starts, says so, and clients bring back the rest."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError

import pytest
from support.gateways import free_port
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

TRAIN = """
import penstock as wandb
for n in range(20):
    with wandb.init(project="p", id=f"run{n}", config={"n": n, "text": "x" * 2_000}, reinit=True) as run:
        run.log({"loss": float(n)})
"""
RUNS = 20
PAGE = 4_096


def zeroed(path: Path) -> None:
    """Every fifth page but the first."""
    data = bytearray(path.read_bytes())
    for start in range(5 * PAGE, len(data), 5 * PAGE):
        data[start : start + PAGE] = bytes(PAGE)
    path.write_bytes(bytes(data))


def without_beginning(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(b"\0" * PAGE + data[PAGE:])


@pytest.mark.parametrize("damage", [zeroed, without_beginning])
def test_up_starts_on_a_damaged_catalog(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    port = str(free_port())
    with running_up(tmp_path, "--port", port) as up:
        done = up.run_python(TRAIN)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: configs(up) == list(range(RUNS)), 60)
        key = up.api_key
    path = tmp_path / "data" / "catalog.db"
    with closing(sqlite3.connect(path)) as catalog:
        catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(path)
    with (
        (tmp_path / "said").open("wb") as said,
        running_up(tmp_path, "--port", port, stderr=said) as up,
    ):
        assert up.api_key == key
        assert b"catalog_damaged" in (tmp_path / "said").read_bytes()
        codes = [each["code"] for each in up.get("/readyz")["problems"]]
        assert "catalog_damaged" in codes
        (aside,) = (tmp_path / "data").glob("catalog-damaged-*")
        assert json.loads((aside / "about.json").read_text())["damage"]
        # Clients hold what was sent in the last ten minutes; the next run wakes their shipper.
        done = up.run_python("import penstock; penstock.init(project='p', id='after').finish()")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: configs(up) == list(range(RUNS)), 90)


def configs(up: Up) -> list[int | None]:
    """The value of `n` in each run's config."""
    found: list[int | None] = []
    for n in range(RUNS):
        try:
            found.append(up.get(f"/v1/runs/local/p/run{n}")["config"].get("n"))
        except HTTPError:
            found.append(None)
    return found
