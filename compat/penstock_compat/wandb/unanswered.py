"""GraphQL operations and fields that the server does not know: counted by name, logged once each.

A new version of the client that needs something else is seen by it. Names come from whoever asks, so
only so many are kept.
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
    """Operations and fields, as one process has met them."""

    def __init__(self, metrics: WandbMetrics) -> None:
        self._metrics = metrics
        self._operations: set[str] = set()
        self._fields: set[str] = set()

    def operation(self, name: str, reason: str) -> None:
        """An operation of this name (empty: it has none) that was refused as unknown."""
        name = name[:_MAX_NAME_CHARS] or "unnamed"
        if name not in self._operations:
            if len(self._operations) >= _MAX_OPERATIONS:
                self._metrics.unknown_operations.labels(_OTHER).inc()
                return
            self._operations.add(name)
            _LOG.warning("unknown_graphql_operation operation=%s reason=%s", name, reason)
        self._metrics.unknown_operations.labels(name).inc()

    def field(self, name: str) -> None:
        """A field (`Type.name`) that was answered null, as no node defines it."""
        self._metrics.missing_fields.inc()
        name = name[:_MAX_NAME_CHARS]
        if name not in self._fields and len(self._fields) < _MAX_FIELDS:
            self._fields.add(name)
            _LOG.info("graphql_field_without_answer field=%s", name)
