"""What every door answers 2xx is stored: honest data that is large or compresses well, and odd data, by
a real gateway and a real worker; and nobody else's rows wait for it."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from support.stack import Stack, running_stack

from penstock.wire import Batch, Frame, encode_batch

JSON = "application/json"
MANY = 100_001


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("large")) as running:
        yield running


async def rows(stack: Stack, run: str, **body: Any) -> tuple[int, dict[str, Any]]:
    sent = json.dumps({"project": "p", "run": run, **body}).encode()
    return await stack.post_raw(sent, content_type=JSON)


async def seen(stack: Stack, run: str) -> dict[str, Any]:
    await stack.drained()
    async with stack.session.get(f"{stack.urls[0]}/v1/runs/local/p/{run}") as reply:
        assert reply.status == 200
        found: dict[str, Any] = await reply.json()
        return found


async def history(stack: Stack, run: str) -> list[dict[str, Any]]:
    await stack.drained()
    url = f"{stack.urls[0]}/v1/runs/local/p/{run}/history"
    async with stack.session.get(url) as reply:
        assert reply.status == 200
        return [json.loads(line) for line in (await reply.text()).splitlines()]


@pytest.mark.heavy
@pytest.mark.asyncio(loop_scope="module")
async def test_rows(stack: Stack) -> None:
    status, _ = await rows(
        stack, "lists", config={"classes": [0] * MANY}, summary={"s": [1] * MANY}
    )
    assert status == 202
    status, _ = await rows(stack, "widths", rows=[{"step": i, f"k{i}": i} for i in range(10_001)])
    assert status == 202
    status, _ = await rows(
        stack,
        "nested",
        rows=[{"step": 1, "deep": {f"k{i}": i for i in range(20_001)}, "l": [0] * MANY}],
    )
    assert status == 202
    status, _ = await rows(stack, "cut", config={"huge": [0] * 600_000, "a": 1})
    assert status == 202
    status, _ = await rows(stack, "other", rows=[{"step": 1, "a": 1}])
    assert status == 202
    run = await seen(stack, "lists")
    assert (len(run["config"]["classes"]), len(run["summary"]["s"])) == (MANY, MANY)
    assert len(await history(stack, "widths")) == 10_001
    run = await seen(stack, "cut")
    assert run["config"] == {"a": 1}
    assert "600,000" in run["info"]["notice config.huge"]
    assert [row["a"] for row in await history(stack, "other")] == [1]


@pytest.mark.heavy
@pytest.mark.asyncio(loop_scope="module")
async def test_a_body_that_becomes_several_batches_is_stored_once(stack: Stack) -> None:
    body = json.dumps(
        {
            "project": "p",
            "run": "once",
            "rows": [{"step": i, f"k{i % 5_000}": i} for i in range(6_000)],
        }
    ).encode()
    for _ in range(2):
        status, answer = await stack.post_raw(
            body, content_type=JSON, headers={"Idempotency-Key": "one"}
        )
        assert status == 202
        assert answer["queued"] == 3
    other = body.replace(b'"step": 5,', b'"step": 6,', 1)
    status, _ = await stack.post_raw(other, content_type=JSON, headers={"Idempotency-Key": "one"})
    assert status == 409
    assert len(await history(stack, "once")) == 6_000


@pytest.mark.heavy
@pytest.mark.asyncio(loop_scope="module")
async def test_native_batches_of_any_ratio(stack: Stack) -> None:
    steps = struct.pack("<1000q", *range(1_000))
    ones = struct.pack("<d", 1.0) * 200_000
    frame = Frame([f"k{i}" for i in range(200)], steps, steps, ones)
    text = {"t": "console", "line": 0, "stream": "stdout", "time": 0, "text": "=" * 2**20}
    batch = Batch("p", "constant", "w", 1, frames=[frame], records=[text] * 30)
    raw = encode_batch(batch, compress=True)
    assert len(raw) * 1_000 < 30 * 2**20
    status, _ = await stack.post(raw)
    assert status == 202
    assert len(await history(stack, "constant")) == 1_000
    status, answer = await stack.post(*[raw] * 3)
    assert (status, answer["error"]["code"]) == (413, "batch_too_large")


@pytest.mark.smoke
@pytest.mark.heavy
@pytest.mark.asyncio(loop_scope="module")
async def test_the_file_stream(stack: Stack) -> None:
    constant = {f"k{i}": 1.0 for i in range(200)}
    lines: list[dict[str, Any]] = [{"_step": i, "_timestamp": 1.5, **constant} for i in range(300)]
    lines += [{"_step": i, "prompt": "p" * 4_096} for i in range(300, 400)]
    lines.append({"_step": 400, "list": list(range(MANY))})
    summary = {"list": list(range(MANY)), "huge": [0] * 600_000}
    files = {
        "wandb-history.jsonl": {"offset": 0, "content": [json.dumps(line) for line in lines]},
        "wandb-summary.json": {"offset": 0, "content": [json.dumps(summary)]},
        "output.log": {"offset": 0, "content": ["=" * 100_000]},
    }
    url = f"{stack.urls[0]}/files/local/p/stream/file_stream"
    body = io.BytesIO(json.dumps({"files": files}).encode())
    async with stack.session.post(url, data=body, headers={"Content-Type": JSON}) as reply:
        assert reply.status == 200
    found = await history(stack, "stream")
    assert len(found) == 401
    assert found[-1]["list"] == list(range(MANY))
    run = await seen(stack, "stream")
    assert len(run["summary"]["list"]) == MANY
    assert "notice summary.huge" in run["info"]


@pytest.mark.asyncio(loop_scope="module")
async def test_records_of_a_newer_client(stack: Stack) -> None:
    records: list[dict[str, Any]] = [
        {"t": "run", "name": "n", "gpu_kind": {"a": [1]}},
        {"t": "hologram", "a": 1},
        {"t": "state", "state": "finished", "because": "done"},
    ]
    status, _ = await stack.post(encode_batch(Batch("p", "newer", "w", 1, records=records)))
    assert status == 202
    run = await seen(stack, "newer")
    assert (run["name"], run["state"], run["info"]["gpu_kind"]) == ("n", "finished", {"a": [1]})
    assert "notice record hologram" in run["info"]
