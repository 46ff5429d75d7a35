"""`GET …/alerts`: alerts raised by a run's scripts."""

from __future__ import annotations

from aiohttp import web

from penstock_common.http.errors import json_response
from penstock_storage.contracts.interface import PointStore
from penstock_storage.readers.alerts import ALERT_KEY, read_alerts
from penstock_web.models.alerts import LIST_ALERTS
from penstock_web.names import Names
from penstock_web.requests import query_of
from penstock_web.runs import RunsHandler

__all__ = ["AlertsHandler"]


class AlertsHandler:
    """Lists alerts, newest first."""

    def __init__(self, store: PointStore, runs: RunsHandler, names: Names) -> None:
        self._store = store
        self._runs = runs
        self._names = names

    async def get(self, request: web.Request) -> web.Response:
        row = await self._runs.found(request)
        query = query_of(request, LIST_ALERTS)
        before = None
        if query.before is not None:
            at, _, lane = query.before.partition("-")
            before = (min(int(at), 2**62), int(lane))
        key = (await self._names.keys(row.project_number, [ALERT_KEY])).get(ALERT_KEY)
        found = []
        if key is not None:
            found = await read_alerts(self._store, row.number, key, query.limit + 1, before)
        page = found[: query.limit]
        following = "-".join(map(str, page[-1].place)) if len(found) > len(page) else None
        alerts = [
            {"time": each.at / 1e6, "title": each.title, "text": each.text, "level": each.level}
            for each in page
        ]
        return json_response({"alerts": alerts, "next": following})
