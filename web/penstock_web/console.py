"""`GET …/console`: a run's console output, page by page from either end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiohttp import web

from penstock.wire import SYSTEM_RANK
from penstock_common.http.errors import json_response
from penstock_storage.contracts.interface import PointStore
from penstock_storage.readers.console import (
    ConsoleLine,
    ConsoleQuery,
    count_lines,
    open_console,
    read_lines,
)
from penstock_web.models.console import GET_CONSOLE
from penstock_web.names import Names
from penstock_web.requests import query_of
from penstock_web.runs import RunsHandler

__all__ = ["ConsoleHandler"]


class ConsoleHandler:
    """Reads console lines."""

    def __init__(self, store: PointStore, runs: RunsHandler, names: Names) -> None:
        self._store = store
        self._runs = runs
        self._names = names

    async def get(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}/console`"""
        row = await self._runs.found(request)
        query = query_of(request, GET_CONSOLE)
        lanes = await self._names.lanes([row.number])
        console = await open_console(self._store, row.number, lanes)
        every = ConsoleQuery(
            row.number,
            lane=query.lane,
            search=query.search,
            stream=query.stream,
            ends=console.ends,
        )
        page = replace(
            every,
            after=_place(query.after),
            before=_place(query.before),
            is_last=query.end == "last",
            limit=query.limit,
        )
        lines, total = await asyncio.gather(
            read_lines(self._store, page), count_lines(self._store, every)
        )
        return json_response(
            {
                "lines": [_line(line) for line in lines],
                "total": total,
                "lanes": [
                    # A process beside a rank records what that prints.
                    {"lane": lane.lane, "rank": lane.rank % SYSTEM_RANK, "writer": lane.writer}
                    for lane in console.lanes
                ],
                "previous": _cursor(lines[0]) if lines else None,
                "next": _cursor(lines[-1]) if lines else None,
            }
        )


def _line(line: ConsoleLine) -> dict[str, object]:
    return {
        "line": line.line,
        "lane": line.lane,
        "stream": line.stream,
        "time": line.t / 1e6 if line.t else None,
        "text": line.text,
    }


def _cursor(line: ConsoleLine) -> str:
    return f"{line.line}.{line.lane}"


def _place(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    line, lane = cursor.split(".")
    return int(line), int(lane)
