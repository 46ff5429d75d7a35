"""Autoscaling, disruption budgets, monitoring: what they name exists, and none of it can hold up a cluster."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from support.chart import CHART, ROOT, Workload, objects_of, workloads

from penstock_common.process.metrics import (
    GatewayMetrics,
    StoreMetrics,
    SupervisorMetrics,
    WorkerMetrics,
)
from penstock_common.queue.redis_keys import SHARDS
from penstock_compat.wandb.metrics import WandbMetrics

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]

CLUSTERS = ("production", "cluster-autoscaled", "cluster-together")


def exported() -> set[str]:
    """Every metric that a process exports: those of the registries, and the elected worker's."""
    found: set[str] = set()
    for kind in (GatewayMetrics, WorkerMetrics, StoreMetrics, SupervisorMetrics):
        metrics = kind()
        if isinstance(metrics, GatewayMetrics):
            WandbMetrics(metrics)
        for family in metrics.registry.collect():
            found |= {family.name, *(sample.name for sample in family.samples)}
            # A histogram without samples has none of these yet.
            found |= {f"{family.name}_{end}" for end in ("bucket", "sum", "count", "total")}
    # What is added to a registry elsewhere.
    gauges = (ROOT / "workers/penstock_workers/upkeep/gauges.py").read_text()
    found |= {
        f"penstock_{n}" for n in re.findall(r'_(?:gauge|by_shard|by_table)\(\s*"(\w+)"', gauges)
    }
    found |= set(re.findall(r'"(penstock_\w+_total)"', gauges))
    gateway = (ROOT / "server/penstock_server/gateway.py").read_text()
    return found | {f"penstock_{n}" for n in re.findall(r'callback_counter\(\s*"(\w+)"', gateway)}


def workload(name: str, component: str) -> Workload:
    (found,) = (each for each in workloads(objects_of(name)) if each.component == component)
    return found


def test_every_metric_that_scales_something_is_exported() -> None:
    known = exported()
    assert "penstock_stream_bytes" in known
    names = []
    for scenario in CLUSTERS:
        for each in objects_of(scenario, "HorizontalPodAutoscaler"):
            names += [
                m["pods"]["metric"]["name"] for m in each["spec"]["metrics"] if m["type"] == "Pods"
            ]
        for each in objects_of(scenario, "ScaledObject"):
            for trigger in each["spec"]["triggers"]:
                names += re.findall(r"penstock_\w+", trigger["metadata"]["query"])
    assert len(names) > 3
    assert not set(names) - known


def test_workers_scale_on_the_backlog_summed_over_shards() -> None:
    for scenario in ("production", "cluster-autoscaled"):
        (scaled,) = objects_of(scenario, "ScaledObject")
        spec = scaled["spec"]
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] <= SHARDS
        assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
        assert spec["scaleTargetRef"]["name"] == workload(scenario, "worker").name
        queries = {t["name"]: t["metadata"] for t in spec["triggers"]}
        assert set(queries) == {"backlog-bytes", "backlog-age"}
        for trigger in queries.values():
            parsed = promql_parser.parse(trigger["query"])
            assert isinstance(parsed, promql_parser.AggregateExpr)
            assert str(parsed.op) == "sum"
            assert float(trigger["threshold"]) > 0
            # As the ServiceMonitor labels them.
            assert 'job="penstock"' in trigger["query"]
            assert 'namespace="penstock"' in trigger["query"]
        # At rest each shard's oldest batch waits for 5 s at most, which must not scale anything.
        assert float(queries["backlog-age"]["threshold"]) >= 5 * SHARDS
        # A single late shard is no reason for more workers.
        assert float(queries["backlog-age"]["threshold"]) >= 60
        assert "clamp_max" in queries["backlog-age"]["query"]


def test_what_is_scaled_has_no_fixed_number() -> None:
    """Or every upgrade would set it back."""
    for each in workloads(objects_of("cluster-autoscaled")):
        if each.component in ("gateway", "web", "worker"):
            assert "replicas" not in each.spec
    for each in workloads(objects_of("cluster-mirror")):
        assert each.spec["replicas"] == 2


def test_autoscalers_aim_at_workloads_that_exist() -> None:
    for scenario in CLUSTERS:
        names = {each.name for each in workloads(objects_of(scenario)) if each.kind == "Deployment"}
        for each in objects_of(scenario, "HorizontalPodAutoscaler"):
            assert each["spec"]["scaleTargetRef"]["name"] in names
            assert 1 <= each["spec"]["minReplicas"] <= each["spec"]["maxReplicas"]


@pytest.mark.parametrize(
    "scenario", ["default", "production", "cluster-store", "cluster-autoscaled"]
)
def test_no_budget_blocks_a_drain_forever(scenario: str) -> None:
    budgets = objects_of(scenario, "PodDisruptionBudget")
    covered = set()
    for each in budgets:
        spec = each["spec"]
        assert "minAvailable" not in spec
        assert spec["maxUnavailable"] >= 1
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        covered |= {
            w.component for w in workloads(objects_of(scenario))
            if spec["selector"]["matchLabels"].items() <= w.labels.items()
        }  # fmt: skip
    assert covered == (set() if scenario == "default" else {"gateway", "web", "worker"})


def test_pods_of_a_role_are_spread() -> None:
    for component in ("gateway", "web", "worker"):
        pod = workload("production", component).pod
        (spread,) = pod["topologySpreadConstraints"]
        assert spread["topologyKey"] == "topology.kubernetes.io/zone"
        labels = workload("production", component).labels
        assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
        (apart,) = pod["affinity"]["podAntiAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        assert apart["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= labels.items()


def test_priorities_exist_and_preempt_nobody() -> None:
    classes = {each["metadata"]["name"]: each for each in objects_of("production", "PriorityClass")}
    used = {
        w.pod["priorityClassName"]
        for w in workloads(objects_of("production"))
        if w.kind == "Deployment"
    }
    assert used == set(classes)
    assert {each["preemptionPolicy"] for each in classes.values()} == {"Never"}
    assert (
        workload("single-unscheduled", "single").pod["priorityClassName"]
        == "penstock-penstock-ingest"
    )
    assert workload("cluster-hard", "gateway").pod["priorityClassName"] == "high"
    assert "priorityClassName" not in workload("cluster-hard", "web").pod


# -- monitoring


def operations() -> Any:
    """The tests of the dashboard and the alerts, which know how to read expressions."""
    path = Path(__file__).parents[1] / "packaging" / "test_operations.py"
    spec = importlib.util.spec_from_file_location("operations_for_charts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_rules_are_those_of_the_repository() -> None:
    (rule,) = objects_of("production", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())


def test_every_metric_of_rules_and_dashboard_is_exported() -> None:
    module, known = operations(), exported()
    (rule,) = objects_of("production", "PrometheusRule")
    rules = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    recorded = {each["record"] for each in rules if "record" in each}
    expressions = [each["expr"] for each in rules] + module.dashboard_expressions()
    names = {name for name, _, _ in module.asked(expressions)} - recorded
    own = {name for name in names if name.startswith("penstock")}
    assert len(own) > 50
    assert not own - known


def test_every_alert_has_a_runbook() -> None:
    """A row in docs/operations.md that says what to check, and a way there from docs/kubernetes.md."""
    (rule,) = objects_of("production", "PrometheusRule")
    alerts = {
        e["alert"] for group in rule["spec"]["groups"] for e in group["rules"] if "alert" in e
    }
    rows = dict(
        re.findall(
            r"^\| `(Penstock\w+)` \| \w+ \| (.+) \|$",
            (ROOT / "docs/operations.md").read_text(),
            re.M,
        )
    )
    assert alerts == rows.keys()
    assert all(len(text) > 10 for text in rows.values())


def test_the_dashboard_is_the_repository_s() -> None:
    (dashboard,) = (
        e for e in objects_of("production", "ConfigMap") if "dashboard" in e["metadata"]["name"]
    )
    assert dashboard["data"]["penstock.json"] == (
        ROOT / "deploy/grafana/penstock.json"
    ).read_text().rstrip("\n")
    # `kubectl apply` notes the whole object in an annotation of at most 256 KiB.
    assert len(dashboard["data"]["penstock.json"]) < 200_000
    assert (CHART / "files/dashboard.json").read_text() == (
        ROOT / "deploy/grafana/penstock.json"
    ).read_text()


@pytest.mark.parametrize("scenario", ["single-monitoring", "production", "cluster-together"])
def test_prometheus_finds_every_role_s_metrics(scenario: str) -> None:
    (monitor,) = objects_of(scenario, "ServiceMonitor")
    chosen = [
        each for each in objects_of(scenario, "Service")
        if monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]  # fmt: skip
    (service,) = chosen
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = (each for each in service["spec"]["ports"] if each["name"] == endpoint["port"])
    reached = set()
    for each in workloads(objects_of(scenario)):
        if service["spec"]["selector"].items() <= each.labels.items():
            assert port["targetPort"] in {p["name"] for p in each.container["ports"]}
            reached.add(each.component)
    roles = {"single"} if scenario == "single-monitoring" else {"gateway", "web", "worker"}
    assert reached == roles | ({"store"} if scenario == "cluster-together" else set())
    assert monitor["spec"]["jobLabel"] in service["metadata"]["labels"]


@pytest.mark.parametrize(
    "scenario", ["default", "production", "cluster-store", "cluster-together", "single-load"]
)
def test_services_lead_to_ports_that_exist(scenario: str) -> None:
    for service in objects_of(scenario, "Service"):
        chosen = [
            w
            for w in workloads(objects_of(scenario))
            if service["spec"]["selector"].items() <= w.labels.items()
        ]
        assert chosen, service["metadata"]["name"]
        for each in chosen:
            names = {port["name"] for port in each.container.get("ports", [])}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
