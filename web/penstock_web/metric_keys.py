"""Metric keys of a project or a run, and the fields by which a project's runs can be searched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.errors import json_response
from penstock_storage.charts.series import count_runs
from penstock_storage.contracts.interface import PointStore
from penstock_storage.readers.logged import read_logged_fields, read_run_keys
from penstock_storage.readers.rows import json_number
from penstock_storage.search.fields import catalog_fields, logged_field, merged
from penstock_storage.search.finder import Finder
from penstock_storage.search.index import uninterrupted
from penstock_storage.search.patterns import Pattern
from penstock_web.models.metric_keys import LIST_FIELDS, LIST_KEYS, LIST_RUN_KEYS, NamesQuery
from penstock_web.names import Names
from penstock_web.requests import bad_field, query_of
from penstock_web.runs import RunsHandler

__all__ = ["MetricKeysHandler"]

EntryT = TypeVar("EntryT")

_MAX_RUNS = 10_000


class MetricKeysHandler:
    """Lists sorted names, page by page."""

    def __init__(self, store: PointStore, runs: RunsHandler, names: Names, finder: Finder) -> None:
        self._store = store
        self._runs = runs
        self._names = names
        self._finder = finder

    async def of_project(self, request: web.Request) -> web.Response:
        """`GET /v1/projects/{entity}/{project}/keys?runs=a,b`"""
        project = await self._runs.project(request)
        query = query_of(request, LIST_KEYS)
        runs = None
        if query.runs is not None:
            if len(query.runs) > _MAX_RUNS:
                raise bad_field(f"runs names more than {_MAX_RUNS} runs")
            entity, name = request.match_info["entity"], request.match_info["project"]
            runs = (await self._names.runs(entity, name, query.runs)).values()
        every = await self._names.all_keys(project)
        keys = {key: every[key] for key in await _chosen(every, query)}
        gone = await self._names.gone(project)
        counts = await count_runs(self._store, set(keys.values()), runs, gone)
        found = [
            {"key": key, "runs": counts[number]} for key, number in keys.items() if number in counts
        ]
        return json_response(_page("keys", found, query, lambda each: str(each["key"])))

    async def of_run(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}/keys`"""
        row = await self._runs.found(request)
        query = query_of(request, LIST_RUN_KEYS)
        every = await self._names.all_keys(row.project_number)
        known = await read_run_keys(self._store, row.number)
        found = [
            {
                "key": name,
                "first_step": own.first_step,
                "last_step": own.last_step,
                "last": json_number(own.last, own.kinds),
                "kind": "int" if own.kinds == 2 else "float",
            }
            for name in await _chosen(every, query)
            if (own := known.get(every[name])) is not None
        ]
        return json_response(_page("keys", found, query, lambda each: str(each["key"])))

    async def fields(self, request: web.Request) -> web.Response:
        """`GET /v1/projects/{entity}/{project}/fields`"""
        project = await self._runs.project(request)
        query = query_of(request, LIST_FIELDS)
        keys = await self._names.all_keys(project)
        names = {number: f"summary.{name}" for name, number in keys.items()}
        chosen = set(await _chosen(names.values(), query))
        logged = await read_logged_fields(
            self._store,
            [number for number, name in names.items() if name in chosen],
            await self._names.gone(project),
        )
        async with self._finder.index.table(project) as table:
            paths = [
                (section, name)
                for section in ("config", "summary")
                for name in table.paths(section)
            ]
            wanted = set(await _chosen((f"{s}.{name}" for s, name in paths), query))
            mine = [path for path in paths if ".".join(path) in wanted]
            in_catalog = await uninterrupted(catalog_fields, table, mine)
        found = merged([*in_catalog, *(logged_field(names[each.key], each) for each in logged)])
        return json_response(_page("fields", found, query, lambda each: str(each["path"])))


async def _chosen(names: Iterable[str], query: NamesQuery) -> list[str]:
    """The names that match the prefix and the pattern and are on or after the page, sorted. Raises
    `Rejected` (400)."""
    found = [
        name
        for name in names
        if name.startswith(query.prefix) and (query.after is None or name > query.after)
    ]
    if query.regex is not None:
        try:
            found_in = Pattern(query.regex).found_in
        except ValueError as error:
            raise Rejected(f"regex {error}", code=ErrorCode.BAD_FIELD, hint="") from None
        found = await asyncio.to_thread(lambda: list(filter(found_in, found)))
    return sorted(found)


def _page(
    what: str, found: list[EntryT], query: NamesQuery, name: Callable[[EntryT], str]
) -> dict[str, object]:
    page = found[: query.limit]
    return {what: page, "next": name(page[-1]) if len(found) > len(page) else None}
