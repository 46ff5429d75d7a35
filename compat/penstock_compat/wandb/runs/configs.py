"""Configs: wrapped key by key on the wire, plain in the catalog.

The wire has `{"lr": {"value": 0.1, "desc": …}, "_wandb": {"value": {…}}}`. The catalog stores
`{"lr": 0.1}`, like every other client, and, in `info["wandb"]`, what only this protocol has: `_wandb`
and the descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock_common.http.payloads import mapping_of
from penstock_storage.contracts.interface import RunRow

__all__ = ["metric_rules", "unwrapped_config", "wrapped_config"]

_OWN = "_wandb"
_OPTIONS = {1: "step_sync", 2: "hidden", 3: "defined"}
_SUMMARIES = {
    1: "min", 2: "max", 3: "mean", 4: "best", 5: "last", 6: "none", 7: "copy", 8: "first",
}  # fmt: skip
_GOALS = {1: "minimize", 2: "maximize"}


def unwrapped_config(wrapped: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the plain config, the rest: `{"_wandb": …, "desc": {key: text}}`)."""
    plain: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, entry in wrapped.items():
        value = entry.get("value") if isinstance(entry, dict) and "value" in entry else entry
        if key == _OWN:
            rest[_OWN] = value
            continue
        plain[key] = value
        if isinstance(entry, dict) and entry.get("desc"):
            rest.setdefault("desc", {})[key] = entry["desc"]
    return plain, rest


def wrapped_config(row: RunRow) -> dict[str, Any]:
    """A run's config in the wire's form."""
    rest = mapping_of(row.info.get("wandb"))
    texts = mapping_of(rest.get("desc"))
    wrapped: dict[str, Any] = {
        key: {"value": value, "desc": texts.get(key)} for key, value in row.config.items()
    }
    if _OWN in rest:
        wrapped[_OWN] = {"value": rest[_OWN], "desc": None}
    return wrapped


def metric_rules(own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `define_metric` records in `_wandb.m`, in the form that changes take."""
    records = own.get("m")
    if not isinstance(records, list):
        return []
    names = [_name(record) for record in records]
    return [_rule(record, names) for record in records if _name(record)]


def _name(record: Any) -> str:
    if not isinstance(record, dict):
        return ""
    return str(record.get("1") or record.get("2") or "")


def _rule(record: dict[str, Any], names: list[str]) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": _name(record)}
    step, place = record.get("4"), record.get("5")
    if isinstance(place, int) and 1 <= place <= len(names):
        step = names[place - 1]
    if step:
        rule["step_metric"] = step
    options = [_OPTIONS.get(each) for each in record.get("6") or () if isinstance(each, int)]
    if "step_sync" in options:
        rule["step_sync"] = True
    if "hidden" in options:
        rule["hidden"] = True
    kinds = [_SUMMARIES.get(each) for each in record.get("7") or () if isinstance(each, int)]
    if found := [kind for kind in kinds if kind]:
        rule["summary"] = ",".join(found)
    goal = record.get("8")
    if isinstance(goal, int) and goal in _GOALS:
        rule["goal"] = _GOALS[goal]
    return rule
