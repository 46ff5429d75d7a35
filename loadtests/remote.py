"""A server over its public API: resending a batch, waiting for commits, reading data back for the
ledger where the store itself is out of reach."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
import numpy as np
from benchmarks.generate import WriterPlan, batch_bytes, expected, key_names
from benchmarks.ledger import Ledger

from loadtests.shapes import Kind
from penstock.wire import CONTENT_TYPE, join_batches

__all__ = ["Server", "check", "compare"]


class Server:
    """One server, one key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, kind: Kind, plan: WriterPlan, seq: int) -> None:
        """Send one batch until it is accepted."""
        body = join_batches([batch_bytes(kind.batch, plan, seq, project=kind.project)])
        headers = {"Content-Type": CONTENT_TYPE}
        while True:
            url = f"{self._url}/v1/batches"
            async with self._session.post(url, data=body, headers=headers) as reply:
                if reply.status == 202:
                    return
                if reply.status not in (429, 503):
                    raise RuntimeError(f"the server answered {reply.status}: {await reply.text()}")
            await asyncio.sleep(0.5)

    async def committed(self, kind: Kind, plan: WriterPlan, seq: int) -> None:
        """Wait until everything up to `seq` is in the store."""
        path = f"/v1/writers/-/{kind.project}/{plan.run_name}/{plan.name}"
        while True:
            async with self._session.get(self._url + path) as reply:
                mark = await reply.json()
            if (mark.get("committed") or 0) >= seq:
                return
            await asyncio.sleep(0.05)

    async def entity(self) -> str:
        async with self._session.get(f"{self._url}/v1/viewer") as reply:
            return str((await reply.json())["entity"])

    async def history(self, entity: str, kind: Kind, plan: WriterPlan) -> list[dict[str, Any]]:
        path = f"/v1/runs/{entity}/{kind.project}/{plan.run_name}/history"
        async with self._session.get(self._url + path) as reply:
            text = await reply.text()
        return [json.loads(line) for line in text.splitlines()] if reply.status == 200 else []


async def check(url: str, api_key: str, kind: Kind, sent: Mapping[WriterPlan, int]) -> Ledger:
    """Compare every point that was sent with the rows that the read API returns."""
    ledger = Ledger()
    async with Server(url, api_key) as server:
        entity = await server.entity()
        for plan, batches in sent.items():
            rows = await server.history(entity, kind, plan)
            compare(ledger, kind, plan, batches, rows)
    return ledger


def compare(
    ledger: Ledger, kind: Kind, plan: WriterPlan, batches: int, rows: list[dict[str, Any]]
) -> None:
    """Add one writer's rows to the ledger."""
    steps, values = expected(kind.batch, plan, batches)
    by_step: dict[int, dict[str, Any]] = {}
    names = key_names(kind.batch)
    for row in rows:
        step = int(row["_step"])
        ledger.duplicate += len(names) * (step in by_step)
        by_step[step] = row
    ledger.phantom += len(names) * len(by_step.keys() - set(steps.tolist()))
    ledger.points += values.size
    for column, step in enumerate(steps.tolist()):
        row = by_step.get(step, {})
        for number, name in enumerate(names):
            if name not in row:
                ledger.missing += 1
            else:
                wanted = values[number, column]
                got = float(row[name])
                ledger.altered += not (got == wanted or (np.isnan(got) and np.isnan(wanted)))
