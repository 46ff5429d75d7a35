"""`penstock export`: whole files or none, whatever happens, and nothing is fetched twice."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from aiohttp import ClientError
from support.marks import SMOKE
from support.site import Site, running_site
from support.stack import eventually
from support.up import running_up

from penstock.reading.export import folder_of
from penstock_storage.readers import export

ODD = [math.nan, math.inf, -math.inf, -0.0, 0.1, 1 / 3]


in_one_loop = pytest.mark.asyncio(loop_scope="module")
pytestmark = SMOKE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


async def commit(site: Site, run: str, low: int, **add: Any) -> int:
    """Add points to a run, and the mark that says so; returns the run's number."""
    row = await site.add_run(run, **add)
    columns: dict[str, Any] = {
        name: np.array([value])
        for name, value in {"run": row.number, "lane": 0, "low": low, "ver": low}.items()
    }
    await site.store.insert("applied", {**columns, "writer": ["w"], "gaps": [[]], "dead": [[]]})
    return row.number


async def start(site: Site, *arguments: str) -> asyncio.subprocess.Process:
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "WANDB_"))},
        "PENSTOCK_BASE_URL": site.url,
        "PENSTOCK_API_KEY": site.key,
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock.cli", "export", *arguments),
        env=environ, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(site: Site, *arguments: str) -> tuple[int, str]:
    process = await start(site, *arguments)
    _, errors = await process.communicate()
    return process.returncode or 0, errors.decode()


def bits(values: list[float]) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


@in_one_loop
async def test_a_project_and_again_only_what_is_new(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "out"
    curve = dict(enumerate(ODD))
    await commit(
        site, "a", 1, curves={"loss": curve, "epoch": {0: 1.0, 5: 7.0}}, kinds={"epoch": 2}
    )
    await commit(site, "b %1=é", 1, curves={"loss": {3: 1.0}})
    await site.add_run("empty", {})
    status, said = await run(site, "team/demo", "--to", str(to))
    assert status == 0, said
    assert "3 runs exported" in said
    table = pq.read_table(to / "history" / "run=a")
    assert bits(table["loss"].to_pylist()) == bits(list(curve.values()))
    assert table["epoch"].to_pylist() == [1, None, None, None, None, 7]
    lines = [json.loads(line) for line in (to / "runs.jsonl").read_text().splitlines()]
    assert {line["run"] for line in lines} == {"a", "b %1=é", "empty"}
    async with site.client.get("/v1/runs/team/demo/a", headers=site.auth) as reply:
        shown = await reply.json()
    (line,) = (line for line in lines if line["run"] == "a")
    assert {name: line[name] for name in shown} == shown
    assert (to / "history" / folder_of("b %1=é")).is_dir()
    # All runs as one table, with the run as a column.
    whole = ds.dataset(to / "history", format="parquet", partitioning="hive").to_table(
        columns=["run", "loss"]
    )
    assert set(whole["run"].to_pylist()) == {"a", "b %1=é"}

    before = stamps(to)
    status, said = await run(site, "team/demo", "--to", str(to))
    assert (status, "0 runs exported" in said) == (0, True)
    assert stamps(to) == before
    await commit(site, "b %1=é", 2, curves={"loss": {4: 2.0}})
    status, said = await run(site, "team/demo", "--to", str(to))
    assert "1 runs exported" in said
    assert pq.read_table(to / "history" / folder_of("b %1=é"), partitioning=None)[
        "loss"
    ].to_pylist() == [1, 2]
    after = stamps(to)
    assert {path for path in before if after[path] == before[path]} == {
        path for path in before if "run=a" in path
    }
    status, said = await run(site, "team/demo", "--to", str(to), "--format", "csv")
    assert (status, "contains another export" in said) == (1, True)
    status, said = await run(site, "team/nothing", "--to", str(tmp_path / "none"))
    assert (status, "was not found" in said) == (1, True)


@pytest.mark.heavy
@pytest.mark.smoke
@in_one_loop
async def test_it_goes_on_after_kill_9(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, folder = tmp_path / "out", tmp_path / "out" / "history" / "run=long"
    monkeypatch.setattr(export, "_MAX_CELLS", 500)
    rng = np.random.default_rng(7)
    curves = {
        key: dict(enumerate(rng.choice([*ODD, *rng.standard_normal(50)], 3_000).tolist()))
        for key in ("a", "b")
    }
    await commit(site, "long", 1, project="killed", curves=curves)
    read = export.Export.read

    async def stalling(found: Any, store: Any, form: Any, lo: int, hi: int, **options: Any) -> Any:
        """As always, but the sixth part stops half-way."""
        whole = b"".join([chunk async for chunk in read(found, store, form, lo, hi, **options)])
        yield whole[: len(whole) // 2]
        if lo == 500:
            await asyncio.Event().wait()
        yield whole[len(whole) // 2 :]

    monkeypatch.setattr(export.Export, "read", stalling)
    process = await start(site, "team/killed/long", "--to", str(to))

    async def has_begun() -> bool:
        return (folder / ".000005.part").exists()

    await eventually(has_begun, 30)
    process.kill()
    await process.communicate()
    before = stamps(to)
    assert len(before) == 5
    monkeypatch.setattr(export.Export, "read", read)
    for path in before:
        pq.read_table(path, partitioning=None)  # what has its name is whole
    status, said = await run(site, "team/killed/long", "--to", str(to))
    assert status == 0, said
    after = stamps(to)
    assert len(after) == 30
    assert {path: after[path] for path in before} == before
    assert not list(folder.glob(".*"))
    table = pq.read_table(folder, partitioning=None)
    assert table["_step"].to_pylist() == list(range(3_000))
    for key, curve in curves.items():
        assert bits(table[key].to_pylist()) == bits(list(curve.values()))
    # Data that came in between makes the parts of before worthless.
    (folder / "000007.parquet").unlink()
    number = await commit(site, "long", 2, project="killed", curves={"a": {5: 123.0}})
    await site.store.execute(
        "INSERT INTO penstock.points SELECT key, run, lane, step, 123., 9 FROM penstock.points"
        " WHERE run = {run:UInt32} AND step = 5 LIMIT 1",
        {"run": number},
    )
    assert (await run(site, "team/killed/long", "--to", str(to)))[0] == 0
    assert pq.read_table(folder, partitioning=None)["a"].to_pylist()[5] == 123.0


@in_one_loop
async def test_over_http(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_MAX_CELLS", 40)
    await commit(
        site, "a", 1, project="http", curves={"x": {step: float(step) for step in range(100)}}
    )
    await site.add_run("empty", {}, project="http")
    base = "/v1/runs/team/http/a/export"

    async def ask(path: str, expected: int, **query: str) -> tuple[bytes, Any]:
        async with site.client.get(path, params=query, headers=site.auth) as reply:
            assert reply.status == expected, await reply.text()
            return await reply.read(), reply.headers

    body, _ = await ask(f"{base}/parts", 200)
    listed = json.loads(body)
    assert listed["columns"] == [{"name": "x", "kind": "float"}]
    assert len(listed["parts"]) == 10
    body, headers = await ask(base, 200, format="csv")
    rows = list(csv.DictReader(io.StringIO(body.decode())))
    assert [float(row["x"]) for row in rows] == list(range(100))
    assert headers["ETag"] == f'"{listed["version"]}"'
    body, _ = await ask(base, 413)
    assert json.loads(body)["error"]["code"] == "export_too_large"
    body, _ = await ask(base, 200, min_step="20", max_step="25", keys="x")
    assert pq.read_table(io.BytesIO(body))["x"].to_pylist() == [20, 21, 22, 23, 24]
    await ask("/v1/runs/team/http/empty/export", 204)
    await ask(base, 204, keys="unheard")
    await ask("/v1/runs/team/http/nobody/export", 404)
    for query in ({"format": "xlsx"}, {"layout": "tall"}, {"lanes": "some"}, {"min_step": "x"}):
        await ask(base, 400, **query)
    stranger = {"Authorization": f"Bearer {site.stranger}"}
    for path in (base, f"{base}/parts", "/v1/projects/team/http/export"):
        async with site.client.get(path, headers=stranger) as reply:
            assert reply.status == 404


@pytest.mark.heavy
@pytest.mark.smoke
@in_one_loop
async def test_what_breaks_off_is_not_taken_for_a_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_MAX_CELLS", 40)
    await commit(
        site, "a", 1, project="broken", curves={"x": {step: float(step) for step in range(100)}}
    )
    read = export.Export.read

    def broken(found: Any, store: Any, form: Any, lo: int, hi: int, **options: Any) -> Any:
        statement = read(found, store, form, lo, hi, **options)
        return statement if lo < 50 else store.download("SELECT throwIf(1) FORMAT CSV")

    monkeypatch.setattr(export.Export, "read", broken)
    url = "/v1/runs/team/broken/a/export?format=csv"
    async with site.client.get(url, headers=site.auth) as reply:
        assert reply.status == 200
        with pytest.raises(ClientError):
            await reply.read()
    to = tmp_path / "out"
    status, said = await run(site, "team/broken/a", "--to", str(to))
    assert status == 1, said
    assert len(stamps(to)) < 10
    monkeypatch.setattr(export.Export, "read", read)
    assert (await run(site, "team/broken/a", "--to", str(to)))[0] == 0
    assert pq.read_table(to / "history" / "run=a", partitioning=None)["x"].to_pylist() == list(
        range(100)
    )


LOGGED = """
import math, penstock as wandb
with wandb.init(project="kept", id="r", config={"lr": 0.1}) as run:
    for i, v in enumerate([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1 / 3]):
        run.log({"v": v, "n": 2**53 - i, "text": f"é{i}", "flag": i % 2 == 0}, step=i)
    run.log({"v": 1.5}, step=2**53 - 1)
    run.summary["best"] = 7
"""


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_what_a_script_logged_is_what_the_files_hold(tmp_path: Path) -> None:
    to = tmp_path / "out"
    with running_up(tmp_path) as up:
        done = up.run_python(LOGGED)
        assert done.returncode == 0, done.stderr
        command = [sys.executable, "-m", "penstock.cli", "export", "kept", "--to", str(to)]
        subprocess.run(command, env=up.environ, check=True, timeout=60, stderr=subprocess.DEVNULL)
    table = pq.read_table(to / "history" / "run=r", partitioning=None)
    assert table["_step"].to_pylist() == [0, 1, 2, 3, 4, 5, 2**53 - 1]
    assert bits(table["v"].to_pylist()) == bits(
        [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1 / 3, 1.5]
    )
    assert table["n"].to_pylist() == [*(2**53 - i for i in range(6)), None]
    assert table["text"].to_pylist() == [*(f"é{i}" for i in range(6)), None]
    assert table["flag"].to_pylist() == [*(i % 2 == 0 for i in range(6)), None]
    assert str(table.schema.field("_timestamp").type) == "timestamp[us, tz=UTC]"
    assert None not in table["_runtime"].to_pylist()
    (line,) = map(json.loads, (to / "runs.jsonl").read_text().splitlines())
    assert (line["config"], line["summary"]["best"], line["state"]) == ({"lr": 0.1}, 7, "finished")
