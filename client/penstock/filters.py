"""W&B's way of choosing runs, applied here: MongoDB-like filters, and orders such as `-created_at`.

Keys name what a run has: `state`, `group`, `display_name`, `tags`, `created_at`, `config.lr` (or
`config.lr.value`), `summary_metrics.loss`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.errors import Rejected

__all__ = ["matches", "sorted_runs"]

Fields = Mapping[str, Any]

_NAMES = {
    "name": "run",
    "id": "run",
    "displayname": "name",
    "display_name": "name",
    "jobtype": "job_type",
    "createdat": "created_at",
    "updatedat": "updated_at",
    "heartbeat_at": "updated_at",
    "heartbeatat": "updated_at",
}
_MISSING = object()


def matches(run: Fields, filters: Mapping[str, Any]) -> bool:
    """Whether a run, as the API shows it, passes the filters. Raises Rejected for unknown ones."""
    for key, wanted in filters.items():
        if key == "$and":
            passed = all(matches(run, each) for each in wanted)
        elif key == "$or":
            passed = any(matches(run, each) for each in wanted)
        elif key == "$nor":
            passed = not any(matches(run, each) for each in wanted)
        elif key == "$not":
            passed = not matches(run, wanted)
        elif key.startswith("$"):
            raise _unknown(key)
        else:
            passed = _passes(_field(run, key), wanted)
        if not passed:
            return False
    return True


def sorted_runs(runs: Sequence[Fields], order: str) -> list[Fields]:
    """Runs by a field, `-` first for descending; those that lack it come last."""
    name = order.lstrip("+-")
    having = [run for run in runs if _field(run, name) not in (_MISSING, None)]
    lacking = [run for run in runs if _field(run, name) in (_MISSING, None)]

    def key(run: Fields) -> tuple[bool, Any]:
        value = _field(run, name)
        is_number = isinstance(value, (int, float))
        return (not is_number, value if is_number else str(value))

    return sorted(having, key=key, reverse=order.startswith("-")) + lacking


def _field(run: Fields, path: str) -> Any:
    head, _, rest = path.partition(".")
    if head in ("config", "summary_metrics", "summary", "summaryMetrics"):
        found = run.get("config" if head == "config" else "summary") or {}
        plain = rest.removesuffix(".value") if head == "config" else rest
        return found.get(rest, _inside(found, plain.split(".")))
    return run.get(_NAMES.get(path.lower(), path), _MISSING)


def _inside(found: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return found
    if not isinstance(found, Mapping):
        return _MISSING
    whole = ".".join(parts)
    if whole in found:
        return found[whole]
    return _inside(found[parts[0]], parts[1:]) if parts[0] in found else _MISSING


def _passes(value: Any, wanted: Any) -> bool:
    if not (isinstance(wanted, Mapping) and any(key.startswith("$") for key in wanted)):
        return _equals(value, wanted)
    for operator, operand in wanted.items():
        test = _OPERATORS.get(operator)
        if test is None:
            raise _unknown(operator)
        if not test(value, operand):
            return False
    return True


def _equals(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return wanted is None
    if isinstance(value, list) and not isinstance(wanted, list):
        return wanted in value
    return bool(value == wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, operand: Any) -> bool:
        try:
            return compare(value, operand)
        except TypeError:
            return False

    return test


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equals,
    "$ne": lambda value, operand: not _equals(value, operand),
    "$in": lambda value, operand: any(_equals(value, each) for each in operand),
    "$nin": lambda value, operand: not any(_equals(value, each) for each in operand),
    "$gt": _ordered(lambda value, operand: value > operand),
    "$gte": _ordered(lambda value, operand: value >= operand),
    "$lt": _ordered(lambda value, operand: value < operand),
    "$lte": _ordered(lambda value, operand: value <= operand),
    "$exists": lambda value, operand: (value is not _MISSING) is bool(operand),
    "$regex": lambda value, operand: (
        isinstance(value, str) and re.search(operand, value) is not None
    ),
}


def _unknown(operator: str) -> Rejected:
    return Rejected(
        f"the filter {operator} is not known here",
        code="unknown_filter",
        hint=f"Known: $and, $or, $nor, $not, {', '.join(_OPERATORS)}.",
    )
