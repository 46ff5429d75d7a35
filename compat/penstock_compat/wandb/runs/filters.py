"""Translates wandb filters and orders to Penstock's search (pure).

The language is the same, MongoDB's; some names differ. `name` is a run's id and `displayName` its
name; all runs of a project belong to its entity, so a condition on `username` matches all or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock_storage.search.cells import Cells, PathColumn
from penstock_storage.search.evaluation import Deadline, passing
from penstock_storage.search.filters import Filter, parse_filter
from penstock_storage.search.ordering import Order, parse_order
from penstock_storage.search.paths import bad_request

__all__ = ["parse_api_filter", "parse_api_order"]

_NAMES = {
    "name": "run",
    "display_name": "name",
    "displayname": "name",
    "description": "notes",
    "sweep_name": "sweep",
    "sweepname": "sweep",
    "duration": "summary._runtime",
}
_OWNERS = frozenset({"username", "user", "user.username", "entity", "entity_name", "entityname"})
_LISTS = frozenset({"$and", "$or", "$nor"})
_MAX_DEPTH = 30
_MAX_OWNERS = 20


def parse_api_filter(found: object, entity: str) -> Filter | None:
    """The tree of a filter in JSON, None if all runs match. Raises `Rejected`."""
    if found is None or found == {}:
        return None
    return parse_filter(_Translator(entity).filter(found, 0))


def parse_api_order(text: str) -> Order:
    """`-created_at`, `+summary_metrics.loss`, several separated by commas. Raises `Rejected`."""
    terms = []
    for term in text.split(","):
        name = term.strip()
        sign = "-" if name.startswith("-") else ""
        terms.append(sign + _name(name.lstrip("+-")))
    return parse_order(terms)


def _name(name: str) -> str:
    return _NAMES.get(name.lower(), name)


class _Translator:
    """Translates one filter. Conditions on owners are counted, since each is evaluated right here."""

    def __init__(self, entity: str) -> None:
        self._entity = entity
        self._owners = 0

    def filter(self, found: object, depth: int) -> object:
        if not isinstance(found, Mapping) or depth > _MAX_DEPTH:
            return found  # the parser reports the error
        parts: list[dict[str, Any]] = []
        for key, value in found.items():
            if key in _LISTS and isinstance(value, list):
                parts.append({key: [_filled(self.filter(each, depth + 1)) for each in value]})
            elif key == "$not":
                parts.append({key: self.filter(value, depth + 1)})
            elif key.lower() in _OWNERS:
                parts.append({"run": {"$exists": self._holds(value)}})
            else:
                parts.append({_name(key): value})
        if not parts:
            return {}
        return parts[0] if len(parts) == 1 else {"$and": parts}

    def _holds(self, condition: object) -> bool:
        """Whether the runs' owner matches."""
        self._owners += 1
        if self._owners > _MAX_OWNERS:
            raise bad_request(f"a filter may refer to the owner at most {_MAX_OWNERS} times")
        column = PathColumn()
        column.put(np.array([0]), [self._entity])
        owner: Cells = column.cells(1)
        filter_ = parse_filter({"name": condition})
        return bool(passing(filter_, lambda path: owner, 1, Deadline(1.0))[0])


def _filled(found: object) -> object:
    """An empty filter among others matches all runs."""
    return {"run": {"$exists": True}} if found == {} else found
