"""`GET …/history`: streams a run's rows as JSON lines."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import web

from penstock_storage.charts.plan import FOREVER
from penstock_storage.contracts.interface import PointStore, RunRow
from penstock_storage.readers.history import HistoryQuery, origin_us, read_history
from penstock_web.models.history import GET_HISTORY, RowsQuery
from penstock_web.names import Names
from penstock_web.requests import query_of
from penstock_web.runs import RunsHandler
from penstock_web.streams import send_stream

__all__ = ["HistoryHandler"]

_ALWAYS = frozenset({"_step", "_timestamp", "_runtime"})
"""Every row has these, so they filter nothing."""


class HistoryHandler:
    """Streams history; if the client disconnects, reading stops within a page."""

    def __init__(self, store: PointStore, runs: RunsHandler, names: Names) -> None:
        self._store = store
        self._runs = runs
        self._names = names

    async def get(self, request: web.Request) -> web.StreamResponse:
        row = await self._runs.found(request)
        parameters = query_of(request, GET_HISTORY)
        query = await self._query(parameters, row)
        content_type = "application/x-ndjson" + ("; nan=bare" if parameters.nan == "bare" else "")
        response = web.StreamResponse(headers={"Content-Type": content_type})
        if query is None:
            await response.prepare(request)
            return response
        async with aclosing(read_history(self._store, query)) as chunks:
            return await send_stream(request, response, chunks)

    async def _query(self, parameters: RowsQuery, row: RunRow) -> HistoryQuery | None:
        """None if the project lacks a requested key."""
        keys = set(parameters.keys) - _ALWAYS
        names = await self._names.all_keys(row.project_number)
        if not keys <= names.keys():
            return None
        lanes = await self._names.lanes([row.number])
        return HistoryQuery(
            run=row.number,
            lanes=lanes,
            names={number: name for name, number in names.items()},
            keys=[names[name] for name in keys],
            lo=-FOREVER if parameters.min_step is None else parameters.min_step,
            hi=FOREVER if parameters.max_step is None else parameters.max_step,
            origin_us=origin_us(row, lanes),
            by_lane=parameters.lanes == "all",
            is_bare=parameters.nan == "bare",
        )
