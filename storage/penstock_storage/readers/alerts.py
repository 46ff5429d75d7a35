"""The alerts of a run, newest first. They are stored as values, at the time they were raised."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import orjson

from penstock_common.http.payloads import text_of
from penstock_storage.charts.series import select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["ALERT_KEY", "AlertRow", "read_alerts"]

ALERT_KEY = "_alert"
"""Alerts are values of this key, at the microsecond at which they were raised."""


class AlertRow(NamedTuple):
    """`at`: when it was raised, µs since 1970."""

    at: int
    lane: int
    title: str
    text: str
    level: str

    @property
    def place(self) -> tuple[int, int]:
        return self.at, self.lane


async def read_alerts(
    store: PointStore, run: int, key: int, limit: int, before: tuple[int, int] | None = None
) -> list[AlertRow]:
    """At most `limit` alerts of a run, starting after the place `before` if given. `key`: the number of
    `ALERT_KEY` in the run's project."""
    where = f"key = {int(key)} AND run = {int(run)} AND kind = 'alert'"
    if before is not None:
        at, lane = int(before[0]), int(before[1])
        where += f" AND step <= {at} AND (step, toInt64(lane)) < ({at}, {lane})"
    columns = await select(
        store,
        f"SELECT step, lane, json FROM {DATABASE}.values FINAL WHERE {where}"
        f" ORDER BY step DESC, lane DESC LIMIT {int(limit)}",
    )
    if not columns:
        return []
    steps, lanes = np.asarray(columns["step"]).tolist(), np.asarray(columns["lane"]).tolist()
    return [
        _alert(step, lane, _told(text))
        for step, lane, text in zip(steps, lanes, columns["json"], strict=True)
    ]


def _told(text: str) -> dict[str, Any]:
    """The fields of an alert; malformed ones are shown as text."""
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        told = None
    return told if isinstance(told, dict) else {"text": text}


def _alert(at: int, lane: int, told: dict[str, Any]) -> AlertRow:
    title, text, level = (text_of(told.get(name) or "") for name in ("title", "text", "level"))
    return AlertRow(at, lane, title, text, level)
