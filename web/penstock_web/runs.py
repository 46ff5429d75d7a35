"""Projects, runs and keys: what the catalog knows, with the last logged values as the summary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from aiohttp import web

from penstock_common.http import json_response
from penstock_storage.interface import Catalog, LaneRow, PointStore, RunRef, RunRow
from penstock_storage.series import count_runs
from penstock_storage.summaries import Summary, read_summaries
from penstock_web.access import Access, not_found
from penstock_web.models.runs import RunsQuery
from penstock_web.names import Names
from penstock_web.requests import bad_field, query_of

__all__ = ["RunsHandler", "run_json"]


class RunsHandler:
    """Lists what there is to look at."""

    def __init__(self, store: PointStore, catalog: Catalog, access: Access, names: Names) -> None:
        self._store = store
        self._catalog = catalog
        self._access = access
        self._names = names

    async def projects(self, request: web.Request) -> web.Response:
        """`GET /v1/projects`: the asker's; with the scope `admin`, everybody's."""
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
        asked = query_of(request, RunsQuery)
        entity, project = request.match_info["entity"], request.match_info["project"]
        await self._access.reader(request, f"project {entity}/{project}")
        number = await self._names.project(entity, project)
        found = await self._catalog.runs(entity, project)
        start = int(asked.after) if asked.after and asked.after.isdecimal() else asked.offset or 0
        rows = found[start : start + asked.limit]
        following = start + len(rows)
        self._names.remember(rows)
        summaries = await self._summaries(number, rows, scalars_only=True)
        ending = {
            "total": len(found),
            "next": str(following) if rows and following < len(found) else None,
        }
        body = await asyncio.to_thread(_encode, rows, summaries, ending)
        return web.Response(body=body, content_type="application/json")

    async def run(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}`"""
        row = await self.found(request)
        summaries = await self._summaries(row.project_number, [row], scalars_only=False)
        return json_response(run_json(row, summaries.get(row.number)))

    async def keys(self, request: web.Request) -> web.Response:
        """`GET /v1/projects/{entity}/{project}/keys?runs=a,b`"""
        entity, project = request.match_info["entity"], request.match_info["project"]
        await self._access.reader(request, f"project {entity}/{project}")
        number = await self._names.project(entity, project)
        keys = await self._names.all_keys(number)
        runs = None
        if "runs" in request.query:
            wanted = [name for text in request.query.getall("runs") for name in text.split(",")]
            if len(wanted) > 10_000:
                raise bad_field("runs names more than 10000 runs")
            runs = (await self._names.runs(entity, project, wanted)).values()
        counts = await count_runs(self._store, set(keys.values()), runs)
        found = [
            {"key": name, "runs": counts[key]}
            for name, key in sorted(keys.items())
            if key in counts
        ]
        return json_response({"keys": found})

    async def found(self, request: web.Request) -> RunRow:
        """The run that the path names, if the asker may read it. Raises `Rejected` (404)."""
        ref = RunRef(*(request.match_info[name] for name in ("entity", "project", "run")))
        what = f"run {ref.entity}/{ref.project}/{ref.run}"
        await self._access.reader(request, what)
        row = await self._catalog.run(ref)
        if row is None:
            raise not_found(what)
        return row

    async def _summaries(
        self, project: int, rows: Sequence[RunRow], *, scalars_only: bool
    ) -> dict[int, Summary]:
        runs = [row.number for row in rows]
        if not runs:
            return {}
        keys, lanes = await asyncio.gather(self._names.all_keys(project), self._lanes(runs))
        names = {number: name for name, number in keys.items()}
        return await read_summaries(self._store, runs, lanes, names, scalars_only=scalars_only)

    async def _lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        return await self._names.lanes(runs)


def run_json(row: RunRow, logged: Summary | None) -> dict[str, Any]:
    """A run as the API shows it: what was set explicitly lies over what was logged."""
    return {
        "entity": row.entity,
        "project": row.project,
        "run": row.run,
        "name": row.name,
        "state": row.state,
        "group": row.group,
        "job_type": row.job_type,
        "tags": list(row.tags),
        "notes": row.notes,
        "config": row.config,
        "summary": {**(logged.values if logged else {}), **row.summary},
        "info": row.info,
        "created_at": row.created_at / 1e6,
        "updated_at": row.updated_at / 1e6,
        "last_step": logged.last_step if logged else None,
    }


def _encode(rows: Iterable[RunRow], summaries: dict[int, Summary], ending: dict[str, Any]) -> bytes:
    # Run by run, because one long dumps() would hold every other thread up.
    parts = (orjson.dumps(run_json(row, summaries.get(row.number))) for row in rows)
    return b'{"runs":[%b],%b' % (b",".join(parts), orjson.dumps(ending)[1:])
