"""What a filter, an order or a list of fields can name: `state`, `config.model.depth`,
`summary.val/loss`, and the names that W&B has for them."""

from __future__ import annotations

from typing import NamedTuple

from penstock.errors import Rejected

__all__ = ["ABOUT", "MAX_DEPTH", "OPTIONAL", "Path", "bad_request", "parse_path"]

MAX_DEPTH = 8
"""So many levels of objects inside config and summary have paths of their own."""

ABOUT = (
    "run", "name", "state", "group", "job_type", "tags", "notes", "sweep", "host", "created_at",
    "updated_at",
)  # fmt: skip
_ALIASES = {
    "id": "run",
    "display_name": "name",
    "displayname": "name",
    "jobtype": "job_type",
    "createdat": "created_at",
    "updatedat": "updated_at",
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
    """`section` is config or summary, or empty for what the run itself says."""

    section: str
    name: str

    def __str__(self) -> str:
        return f"{self.section}.{self.name}" if self.section else self.name


OPTIONAL = frozenset(
    Path("", name) for name in ("group", "job_type", "tags", "notes", "sweep", "host")
)
"""What a run need not have. One that is empty was never set: there is no other null."""


def parse_path(text: str, place: str) -> Path:
    """The path that a text names. Raises `Rejected` (400) that tells the place."""
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
    return Rejected(message, code="bad_filter", hint=hint)
