"""Images, tables, histograms and so on: which keys have them, and their values at a step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from penstock_common.http.errors import json_response
from penstock_common.http.payloads import encode_json
from penstock_storage.contracts.interface import PointStore
from penstock_storage.readers.media import RunMedia, read_media, read_media_keys
from penstock_storage.readers.rows import json_value
from penstock_web.access import Access
from penstock_web.models.media import GET_MEDIA, GET_RUN_MEDIA, LIST_MEDIA_KEYS, MediaQuery
from penstock_web.names import Names
from penstock_web.requests import body_of, query_of
from penstock_web.runs import RunsHandler

__all__ = ["MediaHandler"]


class MediaHandler:
    """Reads logged values other than numbers."""

    def __init__(self, store: PointStore, access: Access, runs: RunsHandler, names: Names) -> None:
        self._store = store
        self._access = access
        self._runs = runs
        self._names = names

    async def keys(self, request: web.Request) -> web.Response:
        """`GET /v1/projects/{entity}/{project}/media`"""
        project = await self._runs.project(request)
        query = query_of(request, LIST_MEDIA_KEYS)
        runs = None
        if query.runs is not None:
            entity, name = request.match_info["entity"], request.match_info["project"]
            runs = (await self._names.runs(entity, name, query.runs)).values()
        names = {number: key for key, number in (await self._names.all_keys(project)).items()}
        found = await read_media_keys(self._store, names, runs)
        keys = [{"key": names[each.key], "kinds": each.kinds, "runs": each.runs} for each in found]
        return json_response({"keys": sorted(keys, key=lambda each: str(each["key"]))})

    async def of_run(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}/media`"""
        row = await self._runs.found(request)
        query = query_of(request, GET_RUN_MEDIA)
        return await self._answer(row.project_number, {row.run: row.number}, query)

    async def of_runs(self, request: web.Request) -> web.Response:
        """`POST /v1/media`"""
        principal = await self._access.principal(request)
        query = await body_of(request, GET_MEDIA)
        self._access.check(principal, query.entity, f"project {query.entity}/{query.project}")
        project = await self._names.project(query.entity, query.project)
        runs = await self._names.runs(query.entity, query.project, query.runs)
        return await self._answer(project, runs, query)

    async def _answer(
        self, project: int, runs: Mapping[str, int], query: MediaQuery
    ) -> web.Response:
        number = (await self._names.keys(project, [query.key])).get(query.key)
        found: list[RunMedia] = []
        if number is not None and runs:
            lanes = await self._names.lanes(list(runs.values()))
            found = await read_media(self._store, number, lanes, at=query.step, most=query.most)
        by_run = {each.run: each for each in found}
        shown = [(name, by_run[number]) for name, number in runs.items() if number in by_run]
        body = await asyncio.to_thread(_encode, query.key, shown)
        return web.Response(body=body, content_type="application/json")


def _encode(key: str, shown: list[tuple[str, RunMedia]]) -> bytes:
    return encode_json(
        {
            "key": key,
            "runs": [
                {
                    "run": name,
                    "steps": each.steps,
                    "values": [
                        {"step": value.step, "kind": value.kind, "value": json_value(value.text)}
                        for value in each.values
                    ],
                }
                for name, each in shown
            ],
        }
    )
