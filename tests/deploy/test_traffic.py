"""Ingress, HTTPRoute and Route lead every request to a role that serves it, with room for long uploads and live updates."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.chart import merged, objects_of, rendering, scenario

from penstock_common.http.openapi import operations_of
from penstock_compat.wandb.operations import OPERATIONS as WANDB
from penstock_ingest import operations as ingest
from penstock_sweeps import operations as sweeps
from penstock_web.openapi import OPERATIONS as READ

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]

PAGES = (
    "/",
    "/team/project",
    "/team/project/runs/abc",
    "/assets/index.js",
    "/readyz",
    "/settings/keys",
)
CONTROLLERS = ("nginx", "nginxinc", "haproxy", "haproxy-ingress", "traefik", "none")


def example(template: str) -> str:
    """A path of an operation."""
    return re.sub(r"\{\w+\}", "x1", template)


def only_gateways() -> set[str]:
    """Requests, as `METHOD /path`, that a process with PENSTOCK_SERVES=read does not answer."""
    write = [*operations_of(ingest), *WANDB]
    return {f"{each.method} {example(each.path)}" for each in write}


def only_web() -> set[str]:
    return {f"{each.method} {example(each.path)}" for each in READ} | {
        f"GET {path}" for path in PAGES
    }


def both() -> set[str]:
    return {f"{each.method} {example(each.path)}" for each in operations_of(sweeps)}


def by_prefix(path: str, prefix: str) -> bool:
    return prefix == "/" or path == prefix or path.startswith(f"{prefix.rstrip('/')}/")


def ingress_target(ingress: dict[str, Any], path: str) -> str:
    """The Service that gets a path: an exact match first, then the longest prefix."""
    (rule,) = ingress["spec"]["rules"]
    fitting = [
        (each["pathType"] == "Exact", len(each["path"]), each["backend"]["service"]["name"])
        for each in rule["http"]["paths"]
        if (each["path"] == path if each["pathType"] == "Exact" else by_prefix(path, each["path"]))
    ]
    return str(max(fitting)[2]) if fitting else ""


def route_target(route: dict[str, Any], path: str) -> str:
    fitting = [
        (match["path"]["type"] == "Exact", len(match["path"]["value"]), rule["backendRefs"][0]["name"])
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
        if (match["path"]["value"] == path if match["path"]["type"] == "Exact" else by_prefix(path, match["path"]["value"]))
    ]  # fmt: skip
    return str(max(fitting)[2]) if fitting else ""


def openshift_target(routes: list[dict[str, Any]], path: str) -> str:
    """OpenShift compares path prefixes."""
    fitting = [
        (len(each["spec"]["path"]), each["spec"]["to"]["name"])
        for each in routes
        if by_prefix(path, each["spec"]["path"])
    ]
    return str(max(fitting)[1]) if fitting else ""


def targets(name: str, path: str) -> dict[str, str]:
    """The Service that gets a path, by kind of object."""
    found = {}
    for ingress in objects_of(name, "Ingress"):
        found["Ingress"] = ingress_target(ingress, path)
    for route in objects_of(name, "HTTPRoute"):
        found["HTTPRoute"] = route_target(route, path)
    if routes := objects_of(name, "Route"):
        found["Route"] = openshift_target(routes, path)
    return found


@pytest.mark.parametrize(
    "name", ["production", "cluster-ingress-nginx", "cluster-route", "cluster-openshift"]
)
def test_every_request_reaches_a_role_that_serves_it(name: str) -> None:
    requests = only_gateways() | only_web() | both()
    assert len(requests) > 60
    for request in sorted(requests):
        path = request.partition(" ")[2]
        for kind, service in targets(name, path).items():
            # Gateways serve everything, web only reads.
            allowed = (
                {"penstock"}
                if request in only_gateways() - only_web()
                else {"penstock", "penstock-web"}
            )
            assert service in allowed, (kind, request, service)
    # Reading does not take gateways' time. OpenShift can't tell /v1/runs from what lies below.
    for request in only_web() - only_gateways():
        path = request.partition(" ")[2]
        kinds = {kind for kind, service in targets(name, path).items() if service == "penstock"}
        assert kinds <= ({"Route"} if path.startswith("/v1/runs/") else set()), request


def test_paths_for_gateways_are_all_needed() -> None:
    (ingress,) = objects_of("production", "Ingress")
    (rule,) = ingress["spec"]["rules"]
    requests = [request.partition(" ")[2] for request in only_gateways()]
    for each in rule["http"]["paths"][:-1]:
        assert any(
            path == each["path"] if each["pathType"] == "Exact" else by_prefix(path, each["path"])
            for path in requests
        ), each["path"]


def test_a_path_prefix_is_before_every_path() -> None:
    name = "cluster-ingress-plain"
    (ingress,) = objects_of(name, "Ingress")
    assert all(
        p["path"].startswith("/penstock") for p in ingress["spec"]["rules"][0]["http"]["paths"]
    )
    assert targets(name, "/penstock/v1/batches") == {"Ingress": "penstock"}
    assert targets(name, "/penstock/team/project") == {"Ingress": "penstock-web"}
    assert targets(name, "/other") == {"Ingress": ""}


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_controllers_are_told_of_uploads_and_live_updates(controller: str) -> None:
    (ingress,) = objects_of(f"cluster-ingress-{controller}", "Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert annotations.pop("own/annotation") == "yes"
    expected = {
        "nginx": {
            "nginx.ingress.kubernetes.io/proxy-body-size": "0",
            "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
            "nginx.ingress.kubernetes.io/proxy-buffering": "off",
            "nginx.ingress.kubernetes.io/proxy-http-version": "1.1",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
            "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
        },
        "nginxinc": {
            "nginx.org/client-max-body-size": "0", "nginx.org/proxy-buffering": "False",
            "nginx.org/proxy-read-timeout": "3600s", "nginx.org/proxy-send-timeout": "3600s",
        },
        "haproxy": {"haproxy.org/timeout-server": "1h"},
        "haproxy-ingress": {
            "haproxy-ingress.github.io/timeout-client": "1h", "haproxy-ingress.github.io/timeout-server": "1h",
            "haproxy-ingress.github.io/proxy-body-size": "unlimited",
        },
        "traefik": {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"},
        "none": {},
    }[controller]  # fmt: skip
    assert annotations == expected


def test_own_annotations_take_precedence() -> None:
    changed = {"ingress": {"annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "1g"}}}
    found = rendering().objects(merged(scenario("single-ingress-nginx"), changed))
    (ingress,) = (each for each in found if each["kind"] == "Ingress")
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "1g"


def test_routes_have_no_time_limit() -> None:
    (route,) = objects_of("cluster-route", "HTTPRoute")
    # What the first versions of the Gateway API allow.
    assert len(route["spec"]["rules"]) <= 16
    assert all(len(rule["matches"]) <= 8 for rule in route["spec"]["rules"])
    for rule in route["spec"]["rules"]:
        assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    for each in objects_of("cluster-openshift", "Route"):
        assert each["metadata"]["annotations"]["haproxy.router.openshift.io/timeout"] == "1h"


def test_routes_have_names_that_kubernetes_accepts() -> None:
    for name in ("cluster-openshift", "cluster-together", "single-openshift"):
        for each in objects_of(name, "Route"):
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", each["metadata"]["name"])
            assert len(each["metadata"]["name"]) <= 63
    hosts = {each["spec"]["host"] for each in objects_of("cluster-openshift", "Route")}
    assert hosts == {"penstock.apps"}


def test_backends_are_services_that_exist() -> None:
    for name in (
        "production",
        "cluster-together",
        "single-together",
        "cluster-openshift",
        "single-route",
    ):
        services = {
            each["metadata"]["name"]: each["spec"]["ports"][0]["port"]
            for each in objects_of(name, "Service")
        }
        for path in ("/v1/batches", "/team/project"):
            prefix = scenario(name).get("rootPath", "")
            assert set(targets(name, f"{prefix}{path}").values()) <= services.keys()
        for route in objects_of(name, "HTTPRoute"):
            for rule in route["spec"]["rules"]:
                for backend in rule["backendRefs"]:
                    assert services[backend["name"]] == backend["port"]
