"""Computes the aggregates requested with `define_metric(summary=…)` as rows are cut.

The shipper does this because it sees every row, even those of a killed process. The state is stored
with each cut and survives restarts; the server merges the extremes of several writers, so that a run
that is resumed or has ranks keeps the overall best.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from penstock.shipper.columns import Columns
from penstock.spool.summaries import Rules, Summaries
from penstock.wire import Frame
from penstock.wire.records import SummaryRecord

__all__ = ["Fold", "folded"]


def folded(before: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The `fold` of a cut, given the previous cut's; empty if no aggregates were requested."""
    fold = Fold(before.get("kept"))
    fold.learn(columns.records)
    if not fold.has_rules:
        return {}
    return {"said": fold.take(columns.batch()[0]), "kept": fold.keep()}


class Fold:
    """The rules and running aggregates of one writer."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        """Continues from a state returned by `keep`."""
        kept = kept or {}
        self._rules = Rules(kept.get("rules"))
        self._summaries = Summaries(self._rules, kept.get("figures"))

    @property
    def has_rules(self) -> bool:
        return bool(self._rules)

    def keep(self) -> dict[str, Any]:
        """The whole state as JSON values; empty while no aggregates are requested."""
        if not self._rules:
            return {}
        return {"rules": self._rules.kept, "figures": self._summaries.figures}

    def learn(self, records: Iterable[Any]) -> None:
        """Apply the rules among these records."""
        self._rules.learn(records)

    def take(self, frames: Iterable[Frame]) -> SummaryRecord | None:
        """The summary record of these rows; None if they have none of the requested metrics."""
        changed: dict[str, None] = {}
        for frame in frames:
            for place, key in enumerate(frame.keys):
                if self._summaries.asks_for(key):
                    size = 8 * frame.rows
                    values = np.frombuffer(frame.values[place * size : (place + 1) * size], "<f8")
                    self._add(key, values)
                    changed[key] = None
        if not changed:
            return None
        update, ways = {}, {}
        for key in changed:
            update[key], way = self._summaries.shown(key)
            if way:
                ways[key] = way
        return {"t": "summary", "update": update, "fold": ways}

    def _add(self, key: str, values: Any) -> None:
        if not values.size:
            return
        self._summaries.add(key, float(values[0]), float(values[-1]))
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high, total = (float(each()) for each in (finite.min, finite.max, finite.sum))
            self._summaries.add_finite(key, low, high, total, int(finite.size))
