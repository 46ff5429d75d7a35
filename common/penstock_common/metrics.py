"""Every Prometheus metric of the servers, declared once with its meaning.

A process makes one `Metrics` over a registry of its own. Labels take values from closed sets only:
never a project, run, key or user. Label sets are initialised to 0, so that a rate is never missing.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

__all__ = ["GatewayMetrics", "Metrics", "WorkerMetrics"]

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

INGEST_OUTCOMES = (
    "queued",
    "duplicate",
    "invalid",
    "unauthorized",
    "too_large",
    "quota",
    "overloaded",
    "queue_error",
)
QUEUE_ERRORS = ("timeout", "oom", "misconf", "readonly", "loading", "connection", "other")
WORKER_OUTCOMES = ("committed", "duplicate", "dead_lettered")
WORKER_ERRORS = ("queue", "store", "catalog", "batch", "fenced")


class Metrics:
    """What every process reports: its build, and itself."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        build = self.gauge("build_info", "The running build; always 1.", ["version", "python"])
        build.labels(version("penstock"), platform.python_version()).set(1)

    def counter(
        self, name: str, text: str, labels: Iterable[str] = (), values: Iterable[str] = ()
    ) -> Counter:
        metric = Counter(f"penstock_{name}", text, list(labels), registry=self.registry)
        for value in values:
            metric.labels(value)
        return metric

    def gauge(self, name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(f"penstock_{name}", text, list(labels), registry=self.registry)

    def histogram(
        self,
        name: str,
        text: str,
        labels: Iterable[str] = (),
        buckets: tuple[float, ...] = _LATENCY,
    ) -> Histogram:
        return Histogram(
            f"penstock_{name}", text, list(labels), registry=self.registry, buckets=buckets
        )

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class GatewayMetrics(Metrics):
    """What a gateway reports, beside HTTP as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = self.counter(
            "http_requests_total", "Requests answered.", ["route", "method", "code"]
        )
        self.request_seconds = self.histogram(
            "http_request_duration_seconds", "Time from request to answer.", ["route"]
        )
        self.in_flight = self.gauge("http_requests_in_flight", "Requests being answered.")
        self.batches = self.counter(
            "ingest_batches_total", "Batches by what became of them.", ["outcome"], INGEST_OUTCOMES
        )
        self.points = self.counter("ingest_points_total", "Points in batches that were queued.")
        self.bytes = self.counter(
            "ingest_bytes_total", "Bytes of batches: as sent, and the values in them.",
            ["stage"], ("wire", "decoded"),
        )  # fmt: skip
        self.body_bytes = self.gauge(
            "ingest_body_bytes_in_flight", "Bytes of request bodies held in memory."
        )
        self.batch_points = self.histogram(
            "ingest_batch_points", "Points per batch.", buckets=_SIZES
        )
        self.append_seconds = self.histogram(
            "queue_append_duration_seconds", "Time to append one group of batches to the queue."
        )
        self.append_errors = self.counter(
            "queue_append_errors_total", "Appends that failed.", ["kind"], QUEUE_ERRORS
        )
        self.auth_failures = self.counter(
            "auth_failures_total", "Requests refused for their key.", ["reason"],
            ("no_key", "malformed_key", "unknown_key", "revoked_key", "forbidden"),
        )  # fmt: skip
        self.loop_lag = self.histogram(
            "event_loop_lag_seconds", "How late the event loop woke a timer."
        )
        self.draining = self.gauge("draining", "1 while the process is shutting down.")


class WorkerMetrics(Metrics):
    """What a worker reports."""

    def __init__(self) -> None:
        super().__init__()
        self.entries_read = self.counter("worker_entries_read_total", "Queue entries read.")
        self.batches = self.counter(
            "worker_batches_total", "Batches by what became of them.", ["outcome"], WORKER_OUTCOMES
        )
        self.points = self.counter(
            "worker_points_committed_total", "Points committed, repeats within a commit dropped."
        )
        self.fold_seconds = self.histogram(
            "worker_fold_duration_seconds", "Time to decode, sort and fold one commit."
        )
        self.commit_seconds = self.histogram(
            "worker_commit_duration_seconds", "Time to store one commit and free its entries."
        )
        self.commit_batches = self.histogram(
            "worker_commit_batches", "Batches per commit.", buckets=_SIZES
        )
        self.delay_seconds = self.histogram(
            "worker_end_to_end_delay_seconds", "From received by a gateway to committed."
        )
        self.last_commit = self.gauge(
            "worker_last_commit_timestamp_seconds", "When the last commit ended."
        )
        self.last_loop = self.gauge(
            "worker_last_loop_timestamp_seconds", "When the loop last turned."
        )
        self.shards = self.gauge("worker_shards", "Shards that this worker owns.")
        self.errors = self.counter(
            "worker_errors_total", "Failures, each retried.", ["kind"], WORKER_ERRORS
        )
        self.dead_letters = self.gauge("worker_dead_letters", "Batches in the dead-letter streams.")
        self.stream_entries = self.gauge(
            "stream_entries", "Batches not yet committed (the exact backlog).", ["shard"]
        )
        self.tier_buckets = self.counter(
            "worker_tier_series_total", "Series whose tiers were built."
        )
        self.compact_seconds = self.histogram(
            "worker_compact_duration_seconds", "Time of one pass over tiers."
        )
