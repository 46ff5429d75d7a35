"""Alerts: the query and the answer."""

from __future__ import annotations

from pydantic import Field

from penstock_common.http.openapi import Operation
from penstock_web.models import Answered, Asked

__all__ = ["LIST_ALERTS"]


class AlertsQuery(Asked):
    limit: int = Field(100, ge=1, le=1_000, description="Maximum number of alerts to return.")
    before: str | None = Field(
        None,
        pattern=r"^\d{1,19}-\d{1,5}$",
        description="`next` of the previous page.",
    )


class Alert(Answered):
    time: float = Field(description="When the alert was raised, in Unix seconds.")
    title: str
    text: str
    level: str = Field(description="INFO, WARN or ERROR, as set by the script.")


class Alerts(Answered):
    alerts: list[Alert]
    next: str | None = Field(description="`before` for the next page; null on the last page.")


LIST_ALERTS = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/alerts", "runs",
    "List a run's alerts, newest first",
    answers={200: Alerts}, query=AlertsQuery, errors=(400, 401, 404), needs_key=False,
)  # fmt: skip
