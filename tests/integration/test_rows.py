"""JSON rows by hand: what docs/api.md shows, and what an Idempotency-Key promises."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from support.stack import Stack, eventually, running_stack

from penstock.wire import Batch, encode_batch
from penstock_storage.contracts.interface import Column, RunRef

JSON = "application/json"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


async def points_of(stack: Stack, project: str, run: str) -> dict[str, Column]:
    row = await stack.catalog.run(RunRef("local", project, run))
    assert row is not None
    return await stack.points.query(
        "SELECT v, seq FROM penstock.points FINAL WHERE run = {run:UInt32}", {"run": row.number}
    )


async def test_rows_become_points_and_values(stack: Stack) -> None:
    body = {
        "project": "curl",
        "run": "first",
        "name": "by hand",
        "tags": ["t"],
        "config": {"lr": 0.1},
        "rows": [
            {"step": 0, "loss": 0.5, "n": 3, "note": "hi", "ok": True, "nested": {"a": 1.5}},
            {"step": 1, "loss": "NaN", "n": 4, "_timestamp": 1_700_000_000.5},
        ],
        "state": "finished",
    }
    status, answer = await stack.post_raw(json.dumps(body).encode(), content_type=JSON)
    assert status == 202
    assert answer["queued"] == 1
    await stack.drained()
    url = f"{stack.urls[0]}/v1/runs/local/curl/first"
    async with stack.session.get(url) as reply:
        run = await reply.json()
    assert (run["name"], run["state"], run["tags"]) == ("by hand", "finished", ["t"])
    assert run["config"] == {"lr": 0.1}
    async with stack.session.get(f"{url}/history") as reply:
        rows = [json.loads(line) for line in (await reply.text()).splitlines()]
    first, second = rows
    assert (first["loss"], first["n"], first["note"], first["ok"]) == (0.5, 3, "hi", True)
    assert first["nested.a"] == 1.5
    assert isinstance(first["n"], int)
    assert (second["loss"], second["_timestamp"]) == ("NaN", 1_700_000_000.5)
    question = {"project": "curl", "runs": ["first"], "keys": ["loss"]}
    async with stack.session.post(f"{stack.urls[0]}/v1/charts", json=question) as reply:
        (series,) = (await reply.json())["series"]
    assert series["step"] == [0, 1]
    assert series["last"] == [0.5, None]
    assert series["non_finite"] == [0, 1]


async def test_an_idempotency_key_stores_once_and_refuses_another_body(stack: Stack) -> None:
    body = json.dumps({"project": "p", "run": "keyed", "rows": [{"step": 1, "a": 1}]}).encode()
    other = json.dumps({"project": "p", "run": "keyed", "rows": [{"step": 1, "a": 2}]}).encode()
    headers = {"Idempotency-Key": "k1"}
    for _ in range(3):
        status, answer = await stack.post_raw(body, content_type=JSON, headers=headers)
        assert (status, answer["queued"]) == (202, 1)
    status, answer = await stack.post_raw(other, content_type=JSON, headers=headers)
    assert (status, answer["error"]["code"]) == (409, "idempotency_conflict")
    status, answer = await stack.post_raw(other, content_type=JSON)
    assert (status, answer["queued"]) == (202, 2)
    await stack.drained()
    found = await points_of(stack, "p", "keyed")
    assert np.asarray(found["v"]).tolist() == [2.0]


def row(step: int) -> bytes:
    return json.dumps({"project": "p", "run": "r", "rows": [{"step": step, "a": 1}]}).encode()


async def test_the_answer_waits_for_the_store_if_it_is_asked_to(stack: Stack) -> None:
    for step in range(3):
        status, answer = await stack.post_raw(
            row(step), content_type=JSON, query={"wait": "committed"}
        )
        assert (status, answer["queued"], answer["committed"]) == (200, step + 1, step + 1)
        assert len((await points_of(stack, "p", "r"))["v"]) == step + 1
    raws = [
        encode_batch(Batch(project="p", run=run, writer="w", seq=1, frames=[]))
        for run in ("x", "y")
    ]
    status, answer = await stack.post(*raws, query={"wait": "committed"})
    assert status == 200
    assert [mark["committed"] for mark in answer["marks"]] == [1, 1]


@pytest.mark.heavy
@pytest.mark.smoke
async def test_it_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    async with running_stack(tmp_path, workers=0) as stack:
        query = {"wait": "committed", "timeout_s": "0.3"}
        status, answer = await stack.post_raw(row(1), content_type=JSON, query=query)
        assert (status, answer["queued"], answer["committed"]) == (202, 1, None)
        for bad in ({"wait": "soon"}, {"wait": "committed", "timeout_s": "31"}, {"waits": "1"}):
            status, answer = await stack.post_raw(row(1), content_type=JSON, query=bad)
            assert status == 400, bad
        assert await stack.backlog() == 1


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_volatile_queue_takes_rows_only_if_they_are_stored(tmp_path: Path) -> None:
    async with running_stack(tmp_path, workers=0, volatile_queue=True) as stack:
        redis = stack.redis.client()
        await redis.config_set("appendonly", "no")
        await redis.aclose()

        async def send() -> tuple[int, str]:
            query = {"timeout_s": "0.3"}
            status, answer = await stack.post_raw(
                row(1), content_type=JSON, query=query, headers={"Idempotency-Key": "k"}
            )
            return status, answer.get("error", {}).get("code", "")

        async def is_refused() -> bool:
            return await send() == (503, "queue_unsafe")

        await eventually(is_refused)
        await stack.start_worker()
        await stack.drained()
        assert await send() == (202, "")
        # A client that keeps a copy need not wait.
        raw = encode_batch(Batch(project="p", run="r", writer="w", seq=1, frames=[]))
        assert (await stack.post(raw))[0] == 202
