"""Deleted and moved runs from end to end: unreadable at once, gone from the store, never back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.stack import Stack, eventually, running_stack
from support.workers import kept_worker

from penstock.wire import Batch, Frame, encode_batch
from penstock_storage.clickhouse.schema import RUN_TABLES
from penstock_storage.contracts.interface import RunRef

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), gateways=2) as running:
        yield running


def now_us() -> int:
    return time.time_ns() // 1000


def batch(
    project: str,
    run: str,
    writer: str,
    seq: int,
    *,
    started: int = 1_700_000_000_000_000,
    state: str = "",
    value: float = 1.0,
    rows: int = 10,
) -> bytes:
    first = (seq - 1) * rows
    steps = np.arange(first, first + rows, dtype="<i8")
    values = np.stack([steps * value, steps + value]).astype("<f8")
    times = 1_700_000_000_000_000 + steps * 1_000_000
    frame = Frame(["loss", "acc"], steps.tobytes(), times.tobytes(), values.tobytes())
    records: list[dict[str, Any]] = [
        {
            "t": "value",
            "key": "note",
            "step": first,
            "time": 5,
            "kind": "string",
            "json": f'"{run}"',
        },
        {"t": "console", "line": seq, "stream": "stdout", "time": 5, "text": f"line {seq}"},
        {"t": "config", "update": {"lr": value}},
    ]
    if state:
        records.append({"t": "state", "state": state})
    return encode_batch(
        Batch(
            project=project, run=run, writer=writer, seq=seq, writer_started=started,
            frames=[frame], records=records,
        )
    )  # fmt: skip


async def sent(stack: Stack, *batches: bytes) -> None:
    for each in batches:
        status, reply = await stack.post(each)
        assert status == 202, reply
    await stack.drained()


async def call(
    stack: Stack, method: str, path: str, payload: Any = None, *, gateway: int = 0
) -> tuple[int, Any]:
    url = f"{stack.urls[gateway]}/v1/{path}"
    async with stack.session.request(method, url, json=payload) as reply:
        return reply.status, await reply.json(content_type=None) if reply.status != 204 else None


async def chart(stack: Stack, project: str, run: str, gateway: int) -> list[Any]:
    asked = {"project": project, "runs": [run], "keys": ["loss"]}
    status, found = await call(stack, "POST", "charts", asked, gateway=gateway)
    assert status == 200, found
    return list(found["series"])


async def listed(stack: Stack, project: str, gateway: int) -> list[str]:
    question = {"filter": {"config.lr": {"$exists": True}}}
    path = f"projects/local/{project}/runs/search"
    status, found = await call(stack, "POST", path, question, gateway=gateway)
    assert status == 200, found
    return sorted(run["run"] for run in found["runs"])


async def rows_of(stack: Stack, run: int) -> dict[str, int]:
    """How many rows each table has of a run."""
    found = {}
    for table in RUN_TABLES:
        sql = f"SELECT count() AS n FROM penstock.{table} WHERE run = {run}"
        found[table] = int((await stack.points.query(sql))["n"][0])
    return found


async def number_of(stack: Stack, project: str, run: str) -> int:
    ref = RunRef("local", project, run)
    return (await stack.catalog.numbers_of([ref]))[ref]


async def test_a_deleted_run_is_unreadable_at_once_everywhere(stack: Stack) -> None:
    await sent(stack, batch("gone", "a", "wa", 1), batch("gone", "b", "wb", 1))
    for gateway in (0, 1):  # what each remembers must not outlive the run
        assert await listed(stack, "gone", gateway) == ["a", "b"]
        assert len(await chart(stack, "gone", "a", gateway)) == 1
    assert await call(stack, "DELETE", "runs/local/gone/a") == (200, {"deleted": 1})
    for gateway in (0, 1):
        status, found = await call(stack, "GET", "runs/local/gone/a", gateway=gateway)
        assert (status, found["error"]["code"]) == (410, "deleted")
        assert "was deleted on" in found["error"]["message"]
        for path in ("history", "keys", "ledger", "export"):
            assert (await call(stack, "GET", f"runs/local/gone/a/{path}"))[0] == 410
        assert await listed(stack, "gone", gateway) == ["b"]
        status, found = await call(stack, "GET", "projects/local/gone/keys", gateway=gateway)
        assert {each["key"]: each["runs"] for each in found["keys"]} == {"acc": 1, "loss": 1}
        status, found = await call(stack, "GET", "projects/local/gone/fields", gateway=gateway)
        counts = {each["path"]: each["runs"] for each in found["fields"]}
        assert (counts["config.lr"], counts["summary.loss"], counts["summary.note"]) == (1, 1, 1)
        path = "projects/local/gone/runs"
        assert (await call(stack, "GET", path, gateway=gateway))[1]["total"] == 1
    assert await chart(stack, "gone", "a", 0) == []

    async def is_gone_there() -> bool:
        return await chart(stack, "gone", "a", 1) == []

    await eventually(is_gone_there, 3)
    assert len(await chart(stack, "gone", "b", 1)) == 1


async def test_nothing_of_old_writers_is_kept_and_the_id_is_free(stack: Stack) -> None:
    await sent(stack, batch("again", "a", "wa", 1, value=1))
    first = await number_of(stack, "again", "a")
    assert (await call(stack, "DELETE", "runs/local/again/a"))[0] == 200
    # A gateway that has not heard yet takes it; nothing comes of it.
    await stack.post(batch("again", "a", "wa", 2))
    await stack.post(batch("again", "a", "unheard-of", 1))
    await stack.drained()
    assert (await call(stack, "GET", "runs/local/again/a"))[0] == 410

    async def is_refused() -> bool:
        status, reply = await stack.post(batch("again", "a", "wa", 3))
        return status == 410 and reply["error"]["code"] == "deleted"

    await eventually(is_refused, 5)
    status, _ = await call(stack, "GET", "writers/local/again/a/wa")
    assert status == 410
    await sent(stack, batch("again", "a", "new", 1, started=now_us(), value=7))
    second = await number_of(stack, "again", "a")
    assert second > first
    (series,) = await chart(stack, "again", "a", 0)
    assert series["max"][-1] == 63
    assert (await call(stack, "GET", "writers/local/again/a/new"))[1]["committed"] == 1
    assert (await stack.post(batch("again", "a", "wa", 4)))[0] == 410


async def test_json_rows_bring_no_run_back_until_it_is_made_anew(stack: Stack) -> None:
    rows = {"project": "rows", "run": "r", "rows": [{"step": 1, "loss": 0.5}]}
    assert (await call(stack, "POST", "batches", rows))[0] == 202
    await stack.drained()
    assert (await call(stack, "DELETE", "runs/local/rows/r"))[0] == 200

    async def is_refused() -> bool:
        return (await call(stack, "POST", "batches", rows))[0] == 410

    await eventually(is_refused, 5)
    assert (await call(stack, "GET", "runs/local/rows/r"))[0] == 410
    assert (await call(stack, "POST", "runs", {"project": "rows", "run": "r"}))[0] == 201
    status, reply = await call(stack, "POST", "batches", rows)
    assert status == 202
    await stack.drained()
    assert (await call(stack, "GET", "runs/local/rows/r"))[1]["summary"] == {"loss": 0.5}
    writer = reply["marks"][0]["writer"]
    status, mark = await call(stack, "GET", f"writers/local/rows/r/{writer}")
    assert (status, mark["committed"]) == (200, reply["queued"])


async def test_the_rows_of_a_deleted_run_leave_the_store(stack: Stack) -> None:
    await sent(stack, *(batch("rows-of", "a", "wa", seq) for seq in (1, 2)))
    await sent(stack, batch("rows-of", "b", "wb", 1))
    gone, stays = [await number_of(stack, "rows-of", run) for run in "ab"]
    before = await rows_of(stack, stays)
    assert sum((await rows_of(stack, gone)).values()) > 0
    assert (await call(stack, "DELETE", "runs/local/rows-of/a"))[0] == 200

    async def is_purged() -> bool:
        return sum((await rows_of(stack, gone)).values()) == 0

    await eventually(is_purged, 60)
    assert await rows_of(stack, stays) == before


async def test_a_project_is_deleted_with_its_runs(stack: Stack) -> None:
    await sent(stack, batch("whole", "a", "wa", 1), batch("whole", "b", "wb", 1))
    assert await call(stack, "DELETE", "projects/local/whole") == (200, {"deleted": 2})
    _, found = await call(stack, "GET", "projects", gateway=1)
    assert "whole" not in {each["project"] for each in found["projects"]}
    assert (await call(stack, "GET", "projects/local/whole/runs"))[0] == 404
    await sent(stack, batch("whole", "c", "wc", 1, started=now_us()))
    assert await listed(stack, "whole", 0) == ["c"]


async def test_several_are_deleted_at_once(stack: Stack) -> None:
    await sent(stack, *(batch("several", run, f"w{run}", 1) for run in "abc"))
    path = "projects/local/several/runs/delete"
    assert await call(stack, "POST", path, {"runs": ["a", "c", "none"]}) == (200, {"deleted": 2})
    assert await listed(stack, "several", 1) == ["b"]


async def test_what_is_said_of_a_run_is_changed(stack: Stack) -> None:
    await sent(stack, batch("named", "a", "wa", 1))
    change = {"name": "best", "tags": ["x"], "notes": "n", "group": "g", "job_type": "j"}
    status, found = await call(stack, "PATCH", "runs/local/named/a", change)
    assert status == 200
    assert {name: found[name] for name in change} == change
    status, found = await call(stack, "PATCH", "runs/local/named/a", {"tags": []})
    assert (found["tags"], found["name"]) == ([], "best")
    # What the run's writer says later of other things leaves it so.
    await sent(stack, batch("named", "a", "wa", 2))
    assert (await call(stack, "GET", "runs/local/named/a"))[1]["name"] == "best"
    assert (await call(stack, "PATCH", "runs/local/named/a", {"run": "b"}))[0] == 400


async def sums(stack: Stack, project: str, run: str) -> dict[str, Any]:
    """By writer: where it stands, and a hash of each key's points and values."""
    status, ledger = await call(stack, "GET", f"runs/local/{project}/{run}/ledger")
    assert status == 200, ledger
    found: dict[str, Any] = {}
    for writer in ledger["writers"]:
        path = f"runs/local/{project}/{run}/ledger/{writer['writer']}"
        parts = [
            sorted(
                (each["key"], each["count"], each["hash"])
                for each in (await call(stack, "GET", f"{path}?part={part}"))[1]["keys"]
            )
            for part in ("points", "values")
        ]
        batches = (await call(stack, "GET", f"{path}?part=batches"))[1]["batches"]
        found[writer["writer"]] = (writer, parts, batches)
    return found


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_run_moves_with_every_point(stack: Stack) -> None:
    # The target numbers its keys otherwise.
    await sent(stack, batch("target", "other", "wo", 1))
    await sent(stack, *(batch("source", "m", "wa", seq, rows=3_000) for seq in range(1, 5)))
    status, reply = await call(stack, "PATCH", "runs/local/source/m", {"project": "target"})
    assert (status, reply["error"]["code"]) == (409, "still_running")
    await sent(stack, batch("source", "m", "wb", 1, state="finished", value=3))
    before, drawn = await sums(stack, "source", "m"), await chart(stack, "source", "m", 1)
    old = await number_of(stack, "source", "m")
    status, found = await call(stack, "PATCH", "runs/local/source/m", {"project": "target"})
    assert (status, found["project"], found["config"]) == (200, "target", {"lr": 3})
    assert await sums(stack, "target", "m") == before
    status, reply = await call(stack, "GET", "runs/local/source/m")
    assert (status, reply["error"]["code"]) == (410, "moved")
    assert "it is now local/target/m" in reply["error"]["message"]
    assert await listed(stack, "source", 1) == []
    assert await listed(stack, "target", 1) == ["m", "other"]
    assert await chart(stack, "target", "m", 1) == drawn
    # What its writers still had goes where the run is.
    await sent(stack, batch("source", "m", "wb", 2, value=3))
    assert (await sums(stack, "target", "m"))["wb"][0]["low"] == 2
    assert await number_of(stack, "target", "m") > old
    await sent(stack, batch("source", "m", "new", 1, started=now_us()))
    assert await listed(stack, "source", 0) == ["m"]
    assert set(await sums(stack, "target", "m")) == {"wa", "wb"}


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.parametrize("place", ["move", "before_switch"])
async def test_a_move_survives_its_worker(tmp_path: Path, faults: Path, place: str) -> None:
    async with (
        running_stack(tmp_path, workers=0) as stack,
        kept_worker(stack, failpoints=faults) as kept,
    ):
        await sent(stack, batch("source", "m", "wa", 1, state="finished"))
        before = await sums(stack, "source", "m")
        (faults / f"worker.{place}").write_text("kill\nkill")
        status, found = await call(stack, "PATCH", "runs/local/source/m", {"project": "t"})
        assert (status, found["project"]) == (200, "t")
        assert await sums(stack, "t", "m") == before
        assert len(kept.codes) == 2


@pytest.mark.heavy
async def test_queued_batches_and_late_rows_of_a_deleted_run_are_removed_by_any_worker(
    tmp_path: Path, faults: Path
) -> None:
    async with running_stack(tmp_path, workers=0) as stack:
        first = await stack.start_worker()
        await sent(stack, batch("q", "a", "wa", 1))
        number = await number_of(stack, "q", "a")
        await first.stop()
        for each in (batch("q", "a", "wa", 2), batch("q", "b", "wb", 1)):
            assert (await stack.post(each))[0] == 202
        assert (await call(stack, "DELETE", "runs/local/q/a"))[0] == 200
        (faults / "worker.purge").write_text("kill\nkill")
        async with kept_worker(stack, failpoints=faults, purge_until_s=30) as kept:
            await stack.drained(60)

            async def is_purged() -> bool:
                (tombstone,) = await stack.catalog.tombstones(0)
                return tombstone.purged_at > 0

            await eventually(is_purged, 60)
            assert sum((await rows_of(stack, number)).values()) == 0
            # A worker that had not heard might still write this.
            await stack.points.insert(
                "times",
                {
                    "run": np.array([number], np.uint32), "lane": np.zeros(1, np.uint16),
                    "step": np.array([5]), "t": np.array([5]), "seq": np.ones(1, np.uint32),
                },
            )  # fmt: skip

            async def is_settled() -> bool:
                return not await stack.catalog.open_tombstones()

            await eventually(is_settled, 60)
            assert sum((await rows_of(stack, number)).values()) == 0
            assert len(kept.codes) == 2
        assert await listed(stack, "q", 0) == ["b"]
        _, mark = await call(stack, "GET", "writers/local/q/b/wb")
        assert mark["committed"] == 1
