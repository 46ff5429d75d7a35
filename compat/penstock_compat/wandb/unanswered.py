"""Unknown GraphQL operations and fields: counted by name, logged once each.

They reveal a new client version's needs. Names come from callers, so their number is limited.
"""

from __future__ import annotations

import logging

from penstock_compat.wandb.metrics import WandbMetrics

__all__ = ["Unanswered"]

_LOG = logging.getLogger(__name__)
_MAX_OPERATIONS = 100
_MAX_FIELDS = 200
_MAX_NAME_CHARS = 80
_OTHER = "other"


class Unanswered:
    """Operations and fields seen by one process."""

    def __init__(self, metrics: WandbMetrics) -> None:
        self._metrics = metrics
        self._operations: set[str] = set()
        self._fields: set[str] = set()

    def operation(self, name: str, reason: str) -> None:
        """Record an operation refused as unknown, by name (empty if it has none)."""
        name = name[:_MAX_NAME_CHARS] or "unnamed"
        if name not in self._operations:
            if len(self._operations) >= _MAX_OPERATIONS:
                self._metrics.unknown_operations.labels(_OTHER).inc()
                return
            self._operations.add(name)
            _LOG.warning("unknown_graphql_operation operation=%s reason=%s", name, reason)
        self._metrics.unknown_operations.labels(name).inc()

    def field(self, name: str) -> None:
        """Record an undefined field (`Type.name`) that was answered with null."""
        self._metrics.missing_fields.inc()
        name = name[:_MAX_NAME_CHARS]
        if name not in self._fields and len(self._fields) < _MAX_FIELDS:
            self._fields.add(name)
            _LOG.info("graphql_field_without_answer field=%s", name)
