"""What `define_metric(summary=…)` asks for, folded from the rows as they are cut.

The shipper does this, since it sees every row, also those of a process that was killed. What is known
so far is kept with each cut, so that it goes on after a restart; the server puts the extremes of
several writers together, so that a run that is resumed, or has ranks, keeps the best of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from penstock.shipper.columns import Columns
from penstock.wire import Frame

__all__ = ["Fold", "folded"]

_KINDS = frozenset({"min", "max", "mean", "best", "first", "last", "none"})
_MAX_KEYS = 10_000


def folded(before: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """What a cut keeps as its `fold`, after the one of the cut before it; empty if nothing was asked
    for."""
    fold = Fold(before.get("kept"))
    fold.learn(columns.records)
    if not fold.has_rules:
        return {}
    return {"said": fold.take(columns.batch()[0]), "kept": fold.keep()}


class Fold:
    """The rules and the running figures of one writer."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        """Goes on from what `keep` gave."""
        kept = kept or {}
        self._rules: dict[str, dict[str, Any]] = {**kept.get("rules", {})}
        self._figures: dict[str, dict[str, Any]] = {
            key: {**figures} for key, figures in kept.get("figures", {}).items()
        }

    @property
    def has_rules(self) -> bool:
        return bool(self._rules)

    def keep(self) -> dict[str, Any]:
        """All of it, as JSON can say it; empty as long as nothing was asked for."""
        return {"rules": self._rules, "figures": self._figures} if self._rules else {}

    def learn(self, records: Iterable[Any]) -> None:
        """Take in the rules among these records."""
        for record in records:
            if isinstance(record, dict) and record.get("t") == "define_metric":
                name, kinds = record.get("name"), _kinds(record.get("summary"))
                if isinstance(name, str) and (kinds or name in self._rules):
                    self._rules[name] = {"kinds": kinds, "goal": str(record.get("goal") or "")}

    def take(self, frames: Iterable[Frame]) -> dict[str, Any] | None:
        """The summary record of these rows; None if they have none of the metrics asked for."""
        changed: dict[str, dict[str, Any]] = {}
        for frame in frames:
            for place, key in enumerate(frame.keys):
                rule = self._rule(key)
                if not rule["kinds"] or (
                    key not in self._figures and len(self._figures) >= _MAX_KEYS
                ):
                    continue
                size = 8 * frame.rows
                values = np.frombuffer(frame.values[place * size : (place + 1) * size], "<f8")
                _add(self._figures.setdefault(key, {}), values)
                changed[key] = rule
        if not changed:
            return None
        update, ways = {}, {}
        for key, rule in changed.items():
            update[key], way = _shown(self._figures[key], rule)
            if way:
                ways[key] = way
        return {"t": "summary", "update": update, "fold": ways}

    def _rule(self, key: str) -> dict[str, Any]:
        """The rule of a metric: its own, else that of the longest pattern that it matches."""
        if key in self._rules:
            return self._rules[key]
        fitting = [name for name in self._rules if name.endswith("*") and key.startswith(name[:-1])]
        return self._rules[max(fitting, key=len)] if fitting else {"kinds": []}


def _kinds(summary: Any) -> list[str]:
    """`copy`, like no rule at all, is what a summary has anyway."""
    several = summary if isinstance(summary, list) else str(summary or "").split(",")
    return [kind for each in several if (kind := str(each).strip().lower()) in _KINDS]


def _add(figures: dict[str, Any], values: Any) -> None:
    if not values.size:
        return
    figures.setdefault("first", float(values[0]))
    figures["last"] = float(values[-1])
    finite = values[np.isfinite(values)]
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        figures["min"] = min(low, figures.get("min", low))
        figures["max"] = max(high, figures.get("max", high))
        figures["sum"] = figures.get("sum", 0.0) + float(finite.sum())
        figures["count"] = figures.get("count", 0) + int(finite.size)


def _shown(figures: dict[str, Any], rule: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """What the summary has of a metric, and which parts of it are put together how."""
    kinds = [kind for kind in rule["kinds"] if kind != "none"]
    if not kinds:
        return None, {}
    best = "max" if rule["goal"].lower().startswith("max") else "min"
    shown: dict[str, float] = {}
    ways: dict[str, str] = {}
    for kind in kinds:
        source = best if kind == "best" else kind
        if kind == "mean":
            found = figures["sum"] / figures["count"] if figures.get("count") else math.nan
        else:
            found = figures.get(source, math.nan)
        shown[kind] = found
        if source in ("min", "max", "first"):
            ways[kind] = source
    return shown, ways
