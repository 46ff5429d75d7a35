"""`GET …/ledger`: what the store holds from each writer, which `penstock verify` compares with what
was sent."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, Literal

from aiohttp import web

from penstock_common.http.errors import json_response
from penstock_storage.contracts.interface import LaneRow, PointStore, RunRow
from penstock_storage.readers.ledger import read_batches, read_sums, read_writers
from penstock_web.access import not_found
from penstock_web.models.ledger import GET_LEDGER_PAGE, LedgerPageQuery
from penstock_web.names import Names
from penstock_web.requests import query_of
from penstock_web.runs import RunsHandler

__all__ = ["LedgerHandler"]

_AT_ONCE = 1


class LedgerHandler:
    """Reads ledgers one at a time, since each reads every point of a run."""

    def __init__(self, store: PointStore, runs: RunsHandler, names: Names) -> None:
        self._store = store
        self._runs = runs
        self._names = names
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def of_run(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}/ledger`"""
        row = await self._runs.found(request)
        keys, lanes = await asyncio.gather(
            self._names.all_keys(row.project_number), self._names.lanes([row.number])
        )
        async with self._turns:
            found = await read_writers(self._store, row.number, lanes, keys)
        return json_response(
            {
                "writers": [
                    {
                        "writer": each.lane.writer,
                        "rank": each.lane.rank,
                        "lane": each.lane.lane,
                        "started": each.lane.started,
                        "low": each.low,
                        "gaps": each.gaps,
                        "dead": each.dead,
                        "batches": each.batches,
                        "points_sent": each.sent,
                        "points_stored": each.stored,
                        "points_duplicate": each.duplicates,
                        "values_stored": each.values,
                    }
                    for each in found
                ]
            }
        )

    async def of_writer(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}/ledger/{writer}`"""
        row = await self._runs.found(request)
        query = query_of(request, GET_LEDGER_PAGE)
        lane = await self._lane(row, request.match_info["writer"])
        async with self._turns:
            if query.part == "batches":
                page = await self._batches(row, lane, query)
            else:
                page = await self._sums(row, lane, query.part, query)
        return json_response({"writer": lane.writer, **page})

    async def _lane(self, row: RunRow, writer: str) -> LaneRow:
        for lane in await self._names.lanes([row.number]):
            if lane.writer == writer:
                return lane
        raise not_found(f"writer {writer} of run {row.entity}/{row.project}/{row.run}")

    async def _batches(self, row: RunRow, lane: LaneRow, query: LedgerPageQuery) -> dict[str, Any]:
        found = await read_batches(self._store, row.number, lane.lane, query.after, query.limit)
        return {"batches": asdict(found), "next": _next(found.seq, query)}

    async def _sums(
        self,
        row: RunRow,
        lane: LaneRow,
        table: Literal["points", "values"],
        query: LedgerPageQuery,
    ) -> dict[str, Any]:
        keys = await self._names.all_keys(row.project_number)
        names = {number: name for name, number in keys.items()}
        found = await read_sums(
            self._store, table, row.number, lane.lane, keys, query.after, query.limit
        )
        return {
            "keys": [
                {"key": names.get(each.key, f"#{each.key}"), "count": each.count, "hash": each.hash}
                for each in found
            ],
            "next": _next([each.key for each in found], query),
        }


def _next(numbers: list[int], query: LedgerPageQuery) -> int | None:
    return numbers[-1] if len(numbers) >= query.limit else None
