"""Projects and runs: filtered, sorted and paged, with the last logged values."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.errors import json_response
from penstock_common.http.payloads import decode_json, encode_json
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore, RunRef, RunRow
from penstock_storage.readers.summaries import Summary, read_last_step, read_summaries
from penstock_storage.search.filters import parse_filter
from penstock_storage.search.finder import Finder, Found, Question
from penstock_storage.search.ordering import Cursor, parse_order
from penstock_storage.search.paths import Path, bad_request, parse_path
from penstock_web.access import Access, not_found
from penstock_web.models.runs import GET_RUN, LIST_RUNS, SEARCH_RUNS, RunsQuery, RunsSearch
from penstock_web.names import Names
from penstock_web.requests import bad_field, body_of, query_of
from penstock_web.serialize import run_to_json, runs_to_json

__all__ = ["RunsHandler"]


class RunsHandler:
    """Searches and serves runs."""

    def __init__(
        self, store: PointStore, catalog: Catalog, access: Access, names: Names, finder: Finder
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._access = access
        self._names = names
        self._finder = finder

    async def projects(self, request: web.Request) -> web.Response:
        """`GET /v1/projects`: the caller's; with the scope `admin`, everyone's."""
        principal = await self._access.principal(request)
        entity = None if "admin" in principal.scopes else principal.entity
        rows = await self._catalog.projects(entity)
        return json_response(
            {
                "projects": [
                    {
                        "entity": row.entity,
                        "project": row.project,
                        "runs": row.runs,
                        "created_at": row.created_at / 1e6,
                        "updated_at": row.updated_at / 1e6,
                    }
                    for row in rows
                    if principal.may_read(row.entity)
                ]
            }
        )

    async def runs(self, request: web.Request) -> web.Response:
        """`GET /v1/projects/{entity}/{project}/runs`"""
        project = await self.project(request)
        query = query_of(request, LIST_RUNS)
        filter_ = None
        if query.filter is not None:
            try:
                filter_ = decode_json(query.filter)
            except ValueError as error:
                raise bad_request(f"filter is not valid JSON: {error}") from None
        return await self._page(project, query, filter_)

    async def search(self, request: web.Request) -> web.Response:
        """`POST /v1/projects/{entity}/{project}/runs/search`"""
        project = await self.project(request)
        query = await body_of(request, SEARCH_RUNS)
        return await self._page(project, query, query.filter)

    async def run(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}`"""
        row = await self.found(request)
        query = query_of(request, GET_RUN)
        summaries = await self._summaries([row], scalars_only=False)
        found = run_to_json(row, summaries.get(row.number))
        if query.rank is not None:
            lanes = await self._names.lanes([row.number])
            found["last_step"] = await read_last_step(self._store, row.number, lanes, query.rank)
        return web.Response(body=encode_json(found), content_type="application/json")

    async def found(self, request: web.Request) -> RunRow:
        """The run in the path, if the caller may read it. Raises `Rejected` (404)."""
        ref = RunRef(*(request.match_info[name] for name in ("entity", "project", "run")))
        what = f"run {ref.entity}/{ref.project}/{ref.run}"
        await self._access.reader(request, what)
        row = await self._catalog.run(ref)
        if row is None:
            await self._refuse_gone(ref)
            raise not_found(what)
        return row

    async def _refuse_gone(self, ref: RunRef) -> None:
        """Raises `Rejected` (410) for a run that once existed."""
        tombstones = (await self._catalog.tombstones_of([ref])).get(ref)
        if not tombstones:
            return
        last = tombstones[-1]
        at = f"{datetime.fromtimestamp(last.deleted_at / 1e6, UTC):%Y-%m-%d at %H:%M:%S} UTC"
        text = f"run {'/'.join(ref)} was deleted on {at}"
        if last.moved_to:
            rows = await self._catalog.run_rows([last.moved_to])
            row = rows.get(last.moved_to)
            text = f"run {'/'.join(ref)} was moved on {at}"
            if row is not None:
                text += f": it is now {row.entity}/{row.project}/{row.run}"
        raise Rejected(text, code=ErrorCode.DELETED if not last.moved_to else ErrorCode.MOVED)

    async def project(self, request: web.Request) -> int:
        """The number of the project in the path, if the caller may read it. Raises `Rejected`
        (404)."""
        entity, project = request.match_info["entity"], request.match_info["project"]
        await self._access.reader(request, f"project {entity}/{project}")
        return await self._names.project(entity, project)

    async def _page(
        self, project: int, query: RunsQuery | RunsSearch, filter_: object
    ) -> web.Response:
        fields = _fields(query)
        question = await asyncio.to_thread(_question, query, filter_)  # patterns are compiled
        found = await self._finder.find(project, question)
        by_number = await self._catalog.run_rows(found.numbers)
        rows = [by_number[number] for number in found.numbers if number in by_number]
        self._names.remember(rows)
        summaries = await self._summaries(rows, scalars_only=True, fields=fields)
        body = await asyncio.to_thread(_encode, rows, summaries, fields, found)
        return web.Response(body=body, content_type="application/json")

    async def _summaries(
        self, rows: Sequence[RunRow], *, scalars_only: bool, fields: Sequence[Path] | None = None
    ) -> dict[int, Summary]:
        runs = [row.number for row in rows]
        if not runs:
            return {}
        lanes = self._names.lanes(runs)
        if fields is None:
            keys, own_lanes = await asyncio.gather(
                self._names.all_keys(rows[0].project_number), lanes
            )
            wanted = None
        else:
            logged = [path.name for path in fields if path.section == "summary"]
            keys, own_lanes = await asyncio.gather(
                self._names.keys(rows[0].project_number, logged), lanes
            )
            wanted = list(keys.values())
        return await read_summaries(
            self._store,
            runs,
            own_lanes,
            {number: name for name, number in keys.items()},
            scalars_only=scalars_only,
            keys=wanted,
        )


def _question(query: RunsQuery | RunsSearch, filter_: object) -> Question:
    if query.after is not None and query.offset is not None:
        raise bad_field("after and offset cannot be combined")
    order = parse_order([query.order] if isinstance(query.order, str) else query.order)
    return Question(
        filter=None if filter_ is None else parse_filter(filter_),
        search=query.search or "",
        order=order,
        limit=query.limit,
        offset=query.offset or 0,
        after=None if query.after is None else Cursor.decode(query.after, order),
    )


def _fields(query: RunsQuery | RunsSearch) -> list[Path] | None:
    if query.fields is None:
        return None
    if query.fields == ["none"]:
        return []
    return [parse_path(text, "fields") for text in query.fields]


def _encode(
    rows: Sequence[RunRow],
    summaries: dict[int, Summary],
    fields: Sequence[Path] | None,
    found: Found,
) -> bytes:
    shown: list[dict[str, Any]] = [
        run_to_json(row, summaries.get(row.number), fields) for row in rows
    ]
    return runs_to_json(shown, found.total, found.next)
