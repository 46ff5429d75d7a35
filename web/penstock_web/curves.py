"""`POST /v1/charts`: checks the request, turns names into numbers, and writes curves out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import msgpack
import orjson
from aiohttp import web

from penstock_common.http import POINTS
from penstock_storage.charts import Chart, ChartQuery, ChartReader, Curve, LaneMode
from penstock_storage.interface import PointStore
from penstock_web.access import Access
from penstock_web.names import Names
from penstock_web.requests import bad_field, json_object, name_list, number_field

__all__ = ["ChartHandler", "encode_json", "encode_msgpack"]

_FIELDS = frozenset({"entity", "project", "runs", "keys", "x", "from", "to", "buckets", "lanes"})
_COLUMNS = ("step", "x", "min", "max", "mean", "last", "count", "non_finite", "first_step")
_MAX_RUNS = 5_000
_MAX_KEYS = 1_000
_MAX_BUCKETS = 10_000
_SMALL_BUCKETS = 2_000

Name = tuple[str, str]
"""(run, key)"""


class ChartHandler:
    """Answers with exact curves, as JSON or msgpack."""

    def __init__(self, store: PointStore, access: Access, names: Names) -> None:
        self._charts = ChartReader(store, names.lanes)
        self._access = access
        self._names = names

    async def post(self, request: web.Request) -> web.Response:
        principal = await self._access.principal(request)
        asked = _parse(await json_object(request, _FIELDS), principal.entity)
        self._access.check(principal, asked.entity, f"project {asked.entity}/{asked.project}")
        project = await self._names.project(asked.entity, asked.project)
        runs = await self._names.runs(asked.entity, asked.project, asked.runs)
        keys = await self._names.keys(project, asked.keys)
        query = replace(asked.query, runs=list(runs.values()), keys=list(keys.values()))
        chart = await self._charts.read(query)
        request[POINTS] = sum(len(curve.step) for curve in chart.curves)
        named = _named(chart, runs, keys)
        wants_msgpack = "application/msgpack" in request.headers.get("Accept", "")
        encode = encode_msgpack if wants_msgpack else encode_json
        if request[POINTS] <= _SMALL_BUCKETS:
            body = encode(chart.width, named)
        else:
            body = await asyncio.to_thread(encode, chart.width, named)
        kind = "application/msgpack" if wants_msgpack else "application/json"
        return web.Response(body=body, content_type=kind)


class _Asked(NamedTuple):
    entity: str
    project: str
    runs: list[str]
    keys: list[str]
    query: ChartQuery


def _parse(fields: dict[str, Any], default_entity: str) -> _Asked:
    """The request, whose query still lacks the numbers. Raises `Rejected` (400)."""
    entity, project = fields.get("entity", default_entity), fields.get("project")
    for name, value in (("entity", entity), ("project", project)):
        if not isinstance(value, str) or not value:
            raise bad_field(f"{name} must be a non-empty string")
    buckets = fields.get("buckets", 500)
    if not isinstance(buckets, int) or isinstance(buckets, bool):
        raise bad_field("buckets must be a whole number")
    if not 1 <= buckets <= _MAX_BUCKETS:
        raise bad_field(f"buckets must lie between 1 and {_MAX_BUCKETS}")
    x, mode = fields.get("x", "step"), fields.get("lanes", "latest")
    if x not in ("step", "_timestamp"):
        raise bad_field("x must be 'step' or '_timestamp'")
    if mode not in get_args(LaneMode):
        raise bad_field(f"lanes must be one of {', '.join(get_args(LaneMode))}")
    lo, hi = number_field(fields, "from"), number_field(fields, "to")
    return _Asked(
        str(entity),
        str(project),
        name_list(fields, "runs", _MAX_RUNS),
        name_list(fields, "keys", _MAX_KEYS),
        ChartQuery([], [], buckets, mode, x, lo, hi),
    )


def _named(
    chart: Chart, runs: Mapping[str, int], keys: Mapping[str, int]
) -> list[tuple[Name, Curve]]:
    """Curves with their names, in the order in which keys and runs were asked for."""
    run_of = {number: (place, name) for place, (name, number) in enumerate(runs.items())}
    key_of = {number: (place, name) for place, (name, number) in enumerate(keys.items())}
    ordered = sorted(
        chart.curves,
        key=lambda c: (key_of[c.key][0], run_of[c.run][0], c.rank or 0, c.lane or 0),
    )
    return [((run_of[curve.run][1], key_of[curve.key][1]), curve) for curve in ordered]


def _head(name: Name, curve: Curve) -> dict[str, Any]:
    return {"run": name[0], "key": name[1], "lane": curve.lane, "rank": curve.rank}


def encode_json(width: int, curves: list[tuple[Name, Curve]]) -> bytes:
    """Numbers as JSON; NaN becomes null."""

    def parts() -> Iterator[bytes]:
        # Curve by curve, because one long dumps() would hold every other thread up.
        for name, curve in curves:
            columns = {column: getattr(curve, column) for column in _COLUMNS}
            yield orjson.dumps({**_head(name, curve), **columns}, option=orjson.OPT_SERIALIZE_NUMPY)

    return b'{"width":%d,"series":[%b]}' % (width, b",".join(parts()))


def encode_msgpack(width: int, curves: list[tuple[Name, Curve]]) -> bytes:
    """Columns as little-endian f64."""
    series = [
        {
            **_head(name, curve),
            **{column: getattr(curve, column).astype("<f8").tobytes() for column in _COLUMNS},
        }
        for name, curve in curves
    ]
    packed: bytes = msgpack.packb({"width": width, "series": series})
    return packed
