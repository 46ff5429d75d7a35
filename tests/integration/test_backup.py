"""A backup brings everything back: to another folder, after the data is gone, and then it goes on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.postgres import running_postgres, why_no_postgres
from support.redis import running_redis
from support.stack import running_stack
from support.store import shared_store
from support.up import Up, end_shipper, running_up, start_up, wait_until

from penstock_storage.backup.archive import generations
from penstock_storage.blobs.blob_store import open_blobs
from penstock_storage.connect import open_catalog

TRAIN = """
import math, penstock as wandb
with wandb.init(project="kept", id="train", config={"lr": 0.1, "odd": math.nan}) as run:
    for i in range(500):
        run.log({"loss": 1 / (i + 1), "epoch": i // 100, "odd": math.nan if i % 3 else -0.0})
    run.log({"note": "done", "list": [1, 2]})
    run.summary["best"] = 7
"""
MORE = """
import penstock as wandb
with wandb.init(project="kept", id="later") as run:
    for i in range(20):
        run.log({"loss": float(i), "new/key": i})
"""
# Logs a hundred rows each time that it is told to, then ends: one writer all the time.
IN_PARTS = """
import pathlib, time, penstock as wandb
folder = pathlib.Path({folder!r})
with wandb.init(project="kept", id="parts") as run:
    for part in range(3):
        while not (folder / str(part)).exists():
            time.sleep(0.02)
        for i in range(100 * part, 100 * part + 100):
            run.log({{"x": float(i)}})
"""
BLOB = b"a picture of no particular thing" * 1000
DIGEST = hashlib.sha256(BLOB).hexdigest()


def cli(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock.cli", *arguments]
    named = {f"PENSTOCK_{name.upper()}": value for name, value in settings.items()}
    environ = {**os.environ, **named}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)


def copied(*arguments: str) -> None:
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr


def lines(up: Up, run: str) -> list[dict[str, Any]]:
    request = Request(f"{up.url}/v1/runs/local/kept/{run}/history")
    request.add_header("Authorization", f"Bearer {up.api_key}")
    with urlopen(request, timeout=30) as reply:
        return [json.loads(line) for line in reply.read().splitlines()]


def rows_of(up: Up, run: str) -> int:
    try:
        return len(lines(up, run))
    except HTTPError:  # not there yet
        return 0


def everything(up: Up) -> dict[str, Any]:
    chart = {"project": "kept", "runs": ["train"], "keys": ["loss", "odd"], "lanes": "rank"}
    return {
        "run": up.get("/v1/runs/local/kept/train"),
        "rows": lines(up, "train"),
        "charts": up.post("/v1/charts", chart),
        "keys": up.get("/v1/projects/local/kept/keys"),
        "projects": up.get("/v1/projects"),
    }


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


def put_blob(folder: Path) -> None:
    asyncio.run(_put_blob(folder))


async def _put_blob(folder: Path) -> None:
    await open_blobs(str(folder)).put(DIGEST, _chunks(BLOB), limit_bytes=2**20)


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(300)
def test_all_is_back_after_the_data_is_gone(tmp_path: Path) -> None:
    data, copies = tmp_path / "data", tmp_path / "copies"
    with running_up(tmp_path) as up:
        put_blob(data / "blobs")
        done = up.run_python(TRAIN)
        assert done.returncode == 0, done.stderr
        before, key = everything(up), up.api_key
        assert len(before["rows"]) == 501
        copied("backup", "--data", str(data), "--to", str(copies))  # while it runs
    shutil.rmtree(data)
    copied("restore", "--from", str(copies), "--data", str(data))
    for path in (data, data / "secrets"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (data / "api_key", data / "secrets" / "pepper"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with running_up(tmp_path) as up:
        assert up.api_key == key
        assert everything(up) == before
        assert (data / "blobs" / "sha256" / DIGEST[:2] / DIGEST).read_bytes() == BLOB
        # New names get new numbers: nothing of the old run changes when others log.
        done = up.run_python(MORE)
        assert done.returncode == 0, done.stderr
        assert [row["new/key"] for row in lines(up, "later")] == list(range(20))
        after = everything(up)
        assert after["run"] == before["run"]
        assert after["rows"] == before["rows"]


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_clients_send_again_what_the_copy_lacks(tmp_path: Path) -> None:
    data, copies, flags = tmp_path / "data", tmp_path / "copies", tmp_path / "flags"
    flags.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    up = start_up(tmp_path, port=port)
    script = subprocess.Popen(
        [sys.executable, "-c", IN_PARTS.format(folder=str(flags))],
        env=up.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        (flags / "0").touch()
        wait_until(lambda: rows_of(up, "parts") == 100, 30)
        copied("backup", "--data", str(data), "--to", str(copies))
        (flags / "1").touch()
        wait_until(lambda: rows_of(up, "parts") == 200, 30)
        # The copy's marks are those of the first part. The client was told that both are stored.
        up.stop()
        shutil.rmtree(data)
        copied("restore", "--from", str(copies), "--data", str(data))
        up = start_up(tmp_path, port=port)
        assert rows_of(up, "parts") in (100, 200)  # the client may have been quicker than this
        (flags / "2").touch()
        assert script.wait(60) == 0
        wait_until(lambda: rows_of(up, "parts") == 300, 30)
        assert [row["x"] for row in lines(up, "parts")] == [float(i) for i in range(300)]
    finally:
        script.kill()
        script.wait()
        up.stop()
        end_shipper(tmp_path)


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_what_is_not_whole_is_refused(tmp_path: Path) -> None:
    data, copies, new = tmp_path / "data", tmp_path / "copies", tmp_path / "new"
    with running_up(tmp_path) as up:
        put_blob(data / "blobs")
        body = {"project": "kept", "run": "r", "rows": [{"step": 1, "v": 1.0}]}
        up.post("/v1/batches", body)
        wait_until(lambda: up.get("/v1/projects")["projects"])
    copied("backup", "--data", str(data), "--to", str(copies))  # while it is stopped
    copied("backup", "--data", str(data), "--to", str(copies), "--keep", "1")
    (generation,) = generations(copies)
    for path in (copies, generation):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in generation.iterdir()} == {0o600}

    def refused(*arguments: str, saying: str) -> None:
        done = cli("restore", *arguments)
        assert done.returncode == 1
        assert saying in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert not new.exists()

    to_new = ("--data", str(new))
    refused("--from", str(copies), "--data", str(data), saying="not empty")
    refused("--from", str(tmp_path / "nowhere"), *to_new, saying="no backup")
    blob = copies / "blobs" / "sha256" / DIGEST[:2] / DIGEST
    blob.rename(tmp_path / "blob")
    refused("--from", str(copies), *to_new, saying=DIGEST)
    (tmp_path / "blob").rename(blob)
    for name in ("points.zst", "catalog.zst", "blobs.zst"):
        whole = (generation / name).read_bytes()
        (generation / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        refused("--from", str(copies), *to_new, saying=name)
        (generation / name).write_bytes(whole)
    (generation / "names.zst").rename(tmp_path / "names.zst")
    refused("--from", str(generation), *to_new, saying="names.zst")
    (tmp_path / "names.zst").rename(generation / "names.zst")
    manifest = (generation / "manifest.json").read_text()
    (generation / "manifest.json").write_text(manifest.replace('"format": 1', '"format": 99'))
    refused("--from", str(generation), *to_new, saying="format 99")
    (generation / "manifest.json").unlink()
    refused("--from", str(generation), *to_new, saying="manifest.json")
    (generation / "manifest.json").write_text(manifest)
    copied("restore", "--from", str(generation), "--data", str(new))
    assert not list(tmp_path.glob(".*restoring"))


@pytest.mark.heavy
@pytest.mark.timeout(300)
async def test_an_installation_by_url_moves_to_postgres_and_back(tmp_path: Path) -> None:
    if reason := why_no_postgres():
        pytest.skip(reason)
    copies, again, new = tmp_path / "copies", tmp_path / "again", tmp_path / "new"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with running_stack(tmp_path / "one", workers=1) as stack:
        blobs = tmp_path / "one" / "blobs"
        await _put_blob(blobs)
        body = {"project": "kept", "run": "r", "rows": [{"step": 1, "v": 1.5, "s": "text"}]}
        status, _ = await stack.post_raw(json.dumps(body).encode(), content_type="application/json")
        assert status == 202
        await stack.drained()
        source = {**stack.settings, "blobs_url": f"file://{blobs}"}
        done = await asyncio.to_thread(cli, "backup", "--settings", "--to", str(copies), **source)
        assert done.returncode == 0, done.stderr
        # Neither stores that hold something, nor a queue that has served them, are written to.
        restore = ("restore", "--settings", "--from", str(copies))
        done = await asyncio.to_thread(cli, *restore, **source)
        assert done.returncode == 1
        assert "queue contains data of another store" in done.stderr
        done = await asyncio.to_thread(cli, *restore, **source, prefix="other")
        assert done.returncode == 1
        assert "not empty" in done.stderr
        before = await stack.catalog.all_names()
        async with (
            shared_store() as store,
            running_redis(tmp_path / "two") as redis,
            running_postgres() as postgres,
        ):
            target = {
                "store_url": store.url,
                "store_token": store.token,
                "redis_url": redis.url,
                "catalog_url": await postgres.new_database(),
                "blobs_url": f"file://{tmp_path / 'two' / 'blobs'}",
            }
            done = await asyncio.to_thread(cli, *restore, **target)
            assert done.returncode == 0, done.stderr
            catalog = open_catalog(target["catalog_url"])
            assert sorted(await catalog.all_names()) == sorted(before)
            await catalog.close()
            done = await asyncio.to_thread(
                cli, "backup", "--settings", "--to", str(again), **target
            )
            assert done.returncode == 0, done.stderr
    (one,), (two,) = generations(copies), generations(again)
    rows = [json.loads((path / "manifest.json").read_text())["files"] for path in (one, two)]
    assert rows[0].keys() == rows[1].keys()
    for name in ("points", "times", "values", "catalog", "blobs", "names", "applied"):
        assert rows[0][name]["rows"] == rows[1][name]["rows"] > 0, name
    done = await asyncio.to_thread(cli, "restore", "--from", str(again), "--data", str(new))
    assert done.returncode == 0, done.stderr
    assert "contains no secrets" in done.stdout
    assert (new / "blobs" / "sha256" / DIGEST[:2] / DIGEST).read_bytes() == BLOB
