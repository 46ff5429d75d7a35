"""A folder of the official client that is synced twice: first a part of it, then all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from support.marks import first_of
from support.stack import Stack, running_stack

BEGAN, LINES = 1_700_000_000, 30
_UPSERT = """
mutation UpsertBucket($name: String, $project: String, $entity: String, $host: String) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, host: $host}) {
    bucket { id }
  }
}
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


async def begin(stack: Stack, run: str) -> None:
    variables = {"name": run, "project": "p", "entity": "local", "host": "node1"}
    body = {"query": _UPSERT, "variables": variables}
    async with stack.session.post(f"{stack.urls[0]}/graphql", json=body) as reply:
        assert "errors" not in await reply.json()


async def send(stack: Stack, run: str, **fields: Any) -> None:
    url = f"{stack.urls[0]}/files/local/p/{run}/file_stream"
    async with stack.session.post(url, json=fields) as reply:
        assert reply.status == 200, await reply.text()


def history(start: int, end: int) -> dict[str, Any]:
    rows = [
        {"_step": at, "_runtime": at / 1e3, "_timestamp": BEGAN + at / 1e3, "loss": at}
        for at in range(start, end)
    ]
    return {"wandb-history.jsonl": {"offset": start, "content": [json.dumps(row) for row in rows]}}


CONSOLE = {"output.log": {"offset": 0, "content": ["hello"]}}
END = {"complete": True, "exitcode": 0}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("cut", first_of(LINES // 3, 2 * LINES // 3, LINES))
async def test_the_whole_folder_ends_the_run(stack: Stack, cut: int) -> None:
    """In requests of other sizes than the first time, with the console before the rows."""
    run = f"synced-{cut}"
    await begin(stack, run)
    await send(stack, run, files=history(0, cut))
    await begin(stack, run)
    await send(stack, run, files=CONSOLE)
    await send(stack, run, files=history(0, 2 * LINES // 3))
    await send(stack, run, files=history(2 * LINES // 3, LINES), **END)
    base = f"{stack.urls[0]}/v1/runs/local/p/{run}"
    async with stack.session.get(base) as reply:
        assert (await reply.json())["state"] == "finished"
    async with stack.session.get(f"{base}/history") as reply:
        rows = [json.loads(line) for line in (await reply.read()).splitlines()]
    assert [row["loss"] for row in rows if "loss" in row] == list(range(LINES))
