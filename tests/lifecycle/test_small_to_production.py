"""docs/kubernetes.md, "From small to production": one server becomes a cluster while a run goes on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support.gateways import free_port
from support.postgres import running_postgres, why_no_postgres
from support.proxy import running_proxy
from support.redis import running_redis
from support.stack import eventually
from support.store import running_store
from support.up import Up, running_up

from penstock_storage.backup.archive import generations

# Logs a hundred rows each time that it is told to, then ends.
SCRIPT = """
import pathlib, time, penstock
folder = pathlib.Path({folder!r})
with penstock.init(project="moved", id="parts", config={{"lr": 0.5}}) as run:
    for part in range(3):
        while not (folder / str(part)).exists():
            time.sleep(0.02)
        for i in range(100 * part, 100 * part + 100):
            run.log({{"x": float(i)}})
        (folder / f"{{part}}-logged").touch()
"""
READ = """
import penstock
run = penstock.Api().run("moved/parts")
rows = list(run.scan_history(keys=["x"]))
assert [row["x"] for row in rows] == [float(i) for i in range(300)], rows
assert run.config == {"lr": 0.5} and run.state == "finished", (run.config, run.state)
"""


def environ_of(settings: Mapping[str, object]) -> dict[str, str]:
    plain = {name: text for name, text in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {**plain, **{f"PENSTOCK_{name.upper()}": str(v) for name, v in settings.items()}}


async def told(*arguments: str, **settings: str) -> None:
    """Run a command of Penstock; fails if it fails."""
    command = [sys.executable, "-m", "penstock.cli", *arguments]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env=environ_of(settings),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def pepper_of(copy: Path) -> str:
    """What `zstd -dc secrets.zst` shows as the pepper."""
    with zstandard.open(copy / "secrets.zst", "rt") as file:
        return str(json.load(file)["pepper"])


@asynccontextmanager
async def running_role(*command: str, **settings: object) -> AsyncIterator[None]:
    role = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock.cli", *command, env=environ_of(settings)
    )
    try:
        yield
        assert role.returncode is None, f"{command} ended"
    finally:
        if role.returncode is None:
            role.terminate()
        await asyncio.wait_for(role.wait(), 60)


def rows_of(up: Up) -> int:
    body: dict[str, Any] = up.get("/v1/runs/local/moved/parts")
    last = body["last_step"]
    return 0 if last is None else int(last) + 1


@pytest.mark.heavy
@pytest.mark.timeout(300)
async def test_one_server_becomes_a_cluster_while_a_run_goes_on(tmp_path: Path) -> None:
    """Every step of the manual, with processes for pods and a TCP proxy for the Service: the address, the API
    key and the run stay the same, and the rows of the meantime wait with the client."""
    if reason := why_no_postgres():
        pytest.skip(reason)
    go, copies, cluster = tmp_path / "go", tmp_path / "move", tmp_path / "cluster"
    go.mkdir()
    cluster.mkdir()
    with running_up(tmp_path) as up:
        async with running_proxy(up.url) as service:
            up.environ["PENSTOCK_BASE_URL"] = service.url
            script = up.start_python(SCRIPT.format(folder=str(go)))
            try:
                (go / "0").touch()

                async def first_part_is_stored() -> bool:
                    try:
                        return await asyncio.to_thread(rows_of, up) == 100
                    except OSError:  # not there yet
                        return False

                await eventually(first_part_is_stored, 60)
                service.drop()
                (go / "1").touch()

                async def second_part_is_logged() -> bool:
                    return (go / "1-logged").exists()

                await eventually(second_part_is_logged, 60)
                await told("backup", "--data", str(tmp_path / "data"), "--to", str(copies))
                up.stop()
                (copy,) = generations(copies)
                async with (
                    running_redis(cluster) as redis,
                    running_store(cluster) as store,
                    running_postgres() as postgres,
                ):
                    port = free_port()
                    settings = {
                        "redis_url": redis.url,
                        "store_url": store.url,
                        "store_token": store.token,
                        "catalog_url": await postgres.new_database(),
                        "blobs_url": str(cluster / "blobs"),
                        "secret": pepper_of(copy),
                    }
                    await told("restore", "--settings", "--from", str(copies), **settings)
                    async with (
                        running_role("gateway", **settings, port=port, serves="all"),
                        running_role("worker", **settings),
                    ):
                        service.target = f"http://127.0.0.1:{port}"
                        service.well()
                        (go / "2").touch()
                        assert await asyncio.to_thread(script.wait, 120) == 0
                        read = await asyncio.to_thread(up.run_python, READ)
                        assert read.returncode == 0, read.stderr
            finally:
                script.kill()
                script.wait()
