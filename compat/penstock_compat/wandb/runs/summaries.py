"""A run's summary, its last system metrics, and its keys."""

from __future__ import annotations

from typing import Any

from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.runs.pages import RunPage
from penstock_compat.wandb.values import json_text
from penstock_storage.contracts.interface import RunRow
from penstock_storage.readers.key_facts import KeyFacts

__all__ = ["SYSTEM_RUNTIME", "SummaryOfRun"]

SYSTEM_RUNTIME = "system._runtime"
"""The stored name of a system line's runtime: `_runtime` is the history's."""

_TYPES = {"bool": "boolean", "null": "nil", "dict": "map"}


class SummaryOfRun(Node):
    """Fields with values of the whole run."""

    row: RunRow
    page: RunPage

    @field
    async def summary_metrics(self) -> str:
        return json_text(await self.page.summary(self.row.number))

    @field
    async def system_metrics(self) -> str:
        found = await self.page.system(self.row.number)
        if SYSTEM_RUNTIME in found:
            found["_runtime"] = found.pop(SYSTEM_RUNTIME)
        return json_text(found)

    @field
    async def history_keys(self) -> dict[str, Any] | None:
        """A JSON value, not a string. Null if nothing was logged."""
        facts = await self.page.facts(self.row.number)
        if facts.last_step is None:
            return None
        keys = {name: _key(known) for name, known in facts.keys.items()}
        keys["_step"] = _own("number", facts.rows, facts.last_step)
        if facts.last_at is not None:
            keys["_timestamp"] = _own("number", facts.rows, facts.last_at / 1e6)
        return {"lastStep": facts.last_step, "sets": [], "keys": keys}


def _key(known: KeyFacts) -> dict[str, Any]:
    return {
        "typeCounts": [
            {"type": _TYPES.get(kind, kind), "count": count} for kind, count in known.counts.items()
        ],
        "monotonic": known.never_falls,
        "previousValue": known.last,
    }


def _own(kind: str, count: int, last: float) -> dict[str, Any]:
    return {
        "typeCounts": [{"type": kind, "count": count}], "monotonic": True, "previousValue": last,
    }  # fmt: skip
