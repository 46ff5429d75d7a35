"""`GET …/diff`: the first step at which two runs of a project differ."""

from __future__ import annotations

from aiohttp import web

from penstock_common.http.errors import json_response
from penstock_storage.contracts.interface import PointStore
from penstock_storage.readers.diff import DiffQuery, read_diff
from penstock_web.access import Access, not_found
from penstock_web.models.diff import GET_DIFF
from penstock_web.names import Names
from penstock_web.requests import bad_field, query_of

__all__ = ["DiffHandler"]


class DiffHandler:
    """Compares runs; the store does the work."""

    def __init__(self, store: PointStore, access: Access, names: Names) -> None:
        self._store = store
        self._access = access
        self._names = names

    async def get(self, request: web.Request) -> web.Response:
        entity, project = request.match_info["entity"], request.match_info["project"]
        await self._access.reader(request, f"project {entity}/{project}")
        query = query_of(request, GET_DIFF)
        if query.runs[0] == query.runs[1]:
            raise bad_field("runs must name two different runs")
        numbers = await self._names.runs(entity, project, query.runs)
        for name in query.runs:
            if name not in numbers:
                raise not_found(f"run {entity}/{project}/{name}")
        a, b = (numbers[name] for name in query.runs)
        keys = await self._names.all_keys(await self._names.project(entity, project))
        wanted = [keys[name] for name in query.keys if name in keys]
        if query.keys and not wanted:
            return json_response(
                {"step": None, "keys": [], "compared": 0, "only_a": [], "only_b": []}
            )
        lanes = await self._names.lanes([a, b])
        found = await read_diff(
            self._store,
            DiffQuery(
                runs=(a, b),
                lanes=([lane for lane in lanes if lane.run == a],
                       [lane for lane in lanes if lane.run == b]),
                names={number: name for name, number in keys.items()},
                keys=wanted,
                tolerance=query.tolerance,
            ),
        )  # fmt: skip
        return json_response(
            {
                "step": min((each.step for each in found.differences), default=None),
                "keys": [
                    {
                        "key": each.key,
                        "step": each.step,
                        "rank": each.rank,
                        "a": each.a,
                        "b": each.b,
                    }
                    for each in found.differences
                ],
                "compared": found.compared,
                "only_a": found.only_a,
                "only_b": found.only_b,
            }
        )
