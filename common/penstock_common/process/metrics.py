"""All Prometheus metrics of the servers, declared once with their meaning; docs/operations.md lists them.

A process creates one `Metrics` with a registry of its own. Labels take values from closed sets only:
never a project, run, key or user. Label sets start at 0, so that a rate is never missing.
"""

from __future__ import annotations

import gc
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock.error_codes import DATA, KEYS, ErrorCode
from penstock_common.process.fast_metrics import (
    CallbackCounter,
    CounterFamily,
    FastCounter,
    FastHistogram,
    HistogramFamily,
)
from penstock_common.queue.problems import PROBLEMS
from penstock_common.queue.redis_keys import SHARDS

__all__ = [
    "VERSION",
    "GatewayMetrics",
    "Metrics",
    "StoreMetrics",
    "SupervisorMetrics",
    "WorkerMetrics",
]

VERSION = version("penstock")
LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 7.5, 10, 30)
SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

INGEST_OUTCOMES = (
    "queued",
    "duplicate",
    "invalid",
    "unauthorized",
    "too_large",
    "conflict",
    "deleted",
    "quota",
    "overloaded",
    "parked",
    "queue_error",
)
REJECTIONS = (
    *(code.value for code in ErrorCode if code.subject == DATA),
    ErrorCode.FORBIDDEN.value,
    "unauthorized",
    "queue_unavailable",
    "other",
)
DOOR_REFUSALS = ("full", "slow_header")
QUEUE_ERRORS = ("timeout", "oom", "misconf", "readonly", "loading", "connection", "other")
AUTH_FAILURES = (*(code.value for code in ErrorCode if code.subject == KEYS), "other")
WORKER_OUTCOMES = ("committed", "duplicate", "conflict", "dead_lettered", "of_deleted_run")
WORKER_ERRORS = ("queue", "store", "catalog", "batch", "fenced")
STORE_OPERATIONS = ("read", "insert", "other")
STORE_ERRORS = (
    "busy", "cancelled", "damaged", "network", "out_of_memory", "out_of_space", "read_only", "shutting_down",
    "statement", "timeout", "too_many_parts",
)  # fmt: skip
STORE_TABLES = (
    "applied", "batches", "console", "dirty", "lost", "meta", "names", "points", "series", "tiers",
    "times", "values",
)  # fmt: skip
CHILDREN = ("redis", "store", "worker", "gateway")


class Metrics:
    """The metrics of every process: its build and its resources."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_Collections())
        build = self.gauge("build_info", "The running build; always 1.", ["version", "python"])
        build.labels(VERSION, platform.python_version()).set(1)

    def counters(
        self, name: str, text: str, label: str, values: Iterable[str] = ()
    ) -> CounterFamily:
        """A counter with one label, at 0 for each of `values`."""
        family = CounterFamily(f"penstock_{name}", text, label.split(","))
        for value in values:
            family.labels(value)
        self.registry.register(family)
        return family

    def counter(self, name: str, text: str, *, old_name: str = "") -> FastCounter:
        """A counter without labels."""
        family = CounterFamily(f"penstock_{name}", text)
        self._register(family, name, old_name)
        return family.labels()

    def callback_counter(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A counter whose value is read from elsewhere."""
        self.registry.register(CallbackCounter(f"penstock_{name}", text, value))

    def gauge(
        self, name: str, text: str, labels: Iterable[str] = (), *, old_name: str = ""
    ) -> Gauge:
        gauge = Gauge(f"penstock_{name}", text, list(labels), registry=None)
        self._register(gauge, name, old_name)
        return gauge

    def histogram(
        self, name: str, text: str, bounds: Sequence[float] = LATENCY, *, old_name: str = ""
    ) -> FastHistogram:
        """A histogram without labels."""
        family = HistogramFamily(f"penstock_{name}", text, (), bounds)
        self._register(family, name, old_name)
        return family.labels()

    def histograms(
        self, name: str, text: str, label: str, values: Iterable[str] = ()
    ) -> HistogramFamily:
        """A histogram of seconds with one label."""
        family = HistogramFamily(f"penstock_{name}", text, (label,), LATENCY)
        for value in values:
            family.labels(value)
        self.registry.register(family)
        return family

    def _register(self, collector: Collector, name: str, old_name: str) -> None:
        self.registry.register(collector)
        if old_name:
            self.registry.register(_OldName(collector, name, old_name))

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Collections:
    """Python's garbage collector, under the names of the official Prometheus client."""

    def collect(self) -> Iterable[Metric]:
        texts = {
            "collections": "Times each generation was collected.",
            "objects_collected": "Objects that a collection freed.",
            "objects_uncollectable": "Objects that a collection could not free.",
        }
        stats = gc.get_stats()
        for (name, text), field in zip(
            texts.items(), ("collections", "collected", "uncollectable"), strict=True
        ):
            family = CounterMetricFamily(f"python_gc_{name}", text, labels=["generation"])
            for generation, counts in enumerate(stats):
                family.add_metric([str(generation)], counts[field])
            yield family


class _OldName:
    """A metric under the name that it had in the last release, beside its new one."""

    def __init__(self, collector: Collector, name: str, old_name: str) -> None:
        self._collector = collector
        self._name = f"penstock_{name}".removesuffix("_total")
        self._old_name = f"penstock_{old_name}".removesuffix("_total")

    def collect(self) -> Iterable[Metric]:
        for metric in self._collector.collect():
            text = f"Old name of {self._name}, gone in the next release."
            renamed = Metric(self._old_name, text, metric.type)
            for each in metric.samples:
                name = each.name.replace(self._name, self._old_name)
                renamed.add_sample(name, each.labels, each.value)
            yield renamed


class GatewayMetrics(Metrics):
    """The metrics of a gateway, which also serves the read API and the page."""

    def __init__(self) -> None:
        super().__init__()
        self._ingest()
        self._clients()
        self.requests = self.counters(
            "http_requests_total", "Requests answered.", "route,method,code"
        )
        self.request_seconds = self.histograms(
            "http_request_duration_seconds", "Time from request to reply.", "route"
        )
        self.in_flight = self.gauge("http_requests_in_flight", "Requests in progress.")
        self.connections = self.gauge("http_connections", "Open connections.")
        self.connections_refused = self.counters(
            "http_connections_refused_total", "Connections closed without a request.", "reason",
            DOOR_REFUSALS,
        )  # fmt: skip
        self.auth_failures = self.counters(
            "auth_failures_total", "Requests refused because of their key.", "reason", AUTH_FAILURES
        )
        self.loop_lag = self.histogram(
            "event_loop_lag_seconds", "How late the event loop fired a timer."
        )
        self.problems = self.gauge("problems", "Current problems, by code.", ["code"])
        for code in PROBLEMS:
            self.problems.labels(code).set(0)
        self.draining = self.gauge("draining", "1 while the process is shutting down.")
        self.live_streams = self.gauge("web_live_streams", "Browsers subscribed to live updates.")
        self.query_points = self.histogram(
            "web_query_points_returned", "Points or buckets in one reply of the chart API.", SIZES
        )

    def _ingest(self) -> None:
        self.batches = self.counters(
            "ingest_batches_total", "Batches by outcome.", "outcome", INGEST_OUTCOMES
        )
        self.rejections = self.counters(
            "ingest_rejections_total", "Requests with batches refused, by error code.", "reason",
            REJECTIONS,
        )  # fmt: skip
        self.points = self.counter("ingest_points_total", "Points in batches that were queued.")
        self.bytes = self.counters(
            "ingest_bytes_total", "Bytes of batches: as sent, and the values in them.",
            "stage", ("wire", "decoded"),
        )  # fmt: skip
        self.body_bytes = self.gauge(
            "ingest_body_bytes_in_flight", "Bytes of request bodies held in memory."
        )
        self.batch_points = self.histogram("ingest_batch_points", "Points per batch.", SIZES)
        self.append_seconds = self.histogram(
            "queue_append_duration_seconds", "Time from handing a batch to Redis to its reply."
        )
        self.append_errors = self.counters(
            "queue_append_errors_total", "Appends that failed.", "kind", QUEUE_ERRORS
        )

    def _clients(self) -> None:
        self.client_dropped = self.counter(
            "client_rows_dropped_total", "Logged rows that clients had no room for."
        )
        self.client_retries = self.counter(
            "client_retries_total", "Requests that clients had to send again."
        )
        self.client_spool_bytes = self.gauge(
            "client_spool_bytes", "Bytes in the spools of writers active in the last minute."
        )
        self.client_batches = self.counters(
            "client_version_batches_total", "Batches by the client that sent them.", "version",
            (VERSION, "other"),
        )  # fmt: skip


class WorkerMetrics(Metrics):
    """The metrics of a worker. One worker, the owner of shard 0, also reports on the queue and the store
    as a whole: see `penstock_workers.upkeep.gauges`."""

    def __init__(self) -> None:
        super().__init__()
        self.entries_read = self.counters(
            "worker_entries_read_total", "Queue entries read, including repeated reads.", "shard",
            map(str, range(SHARDS)),
        )  # fmt: skip
        self.rewinds = self.counter(
            "worker_rewinds_total", "Times the worker started over at the beginning of its shards."
        )
        self.batches = self.counters(
            "worker_batches_total", "Batches by outcome.", "outcome", WORKER_OUTCOMES
        )
        self.points = self.counter(
            "worker_points_committed_total", "Points committed, without repeats in a commit."
        )
        self.fold_seconds = self.histogram(
            "worker_fold_duration_seconds", "Time to decode, sort and fold one commit."
        )
        self.commit_seconds = self.histogram(
            "worker_commit_duration_seconds", "Time to store one commit and delete its entries."
        )
        self.commit_batches = self.histogram("worker_commit_batches", "Batches per commit.", SIZES)
        self.delay_seconds = self.histogram(
            "worker_end_to_end_delay_seconds", "From received by a gateway to committed, per batch."
        )
        self.last_commit = self.gauge(
            "worker_last_commit_timestamp_seconds", "When the last commit ended."
        )
        self.last_loop = self.gauge(
            "worker_last_loop_timestamp_seconds", "When the main loop last ran."
        )
        self.stopped = self.gauge(
            "worker_shard_stopped",
            "Always 0, removed in the next release: shards are no longer stopped.",
            ["shard"],
        )
        for shard in range(SHARDS):
            self.stopped.labels(str(shard)).set(0)
        self.at_fault = self.gauge(
            "worker_at_fault",
            "1 if everything this worker read failed: it is about to restart.",
        )
        self.at_fault.set(0)
        self.rollbacks = self.counter(
            "worker_rollbacks_total", "Times a store or catalog turned out to be an older copy."
        )
        self.marked_crashed = self.counter(
            "worker_silent_runs_total", "Runs marked crashed for lack of data and heartbeats."
        )
        self.shards = self.gauge("worker_shards", "Shards that this worker owns.")
        self.missing = self.gauge(
            "worker_missing_batches",
            "Batches missing (so far) below numbers that were received.",
        )
        self.errors = self.counters(
            "worker_errors_total", "Failures, each retried.", "kind", WORKER_ERRORS
        )
        self.tier_buckets = self.counter(
            "worker_tier_series_total", "Series whose tiers were built."
        )
        self.compact_seconds = self.histogram(
            "worker_compact_duration_seconds", "Time of one pass over tiers."
        )
        self.unpurged = self.gauge(
            "worker_unpurged_runs", "Deleted runs whose rows the store may not have deleted yet.",
            old_name="worker_unswept_runs",
        )  # fmt: skip
        self.lost_parts = self.counters(
            "store_parts_lost_total", "Parts of the store that were damaged or lost on disk.",
            "table", STORE_TABLES,
        )  # fmt: skip
        self.lost_points = self.gauge(
            "store_points_lost",
            "Points that a damaged store has lost and that were not sent again.",
        )
        self.purged_rows = self.counter(
            "worker_purged_rows_total", "Rows of deleted runs that the store was asked to delete.",
            old_name="worker_swept_rows_total",
        )  # fmt: skip
        self.purge_seconds = self.histogram(
            "worker_purge_duration_seconds", "Time until the store had deleted them.",
            old_name="worker_sweep_duration_seconds",
        )  # fmt: skip


class StoreMetrics(Metrics):
    """The metrics of the embedded store's process."""

    def __init__(self) -> None:
        super().__init__()
        self.operation_seconds = self.histograms(
            "store_operation_duration_seconds",
            "Time of one statement, until its reply is sent.",
            "operation",
            STORE_OPERATIONS,
        )
        self.errors = self.counters(
            "store_errors_total", "Statements that failed.", "operation,kind"
        )
        for operation in STORE_OPERATIONS:
            for kind in STORE_ERRORS:
                self.errors.labels(operation, kind)


class SupervisorMetrics(Metrics):
    """The metrics of `penstock up` itself."""

    def __init__(self) -> None:
        super().__init__()
        self.restarts = self.counters(
            "up_child_restarts_total", "Children that died and were restarted.", "child",
            CHILDREN,
        )  # fmt: skip
        self.hangs = self.counters(
            "up_child_hangs_total", "Children that sent no heartbeat for too long and were replaced.",
            "child", CHILDREN,
        )  # fmt: skip
        self.queue_damages = self.counter(
            "up_queue_damages_total",
            "Times the queue's file was repaired, or may have lost its end.",
        )
