"""The aggregates requested by `define_metric(summary=…)`, by metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Figures", "Rules", "Summaries"]

Figures = dict[str, float]
"""A metric's `first` and `last`, and `min`, `max`, `sum` and `count` of its finite values."""

Rule = dict[str, Any]

_KINDS = frozenset({"min", "max", "mean", "best", "first", "last", "none"})
_NO_RULE: Rule = {"kinds": []}
_MAX_KEYS = 10_000


class Rules:
    """The rules: which aggregates the summary has for which metric. `kept`: as returned by `kept`."""

    def __init__(self, kept: Mapping[str, Rule] | None = None) -> None:
        self.kept: dict[str, Rule] = {**(kept or {})}

    def __bool__(self) -> bool:
        return bool(self.kept)

    def learn(self, records: Iterable[Any]) -> None:
        """Apply the rules among these wire records."""
        for record in records:
            if isinstance(record, dict) and record.get("t") == "define_metric":
                name, kinds = record.get("name"), _kinds(record.get("summary"))
                if isinstance(name, str) and (kinds or name in self.kept):
                    self.kept[name] = {"kinds": kinds, "goal": str(record.get("goal") or "")}

    def of(self, key: str) -> Rule:
        """A metric's rule: its own, or that of the longest pattern it matches."""
        if key in self.kept:
            return self.kept[key]
        fitting = [name for name in self.kept if name.endswith("*") and key.startswith(name[:-1])]
        return self.kept[max(fitting, key=len)] if fitting else _NO_RULE

    def hides(self, key: str) -> bool:
        """Whether the summary has nothing of this metric. The server knows that from the rule."""
        kinds: list[str] = self.of(key)["kinds"]
        return kinds == ["none"]


class Summaries:
    """The aggregates so far, and their form in a summary."""

    def __init__(self, rules: Rules, figures: Mapping[str, Figures] | None = None) -> None:
        self.rules = rules
        self.figures: dict[str, Figures] = {k: {**each} for k, each in (figures or {}).items()}

    def asks_for(self, key: str) -> bool:
        """Whether this metric is aggregated; at most ten thousand are."""
        has_room = key in self.figures or len(self.figures) < _MAX_KEYS
        return has_room and bool(_aggregates(self.rules.of(key)))

    def add(self, key: str, first: float, last: float) -> Figures:
        """Record the first and last of some new values; returns the metric's aggregates."""
        figures = self.figures.setdefault(key, {})
        figures.setdefault("first", first)
        figures["last"] = last
        return figures

    def add_finite(self, key: str, low: float, high: float, total: float, count: int) -> None:
        """Record the finite ones among new values, of which there is at least one."""
        figures = self.figures[key]
        figures["min"] = min(low, figures.get("min", low))
        figures["max"] = max(high, figures.get("max", high))
        figures["sum"] = figures.get("sum", 0.0) + total
        figures["count"] = figures.get("count", 0) + count

    def add_one(self, key: str, value: float) -> None:
        """Record one new value."""
        self.add(key, value, value)
        if math.isfinite(value):
            self.add_finite(key, value, value, value, 1)

    def shown(self, key: str) -> tuple[dict[str, float], dict[str, str]]:
        """An aggregated metric's entry in the summary, and how its parts are merged across writers."""
        rule, figures = self.rules.of(key), self.figures[key]
        best = "max" if rule["goal"].lower().startswith("max") else "min"
        shown: dict[str, float] = {}
        ways: dict[str, str] = {}
        for kind in _aggregates(rule):
            source = best if kind == "best" else kind
            if kind == "mean":
                found = figures["sum"] / figures["count"] if figures.get("count") else math.nan
            else:
                found = figures.get(source, math.nan)
            shown[kind] = found
            if source in ("min", "max", "first"):
                ways[kind] = source
        return shown, ways


def _kinds(summary: Any) -> list[str]:
    """`copy` is what a summary has without any rule."""
    several = summary if isinstance(summary, list) else str(summary or "").split(",")
    kinds = [kind for each in several if (kind := str(each).strip().lower()) in _KINDS]
    return list(dict.fromkeys(kinds))


def _aggregates(rule: Rule) -> list[str]:
    return [kind for kind in rule["kinds"] if kind != "none"]
