"""Alerts: what they can be asked for, and how they are answered."""

from __future__ import annotations

from pydantic import Field

from penstock_common.openapi import Operation
from penstock_web.models import Answered, Asked

__all__ = ["OPERATIONS", "AlertsQuery"]


class AlertsQuery(Asked):
    limit: int = Field(100, ge=1, le=1_000, description="At most so many alerts.")
    before: str | None = Field(
        None,
        pattern=r"^\d{1,19}-\d{1,5}$",
        description="The `next` of the page before: goes on behind its last alert.",
    )


class Alert(Answered):
    time: float = Field(description="When it was raised, in Unix seconds.")
    title: str
    text: str
    level: str = Field(description="INFO, WARN or ERROR, as the script said.")


class Alerts(Answered):
    alerts: list[Alert]
    next: str | None = Field(description="`before` of the page that follows; null on the last one.")


OPERATIONS = [
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/alerts", "runs",
        "The alerts of a run, the newest first",
        answers={200: Alerts}, query=AlertsQuery, errors=(400, 401, 404), needs_key=False,
    ),
]  # fmt: skip
