"""Serializers: runs as the JSON of the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from penstock_common.http.payloads import encode_json, not_finite
from penstock_common.http.serialize import run_fields_to_json
from penstock_storage.contracts.interface import RunRow
from penstock_storage.metric_rules import hidden_keys
from penstock_storage.readers.summaries import Summary
from penstock_storage.search.paths import Path

__all__ = ["picked", "run_to_json", "runs_to_json"]


def run_to_json(
    row: RunRow, logged: Summary | None, fields: Sequence[Path] | None = None
) -> dict[str, Any]:
    """A run as the API's JSON: explicitly set values take precedence over logged ones, without keys that
    the run excludes from its summary. With `fields`, only those of config and summary."""
    config = row.config
    hidden = hidden_keys(row.info)
    values = logged.values if logged else {}
    summary = {**(hidden.left_out(values) if hidden else values), **row.summary}
    if fields is not None:
        config = picked(config, (path.name for path in fields if path.section == "config"))
        summary = picked(summary, (path.name for path in fields if path.section == "summary"))
    last_step = logged.last_step if logged else None
    return {
        **run_fields_to_json(row, config=config, summary=summary, last_step=last_step),
        "not_finite": [
            *not_finite(config, ["config"]),
            *not_finite(summary, ["summary"]),
            *(
                ["summary", name]
                for name in (logged.not_finite if logged else ())
                if name in summary and name not in row.summary
            ),
        ],
    }


def picked(found: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The part of an object with these dotted paths."""
    chosen: dict[str, Any] = {}
    for name in names:
        place = _place(found, name.split("."))
        target, source = chosen, found
        for key in place[:-1]:
            target, source = target.setdefault(key, {}), source[key]
        if place:
            target[place[-1]] = source[place[-1]]
    return chosen


def _place(found: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
    """The keys that lead to a dotted path; a key may contain dots. Empty if there is none."""
    for count in range(len(parts), 0, -1):
        key = ".".join(parts[:count])
        if key in found:
            if count == len(parts):
                return [key]
            if isinstance(found[key], Mapping) and (rest := _place(found[key], parts[count:])):
                return [key, *rest]
    return []


def runs_to_json(runs: Iterable[dict[str, Any]], total: int, following: str | None) -> bytes:
    """A page of runs as JSON."""
    # Run by run, because one long dumps() would block all other threads.
    parts = b",".join(map(encode_json, runs))
    ending = orjson.dumps({"total": total, "next": following})[1:]
    return b'{"runs":[%b],%b' % (parts, ending)
