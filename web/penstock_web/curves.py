"""`POST /v1/charts`: resolves names to numbers and serializes curves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack
import numpy as np
import orjson
from aiohttp import web

from penstock_storage.charts.chart_reader import Aggregate, Chart, ChartQuery, ChartReader, Curve
from penstock_storage.contracts.interface import PointStore
from penstock_web.access import Access
from penstock_web.models.charts import GET_CHARTS, ChartRequest
from penstock_web.names import Names
from penstock_web.requests import body_of

__all__ = ["ChartHandler", "Named", "encode_json", "encode_msgpack"]

_SMALL_BUCKETS = 2_000


class Named(NamedTuple):
    """A curve and its fields besides the columns."""

    head: Mapping[str, Any]
    curve: Curve | Aggregate


class ChartHandler:
    """Answers with exact curves, as JSON or msgpack."""

    def __init__(self, store: PointStore, access: Access, names: Names) -> None:
        self._charts = ChartReader(store, names.lanes)
        self._access = access
        self._names = names

    async def post(self, request: web.Request) -> web.Response:
        principal = await self._access.principal(request)
        chart_request = await body_of(request, GET_CHARTS)
        entity = chart_request.entity or principal.entity
        self._access.check(principal, entity, f"project {entity}/{chart_request.project}")
        project = await self._names.project(entity, chart_request.project)
        wanted = _distinct(chart_request.runs, *(chart_request.groups or {}).values())
        runs = await self._names.runs(entity, chart_request.project, wanted)
        keys = await self._names.keys(project, _distinct(chart_request.keys))
        chart = await self._charts.read(_query(chart_request, runs, keys))
        named = _named(chart, chart_request, runs, keys)
        wants_msgpack = "application/msgpack" in request.headers.get("Accept", "")
        encode = encode_msgpack if wants_msgpack else encode_json
        if sum(len(each.curve["step"]) for each in named) <= _SMALL_BUCKETS:
            body = encode(chart.width, named)
        else:
            body = await asyncio.to_thread(encode, chart.width, named)
        kind = "application/msgpack" if wants_msgpack else "application/json"
        return web.Response(body=body, content_type=kind)


def _distinct(*lists: Sequence[str] | None) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names or ()))


def _query(
    chart_request: ChartRequest, runs: Mapping[str, int], keys: Mapping[str, int]
) -> ChartQuery:
    groups: dict[str, list[int]] | None = None
    if chart_request.groups is not None:
        groups = {
            label: [runs[name] for name in names if name in runs]
            for label, names in chart_request.groups.items()
        }
    return ChartQuery(
        list(runs.values()),
        list(keys.values()),
        chart_request.buckets,
        chart_request.lanes,
        chart_request.x,
        chart_request.from_,
        chart_request.to,
        groups,
        chart_request.aggregate == "ranks",
    )


def _named(
    chart: Chart, chart_request: ChartRequest, runs: Mapping[str, int], keys: Mapping[str, int]
) -> list[Named]:
    """Curves with their names, in the requested order of keys and runs or groups."""
    run_of = {number: (place, name) for place, (name, number) in enumerate(runs.items())}
    key_of = {number: (place, name) for place, (name, number) in enumerate(keys.items())}
    labels = {label: (place, label) for place, label in enumerate(chart_request.groups or {})}
    member_of: Mapping[Any, tuple[int, str]] = run_of if chart_request.groups is None else labels
    found: list[tuple[tuple[int, ...], Named]] = []
    for curve in chart.curves:
        (run_at, run), (key_at, key) = run_of[curve.run], key_of[curve.key]
        head = {"run": run, "key": key, "lane": curve.lane, "rank": curve.rank}
        order = (key_at, run_at, curve.rank or 0, curve.lane or 0)
        found.append((order, Named(head, curve)))
    for group in chart.groups:
        number, member = group.name
        (key_at, key), (place, name) = key_of[number], member_of[member]
        label, run_name = (None, name) if chart_request.groups is None else (name, None)
        head = {"group": label, "run": run_name, "key": key}
        found.append(((key_at, place), Named(head, group)))
    return [named for _, named in sorted(found, key=lambda each: each[0])]


def encode_json(width: int, curves: Sequence[Named]) -> bytes:
    """Numbers as JSON; NaN becomes null."""

    def parts() -> Iterator[bytes]:
        # Curve by curve, because one long dumps() would block all other threads.
        for each in curves:
            shown = {**each.head, **each.curve.columns}
            yield orjson.dumps(shown, option=orjson.OPT_SERIALIZE_NUMPY)

    return b'{"width":%d,"series":[%b]}' % (width, b",".join(parts()))


def encode_msgpack(width: int, curves: Sequence[Named]) -> bytes:
    """Columns as little-endian f64."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_map_header(2)
    packer.pack("width")
    packer.pack(width)
    packer.pack("series")
    packer.pack_array_header(len(curves))
    for each in curves:
        columns = {
            name: np.ascontiguousarray(column, "<f8").data
            for name, column in each.curve.columns.items()
        }
        packer.pack({**each.head, **columns})
    return bytes(packer.getbuffer())
