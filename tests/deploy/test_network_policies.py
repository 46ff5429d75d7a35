"""Network policies: exactly the pairs of roles that talk, DNS, engines, Prometheus and clients; nothing else.

The policies are evaluated as a network plug-in does it: a connection needs a rule at both ends.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

import pytest
from support.chart import ROOT, Workload, merged, objects_of, rendering, scenario, workloads

pytestmark = pytest.mark.heavy

Object = dict[str, Any]
TALK = {
    # (from, to, port), of the roles themselves.
    ("gateway", "store", 8123), ("web", "store", 8123), ("worker", "store", 8123), ("backup", "store", 8123),
    ("load-worker", "load-master", 5557), ("load-worker", "gateway", 8080), ("load-master", "gateway", 8080),
}  # fmt: skip
ENGINES = {
    "gateway": {"queue", "points", "catalog", "blobs"},
    "web": {"queue", "points", "catalog", "blobs"},
    "worker": {"queue", "points", "catalog"},
    "backup": {"points", "catalog", "blobs"},
    "store": set(), "single": set(), "load-master": set(), "load-worker": set(),
}  # fmt: skip
ENGINE_PORTS = {"queue": 6379, "points": 8123, "catalog": 5432, "blobs": 443}


@dataclass(frozen=True)
class End:
    """A pod, by its labels and its namespace's, or None for an address outside."""

    labels: dict[str, str] | None
    namespace: dict[str, str]
    ports: dict[str, int]


def pod_of(workload: Workload) -> End:
    ports = {p["name"]: p["containerPort"] for p in workload.container.get("ports", [])}
    return End(workload.labels, {"kubernetes.io/metadata.name": "penstock"}, ports)


def stranger(namespace: str = "elsewhere", **labels: str) -> End:
    return End(labels, {"kubernetes.io/metadata.name": namespace}, {})


def selects(selector: Object, labels: dict[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def matches(peer: Object, end: End) -> bool:
    if "ipBlock" in peer:
        return end.labels is None
    if end.labels is None:
        return False
    if "namespaceSelector" in peer:
        in_namespace = selects(peer["namespaceSelector"], end.namespace)
    else:
        in_namespace = end.namespace["kubernetes.io/metadata.name"] == "penstock"
    return in_namespace and selects(peer.get("podSelector", {}), end.labels)


def permits(
    policies: list[Object], at: End, direction: str, other: End, port: int, named: dict[str, int]
) -> bool:
    """Whether the policies of the pod `at` let a connection with `other` pass. No policy: everything does."""
    if at.labels is None or at.namespace["kubernetes.io/metadata.name"] != "penstock":
        return True
    own = [
        p["spec"] for p in policies
        if selects(p["spec"]["podSelector"], at.labels) and direction.title() in p["spec"]["policyTypes"]
    ]  # fmt: skip
    rules = [rule for spec in own for rule in spec.get(direction) or []]
    peers = "from" if direction == "ingress" else "to"
    return not own or any(
        any(
            named.get(str(p["port"]), p["port"]) == port
            for p in rule.get("ports", [{"port": port}])
        )
        and (not rule.get(peers) or any(matches(peer, other) for peer in rule[peers]))
        for rule in rules
    )


def connects(policies: list[Object], source: End, target: End, port: int) -> bool:
    return permits(policies, source, "egress", target, port, target.ports) and permits(
        policies, target, "ingress", source, port, target.ports
    )


WITH_ALL = merged(
    scenario("cluster-store"), scenario("cluster-load"), scenario("cluster-backup"), scenario("cluster-closed"),
    {"engines": {"points": {"url": ""}}},
)  # fmt: skip


def everything() -> tuple[dict[str, End], list[Object]]:
    found = rendering().objects(WITH_ALL)
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    return {each.component: pod_of(each) for each in workloads(found)}, policies


PORTS = (8080, 9100, 8123, 5557, 22)


def test_roles_that_talk_are_connected_and_no_others() -> None:
    pods, policies = everything()
    assert set(pods) == ENGINES.keys() - {"single"}
    found = {
        (source, target, port)
        for source in pods
        for target in pods
        for port in PORTS
        if connects(policies, pods[source], pods[target], port)
    }
    assert found == TALK


def test_every_pod_is_denied_by_default() -> None:
    for values in ({}, WITH_ALL):
        found = rendering().objects(values)
        policies = [each for each in found if each["kind"] == "NetworkPolicy"]
        (deny,) = (p for p in policies if p["metadata"]["name"] == "penstock-deny-all")
        assert not deny["spec"].keys() & {"ingress", "egress"}
        for workload in workloads(found):
            assert selects(deny["spec"]["podSelector"], workload.labels)
            assert not connects(policies, stranger(), pod_of(workload), 22)
            assert not connects(policies, pod_of(workload), stranger(), 22)


def test_engines_are_reached_by_the_roles_that_use_them() -> None:
    """Which role uses which is read from the code: what it opens."""
    found = rendering().objects(merged(scenario("cluster-mirror"), {"backup": {"enabled": True}}))
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    for workload in workloads(found):
        reached = {
            engine for engine, port in ENGINE_PORTS.items()
            if connects(policies, pod_of(workload), stranger(), port)
        }  # fmt: skip
        assert reached == ENGINES[workload.component], workload.component


def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_the_table_of_engines_is_what_the_processes_open() -> None:
    opens = {
        "queue": "connect",
        "points": "open_points",
        "catalog": "open_catalog",
        "blobs": "open_blobs",
    }
    gateway, worker = (
        names_in("server/penstock_server/gateway.py"),
        names_in("workers/penstock_workers/main.py"),
    )
    assert (
        {engine for engine, name in opens.items() if name in gateway}
        == ENGINES["gateway"]
        == ENGINES["web"]
    )
    assert {engine for engine, name in opens.items() if name in worker} == ENGINES["worker"]
    stores = names_in("server/penstock_server/stores.py")
    assert {"open_points", "open_blobs"} <= stores
    assert "connect" not in stores


def test_names_are_resolved_where_engines_have_names() -> None:
    pods, policies = everything()
    dns = stranger("kube-system")
    for name, pod in pods.items():
        assert connects(policies, pod, dns, 53) is (name != "store"), name
        assert not connects(policies, pod, stranger(), 53), name
    found = rendering().objects({})
    (single,) = workloads(found)
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    assert not connects(policies, pod_of(single), dns, 53)


def test_clients_prometheus_and_nodes_reach_their_ports_only() -> None:
    pods, policies = everything()
    client = End({}, {"kubernetes.io/metadata.name": "training", "team": "a"}, {})
    prometheus = End({}, {"kubernetes.io/metadata.name": "monitoring", "team": "ops"}, {})
    node = End(None, {}, {})
    roles = {"gateway", "web", "worker", "store"}
    for name, pod in pods.items():
        reached = {
            who: {port for port in PORTS if connects(policies, end, pod, port)}
            for who, end in (
                ("client", client),
                ("prometheus", prometheus),
                ("stranger", stranger()),
                ("node", node),
            )
        }
        http = {8080} if name in ("gateway", "web") else set()
        metrics = {9100} if name in roles else set()
        assert reached == {
            "client": http, "prometheus": metrics, "stranger": set(), "node": http | metrics,
        }, name  # fmt: skip


def test_without_values_anyone_reaches_the_page_and_pods_the_metrics() -> None:
    found = rendering().objects({})
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    (single,) = (pod_of(each) for each in workloads(found))
    assert connects(policies, stranger(), single, 8080)
    assert connects(policies, End(None, {}, {}), single, 8080)
    assert connects(policies, stranger(), single, 9100)
    assert not connects(policies, End(None, {}, {}), single, 9100)


def test_named_ports_exist_in_the_pods_they_apply_to() -> None:
    """A name that no port has allows nothing, silently."""
    for name in ("default", "production", "single-load", "cluster-store", "cluster-together"):
        pods = [(each.component, pod_of(each)) for each in workloads(objects_of(name))]
        for policy in objects_of(name, "NetworkPolicy"):
            selected = [
                pod for _, pod in pods if selects(policy["spec"]["podSelector"], pod.labels or {})
            ]
            assert selected, policy["metadata"]["name"]
            for rule in policy["spec"].get("ingress") or []:
                for port in rule["ports"]:
                    for pod in selected:
                        assert port["port"] in pod.ports, (policy["metadata"]["name"], port)
            for rule in policy["spec"].get("egress") or []:
                assert all(isinstance(port["port"], int) for port in rule["ports"])


def test_the_examples_of_engines_admit_the_roles_that_use_them() -> None:
    """In production, policies of both sides agree."""
    pods = {each.component: pod_of(each) for each in workloads(objects_of("production"))}
    policies = objects_of("production", "NetworkPolicy")
    own = {"kubernetes.io/metadata.name": "penstock"}
    engines = {
        "queue": (End({"app.kubernetes.io/name": "valkey"}, own, {}), 6379),
        "points": (stranger("clickhouse"), 8123),
        "catalog": (End({"cnpg.io/cluster": "penstock-catalog"}, own, {}), 5432),
        "blobs": (stranger("seaweedfs"), 8333),
    }
    for component, pod in pods.items():
        reached = {
            e
            for e, (end, port) in engines.items()
            if permits(policies, pod, "egress", end, port, {})
        }
        assert reached == ENGINES[component], component
        assert not permits(policies, pod, "egress", stranger(), 5432, {})
