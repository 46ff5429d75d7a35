"""Filters and orders of this protocol's clients in the words of Penstock's search (pure).

The language is the same, MongoDB's; some names differ. `name` is a run's id and `displayName` its
name; all runs of a project are its entity's, so what is asked of `username` holds for all or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock_web.search.cells import Cells, Column
from penstock_web.search.evaluation import Deadline, passing
from penstock_web.search.filters import Filter, parse_filter
from penstock_web.search.ordering import Order, parse_order

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
_DEEPEST = 30


def parse_api_filter(found: object, entity: str) -> Filter | None:
    """The tree of a filter as JSON gives it, None for one that all runs pass. Raises `Rejected`."""
    if found is None or found == {}:
        return None
    return parse_filter(_translated(found, entity, 0))


def parse_api_order(text: str) -> Order:
    """`-created_at`, `+summary_metrics.loss`, several with commas. Raises `Rejected`."""
    terms = []
    for term in text.split(","):
        name = term.strip()
        sign = "-" if name.startswith("-") else ""
        terms.append(sign + _name(name.lstrip("+-")))
    return parse_order(terms)


def _name(name: str) -> str:
    return _NAMES.get(name.lower(), name)


def _translated(found: object, entity: str, depth: int) -> object:
    if not isinstance(found, Mapping) or depth > _DEEPEST:
        return found  # the parser says what is wrong with it
    parts: list[dict[str, Any]] = []
    for key, value in found.items():
        if key in _LISTS and isinstance(value, list):
            parts.append({key: [_filled(_translated(each, entity, depth + 1)) for each in value]})
        elif key == "$not":
            parts.append({key: _translated(value, entity, depth + 1)})
        elif key.lower() in _OWNERS:
            parts.append({"run": {"$exists": _holds(value, entity)}})
        else:
            parts.append({_name(key): value})
    if not parts:
        return {}
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _filled(found: object) -> object:
    """An empty filter among others lets all runs pass."""
    return {"run": {"$exists": True}} if found == {} else found


def _holds(condition: object, entity: str) -> bool:
    """Whether the owner of these runs passes."""
    column = Column()
    column.put(np.array([0]), [entity])
    owner: Cells = column.cells(1)
    filter_ = parse_filter({"name": condition})
    return bool(passing(filter_, lambda path: owner, 1, Deadline(1.0))[0])
