"""Metrics of the wandb API."""

from __future__ import annotations

from penstock_common.process.metrics import GatewayMetrics

__all__ = ["WandbMetrics"]


class WandbMetrics:
    """Declared once per process, in the gateway's registry."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self.operations = metrics.counters(
            "wandb_graphql_operations_total",
            "GraphQL operations of wandb clients, by outcome.",
            "outcome",
            ("answered", "refused", "unknown"),
        )
        self.unknown_operations = metrics.counters(
            "wandb_unknown_operations_total",
            "Unknown GraphQL operations of wandb clients, by name.",
            "operation",
            ("other",),
        )
        self.missing_fields = metrics.counter(
            "wandb_graphql_missing_fields_total",
            "Undefined fields that wandb clients asked for and that were answered with null.",
        )
        self.lines = metrics.counters(
            "wandb_stream_lines_total",
            "Lines of wandb clients that were stored, by file.",
            "file",
            ("history", "events", "console"),
        )
        self.posts = metrics.counters(
            "wandb_stream_posts_total",
            "File stream requests of wandb clients, by outcome.",
            "outcome",
            ("stored", "refused", "not_committed", "unavailable"),
        )
        self.parse_seconds = metrics.histogram(
            "wandb_stream_parse_seconds", "Time to build the batches of one file stream request."
        )
