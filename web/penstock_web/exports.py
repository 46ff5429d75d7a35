"""`GET …/export`: full resolution as Parquet or CSV, in parts so that it can be resumed.

A part is an export of a range of steps, so there is no state between requests. An answer is complete
or its connection breaks: it never ends normally before its last row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.contents import attachment
from penstock_common.http.errors import json_response
from penstock_common.http.payloads import encode_json
from penstock_storage.contracts.catalog import RunCatalog
from penstock_storage.contracts.interface import PointStore, RunRow
from penstock_storage.readers.export import (
    MAX_COLUMNS,
    Export,
    ExportQuery,
    open_export,
    read_versions,
)
from penstock_storage.readers.history import origin_us
from penstock_storage.readers.summaries import read_summaries
from penstock_web.models import export
from penstock_web.names import Names
from penstock_web.requests import query_of
from penstock_web.runs import RunsHandler
from penstock_web.serialize import run_to_json
from penstock_web.streams import send_stream

__all__ = ["ExportHandler"]

_AT_ONCE = 1
_RUNS_PER_PAGE = 500
_CONTENT_TYPES = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv"}


class ExportHandler:
    """Exports runs, one part at a time, because each is heavy work for the store."""

    def __init__(
        self, store: PointStore, catalog: RunCatalog, runs: RunsHandler, names: Names
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._runs = runs
        self._names = names
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def parts(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}/export/parts`"""
        row = await self._runs.found(request)
        found = await self._open(row, query_of(request, export.LIST_EXPORT_PARTS))
        return json_response(
            {
                "version": found.version,
                "columns": [{"name": each.name, "kind": each.kind} for each in found.columns],
                "parts": [{"min_step": lo, "max_step": hi} for lo, hi in found.parts],
            }
        )

    async def run(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs/{entity}/{project}/{run}/export`"""
        row = await self._runs.found(request)
        query = query_of(request, export.EXPORT_RUN)
        found = await self._open(row, query)
        if len(found.parts) > 1 and query.format == "parquet":
            raise Rejected(
                f"this is too large for one Parquet file: it takes {len(found.parts)} parts",
                code=ErrorCode.EXPORT_TOO_LARGE,
                hint=f"Export the parts listed by {request.path}/parts, or use `penstock export`.",
            )
        if not found.parts:
            return web.Response(status=204)
        headers = {"ETag": f'"{found.version}"', **attachment(f"{row.run}.{query.format}")}
        response = web.StreamResponse(headers=headers)
        response.content_type = _CONTENT_TYPES[query.format]
        return await send_stream(request, response, self._files(found, query))

    async def project(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/projects/{entity}/{project}/export`"""
        project = await self._runs.project(request)
        response = web.StreamResponse(headers=attachment(f"{request.match_info['project']}.jsonl"))
        response.content_type = "application/x-ndjson"
        return await send_stream(request, response, self._lines(project))

    async def _open(self, row: RunRow, query: export.PartsQuery) -> Export:
        keys, lanes = await asyncio.gather(
            self._names.all_keys(row.project_number), self._names.lanes([row.number])
        )
        wanted = [keys[name] for name in query.keys if name in keys]
        if query.keys and not wanted:
            keys, wanted = {}, []
        found = await open_export(
            self._store,
            ExportQuery(
                run=row.number,
                lanes=lanes,
                names={number: name for name, number in keys.items()},
                keys=wanted,
                lo=query.min_step,
                hi=query.max_step,
                origin_us=origin_us(row, lanes),
                by_lane=query.lanes == "all",
                layout=query.layout,
            ),
        )
        if query.layout == "wide" and len(found.columns) > MAX_COLUMNS:
            raise Rejected(
                f"a table cannot have {len(found.columns)} columns, at most {MAX_COLUMNS}",
                code=ErrorCode.TOO_MANY_COLUMNS,
            )
        return found

    async def _files(self, found: Export, query: export.ExportParameters) -> AsyncIterator[bytes]:
        for number, (lo, hi) in enumerate(found.parts):
            chunks = found.read(self._store, query.format, lo, hi, header=number == 0)
            # The store has finished a part before its first byte, so a slow reader blocks nobody.
            async with self._turns:
                first = await anext(chunks, b"")
            yield first
            async for chunk in chunks:
                yield chunk

    async def _lines(self, project: int) -> AsyncIterator[bytes]:
        """The project's runs, newest first, page by page."""
        before: tuple[int, int] | None = None
        while True:
            page, _ = await self._catalog.newest_runs(project, _RUNS_PER_PAGE, 0, before)
            if not page:
                return
            before, numbers = page[-1], [number for _, number in page]
            rows, versions, keys, lanes = await asyncio.gather(
                self._catalog.run_rows(numbers),
                read_versions(self._store, numbers),
                self._names.all_keys(project),
                self._names.lanes(numbers),
            )
            names = {number: name for name, number in keys.items()}
            summaries = await read_summaries(self._store, numbers, lanes, names)
            lines = []
            for number in numbers:
                if row := rows.get(number):
                    shown = run_to_json(row, summaries.get(number))
                    lines.append(encode_json({**shown, "version": versions.get(number, "")}))
            yield b"".join(line + b"\n" for line in lines)
