"""The paths in filters, orders and field lists: `state`, `config.model.depth`, `summary.val/loss`, and
W&B's names for them."""

from __future__ import annotations

from typing import NamedTuple

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire.run_fields import RUN_FACTS, RUN_FIELDS

__all__ = ["ABOUT", "FACTS", "MAX_DEPTH", "OPTIONAL", "Path", "bad_request", "parse_path"]

MAX_DEPTH = 8
"""How many levels of objects inside config and summary have paths."""

FACTS = tuple(name for name, fact in RUN_FACTS.items() if fact.is_path)
"""Texts in a run's info that have paths."""
ABOUT = (*(name for name, field in RUN_FIELDS.items() if field.is_path), *FACTS)
_ALIASES = {
    **{name.replace("_", ""): name for name in ABOUT if "_" in name},
    "id": "run",
    "display_name": "name",
    "displayname": "name",
    "heartbeat_at": "updated_at",
    "heartbeatat": "updated_at",
}
_SECTIONS = {
    "config": "config",
    "summary": "summary",
    "summary_metrics": "summary",
    "summarymetrics": "summary",
}


class Path(NamedTuple):
    """`section` is config or summary, or empty for a field of the run itself."""

    section: str
    name: str

    def __str__(self) -> str:
        return f"{self.section}.{self.name}" if self.section else self.name


OPTIONAL = frozenset(
    Path("", name)
    for name in (*(name for name, field in RUN_FIELDS.items() if field.is_optional), *FACTS)
)
"""Optional fields of a run. An empty one counts as unset, since they have no null."""


def parse_path(text: str, place: str) -> Path:
    """Parse a path. Raises `Rejected` (400) with its location."""
    if text in ABOUT:
        return Path("", text)
    head, dot, rest = text.partition(".")
    section = _SECTIONS.get(head.lower())
    if section and dot and rest:
        return Path(section, rest)
    name = _ALIASES.get(text.lower())
    if name is None:
        raise bad_request(
            f"{place}: unknown path {text[:100]!r}",
            f"Known: {', '.join(ABOUT)}, config.<path>, summary.<key>.",
        )
    return Path("", name)


def bad_request(message: str, hint: str = "docs/api.md describes filters.") -> Rejected:
    return Rejected(message, code=ErrorCode.BAD_FILTER, hint=hint)
