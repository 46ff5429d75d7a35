"""Counting by plain addition, pages of several processes as one, and what clients report."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from penstock.wire import Batch
from penstock_common.http.exporter import merged
from penstock_common.process.fast_metrics import CounterFamily, HistogramFamily
from penstock_common.process.metrics import (
    STORE_ERRORS,
    STORE_TABLES,
    VERSION,
    GatewayMetrics,
    Metrics,
    WorkerMetrics,
)
from penstock_ingest.reports import ClientReports
from penstock_storage.clickhouse.schema import COLUMNS
from penstock_storage.clickhouse.store_errors import kind_of


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """(name, labels) -> value, read by Prometheus' own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, frozenset(labels.items())]


def test_counters_and_histograms_render_as_prometheus_reads_them() -> None:
    registry = CollectorRegistry()
    counters = CounterFamily("c_total", "CallbackCounter.", ["kind", "code"])
    histogram = HistogramFamily("h_seconds", "Timed.", ["route"], (0.5, 1, 2))
    registry.register(counters)
    registry.register(histogram)
    counters.labels("a", "1").inc()
    counters.labels("a", "1").inc(2.5)
    for seconds in (0.1, 0.5, 0.7, 5.0):
        histogram.labels('a "b"\n').observe(seconds)
    text = generate_latest(registry).decode()
    assert value(text, "c_total", kind="a", code="1") == 3.5
    found = [
        value(text, "h_seconds_bucket", route='a "b"\n', le=le)
        for le in ("0.5", "1.0", "2.0", "+Inf")
    ]
    assert found == [2, 3, 3, 4]
    assert value(text, "h_seconds_count", route='a "b"\n') == 4
    assert value(text, "h_seconds_sum", route='a "b"\n') == pytest.approx(6.3)


def test_a_label_too_many_is_refused() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        CounterFamily("c_total", "CallbackCounter.", ["kind"]).labels("a", "b")


def test_pages_of_several_processes_lose_and_invent_nothing() -> None:
    one, two, worker = GatewayMetrics(), GatewayMetrics(), WorkerMetrics()
    one.points.inc(3)
    two.points.inc(4)
    one.requests.labels("/v1/{run}", "GET", "200").inc()
    one.loop_lag.observe(0.003)
    pages = {"gateway-0": one, "gateway-1": two, "worker-0": worker}
    texts = {process: each.render().decode() for process, each in pages.items()}
    text = merged({**texts, "gone": ""})
    expected = {
        (name, labels | {("process", process)}): value
        for process, page in texts.items()
        for (name, labels), value in samples(page).items()
    }
    assert samples(text) == expected
    described = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(set(described))
    total = sum(
        v for (name, _), v in samples(text).items() if name == "penstock_ingest_points_total"
    )
    assert total == 7


def test_every_closed_label_set_starts_at_0() -> None:
    for metrics in (GatewayMetrics(), WorkerMetrics()):
        for family in metrics.registry.collect():
            if family.type == "counter" and family.name.startswith("penstock"):
                labelled = family.name != "penstock_http_requests"
                assert bool(family.samples) is labelled, family.name


def test_counted_is_asked_when_scraped() -> None:
    metrics, hits = Metrics(), [0]
    metrics.callback_counter("hits_total", "Hits.", lambda: hits[0])
    hits[0] = 3
    assert value(metrics.render().decode(), "penstock_hits_total") == 3


def test_every_kind_of_store_error_is_in_the_closed_list() -> None:
    assert {kind_of(code) for code in range(1_000)} == set(STORE_ERRORS)


def test_every_table_of_the_store_is_in_the_closed_list() -> None:
    assert set(COLUMNS) == set(STORE_TABLES)


def batch(writer: str, seq: int, **client: Any) -> Batch:
    return Batch(project="p", run="r", writer=writer, seq=seq, client=client)


def test_reports_of_clients_are_summed() -> None:
    metrics, now = GatewayMetrics(), [0.0]
    reports = ClientReports(metrics, lambda: now[0])
    reports.note(batch("a", 1, version=VERSION, dropped=2, retries=1, spool_bytes=100))
    reports.note(batch("a", 2, version=VERSION, dropped=0, retries=3, spool_bytes=50))
    reports.note(batch("b", 1, version="9.9.9", dropped=5, retries=0, spool_bytes=7))
    reports.note(batch("c", 1))
    text = metrics.render().decode()
    assert value(text, "penstock_client_rows_dropped_total") == 7
    assert value(text, "penstock_client_retries_total") == 4
    assert value(text, "penstock_client_spool_bytes") == 57
    assert value(text, "penstock_client_version_batches_total", version=VERSION) == 2
    assert value(text, "penstock_client_version_batches_total", version="other") == 2
    now[0] = 61.0
    assert reports.spool_bytes() == 0


@pytest.mark.parametrize("nonsense", [-1, 2**62, 1.5, "7", None, True, [1], float("nan")])
def test_a_report_that_is_nonsense_counts_as_0(nonsense: Any) -> None:
    metrics = GatewayMetrics()
    reports = ClientReports(metrics)
    reports.note(batch("a", 1, version=nonsense, dropped=nonsense, retries=nonsense))
    reports.note(batch("a", 2, spool_bytes=nonsense))
    assert metrics.client_dropped.value == metrics.client_retries.value == 0
    assert reports.spool_bytes() == 0


def test_renamed_metrics_keep_their_old_names_for_a_release() -> None:
    metrics = WorkerMetrics()
    metrics.unpurged.set(3)
    metrics.purged_rows.inc(5)
    metrics.purge_seconds.observe(0.2)
    text = metrics.render().decode()
    for new, old, found in (
        ("unpurged_runs", "unswept_runs", 3),
        ("purged_rows_total", "swept_rows_total", 5),
        ("purge_duration_seconds_sum", "sweep_duration_seconds_sum", 0.2),
        ("purge_duration_seconds_count", "sweep_duration_seconds_count", 1),
    ):
        assert value(text, f"penstock_worker_{new}") == found
        assert value(text, f"penstock_worker_{old}") == found
    bucket = {"le": "0.25"}
    assert value(text, "penstock_worker_sweep_duration_seconds_bucket", **bucket) == 1
