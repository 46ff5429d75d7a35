"""Policies for every pod that the chart makes, in every scenario; and that what it asks of the server exists."""

from __future__ import annotations

import argparse
import ast
import re
from dataclasses import fields
from functools import cache
from typing import Any

import pytest
from support.chart import ROOT, Workload, objects_of, scenario, scenarios, workloads

from penstock_common.process.settings import GatewaySettings, ServerSettings, WorkerSettings, load
from penstock_server.cli import add_commands

pytestmark = pytest.mark.heavy

USER_LIMIT = 10_000
NOT_SETTINGS = {
    "HOME", "XDG_CONFIG_HOME",
    "PENSTOCK_DATA",  # the default of `--data`
    "LOAD_SHAPE", "LOAD_SECONDS", "LOAD_SUFFIX", "LOAD_API_KEY",
}  # fmt: skip
SERVER_ROLES = {"single", "gateway", "web", "worker", "store"}
FOLDERS = {
    # What each role writes to, besides temporary files: from its arguments, settings and code.
    "single": {"/data"}, "gateway": set(), "web": set(), "worker": {"/run/penstock"},
    "store": {"/data"}, "backup": {"/backups"}, "load-master": set(), "load-worker": set(),
}  # fmt: skip


@cache
def everywhere() -> list[tuple[str, Workload]]:
    """Every workload of every scenario."""
    return [(name, each) for name in scenarios() for each in workloads(objects_of(name))]


def violations(check: Any) -> list[str]:
    """The pods for which a check fails, with what it says."""
    found = []
    for name, workload in everywhere():
        if said := check(name, workload):
            found.append(f"{name}: {workload.kind} {workload.name}: {said}")
    assert len(everywhere()) > 100
    return found


def test_containers_have_no_rights() -> None:
    def check(name: str, each: Workload) -> str:
        pod, own = each.pod["securityContext"], each.container["securityContext"]
        is_openshift = "openshift" in name or "together" in name
        wrong = {
            "root": not (pod["runAsNonRoot"] is own["runAsNonRoot"] is True),
            "writable root": own["readOnlyRootFilesystem"] is not True,
            "escalation": own["allowPrivilegeEscalation"] is not False or own["privileged"] is not False,
            "capabilities": own["capabilities"] != {"drop": ["ALL"]},
            "seccomp": pod["seccompProfile"] != {"type": "RuntimeDefault"},
            "ids": not is_openshift and not min(pod["runAsUser"], pod["runAsGroup"]) > USER_LIMIT,
            "fixed ids on OpenShift": is_openshift and bool(pod.keys() & {"runAsUser", "runAsGroup", "fsGroup"}),
            "token": each.pod["automountServiceAccountToken"] is not False,
            "host": bool(each.pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}),
            "service links": each.pod["enableServiceLinks"] is not False,
        }  # fmt: skip
        return ", ".join(what for what, is_so in wrong.items() if is_so)

    assert not violations(check)


def test_containers_have_requests_and_limits() -> None:
    def check(_: str, each: Workload) -> str:
        resources = each.container["resources"]
        missing = [
            f"{kind}.{what}"
            for kind, names in (
                ("requests", ("cpu", "memory", "ephemeral-storage")),
                ("limits", ("cpu", "memory")),
            )
            for what in names
            if what not in resources[kind]
        ]
        return ", ".join(missing)

    assert not violations(check)


def test_every_image_is_of_the_registry_and_has_a_version() -> None:
    def check(name: str, each: Workload) -> str:
        image = scenario(name).get("image", {})
        registry = image.get("registry", "")
        text = str(each.container["image"])
        secrets = [s["name"] for s in each.pod.get("imagePullSecrets", [])]
        if not text.startswith(f"{registry}/penstock/".lstrip("/")):
            return text
        if not re.search(r"(:\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})$", text):
            return text
        return "" if secrets == image.get("pullSecrets", []) else f"pull secrets {secrets}"

    assert not violations(check)


def test_every_path_that_is_written_is_a_volume() -> None:
    def check(name: str, each: Workload) -> str:
        mounts = {m["mountPath"]: m["name"] for m in each.container["volumeMounts"]}
        needed = FOLDERS[each.component] | {"/tmp"}
        if each.component == "backup" and scenario(name).get("mode") != "cluster":
            needed = needed | {"/data"}
        if mounts.keys() != needed:
            return f"{sorted(mounts)} instead of {sorted(needed)}"
        claims = {c["metadata"]["name"] for c in each.spec.get("volumeClaimTemplates", [])}
        volumes = {v["name"] for v in each.pod.get("volumes", [])} | claims
        if volumes != set(mounts.values()):
            return f"volumes {sorted(volumes)}"
        # Paths in arguments and variables lie on one of them.
        words = [*each.container["args"], *(e.get("value", "") for e in each.container["env"])]
        paths = {path for word in words for path in re.findall(r"(?:^|=)(/[\w/.-]+)$", word)}
        stray = [p for p in paths if not any(f"{p}/".startswith(f"{m}/") for m in mounts)]
        return f"{stray} on no volume" if stray else ""

    assert not violations(
        lambda name, each: check(name, each) if "rootPath" not in scenario(name) else ""
    )


def test_temporary_volumes_have_a_size() -> None:
    def check(_: str, each: Workload) -> str:
        return ", ".join(
            v["name"]
            for v in each.pod.get("volumes", [])
            if "emptyDir" in v and not v["emptyDir"].get("sizeLimit")
        )

    assert not violations(check)


def test_gateways_have_room_for_two_of_the_largest_uploads() -> None:
    for name in ("cluster-store", "cluster-settings"):
        (gateway,) = (w for w in workloads(objects_of(name)) if w.component == "gateway")
        (tmp,) = (v for v in gateway.pod["volumes"] if v["name"] == "tmp")
        (settings,) = objects_of(name, "ConfigMap")
        room = int(tmp["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
        assert room > 2 * int(settings["data"]["PENSTOCK_UPLOAD_BYTES"])


# -- probes


def routes_in(path: str) -> set[str]:
    """The paths of `routes.get("…")` in a module."""
    tree = ast.parse((ROOT / path).read_text())
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def test_probes_ask_what_the_server_answers() -> None:
    served = {
        "metrics": routes_in("common/penstock_common/http/exporter.py"),
        "http": routes_in("server/penstock_server/health.py"),
    }
    assert all({"/healthz", "/readyz", "/metrics"} <= found for found in served.values())

    def check(_: str, each: Workload) -> str:
        if each.component not in SERVER_ROLES:
            return ""
        wrong = []
        ports = {port["name"]: port["containerPort"] for port in each.container["ports"]}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = each.container[kind]["httpGet"]
            if asked["path"] not in served[asked["port"]] or asked["port"] not in ports:
                wrong.append(f"{kind} {asked}")
        if ports["metrics"] != 9100 or ports.get("http", 8080) != 8080:
            wrong.append(f"ports {ports}")
        # What restarts a process depends on no other one.
        for kind in ("startupProbe", "livenessProbe"):
            if each.container[kind]["httpGet"] != {"path": "/healthz", "port": "metrics"}:
                wrong.append(kind)
        readiness = each.container["readinessProbe"]["httpGet"]
        port = "metrics" if each.component in ("worker", "store") else "http"
        if readiness != {"path": "/readyz", "port": port}:
            wrong.append(f"readiness {readiness}")
        return ", ".join(wrong)

    assert not violations(check)


def test_ports_are_those_that_the_processes_listen_on() -> None:
    def check(name: str, each: Workload) -> str:
        if each.component not in SERVER_ROLES:
            return ""
        environ = environ_of(name, each)
        if environ["PENSTOCK_METRICS_LISTEN"] != "[::]:9100":
            return "metrics"
        arguments = " ".join(each.container["args"])
        ports = {p["containerPort"] for p in each.container["ports"]} - {9100}
        listens = {int(n) for n in re.findall(r"--port=(\d+)", arguments)}
        if "PENSTOCK_PORT" in environ:
            listens.add(int(environ["PENSTOCK_PORT"]))
        return "" if listens == ports else f"{listens} instead of {ports}"

    assert not violations(check)


LONGEST_S = {"gateway": 4.0, "web": 4.0, "worker": 10.0, "store": 6.0, "single": 20.0}
"""What a shutdown takes at most beside pre-stop and drain, as docs/lifecycle.md says; all of it, of the single pod."""


def test_the_grace_period_covers_the_shutdown() -> None:
    def check(name: str, each: Workload) -> str:
        if each.component not in SERVER_ROLES:
            return ""
        environ = environ_of(name, each)
        hook_s = float(each.container["lifecycle"]["preStop"]["sleep"]["seconds"])
        own_s = sum(float(environ.get(f"PENSTOCK_{what}_S", "0")) for what in ("PRE_STOP", "DRAIN"))
        needed_s = hook_s + own_s + LONGEST_S[each.component]
        grace_s = each.pod["terminationGracePeriodSeconds"]
        return "" if hook_s == 5 and needed_s <= grace_s - 5 else f"{needed_s} of {grace_s} s"

    assert not violations(check)
    assert all(
        each.pod["terminationGracePeriodSeconds"] == 45
        for each in workloads(objects_of("production"))
    )


# -- settings and commands


@cache
def settings_of(name: str) -> dict[str, dict[str, str]]:
    return {o["metadata"]["name"]: o["data"] for o in objects_of(name, "ConfigMap")}


def environ_of(name: str, each: Workload) -> dict[str, str]:
    """The environment that a pod's process gets, with a text for each secret."""
    maps = settings_of(name)
    found: dict[str, str] = {}
    for source in each.container.get("envFrom", []):
        if "configMapRef" in source:
            found |= maps[source["configMapRef"]["name"]]
    for variable in each.container["env"]:
        found[variable["name"]] = variable.get("value", "from elsewhere")
    return found


def setting_names() -> set[str]:
    return {
        f"PENSTOCK_{each.name.upper()}"
        for kind in (GatewaySettings, WorkerSettings)
        for each in fields(kind)
    }


def test_every_variable_is_a_setting() -> None:
    known = setting_names() | NOT_SETTINGS

    def check(name: str, each: Workload) -> str:
        extra = {e["name"] for e in scenario(name).get("extraEnv", [])}
        return ", ".join(sorted(environ_of(name, each).keys() - known - extra))

    assert not violations(check)


def test_the_settings_are_accepted() -> None:
    kinds: dict[str, type[ServerSettings]] = {
        "gateway": GatewaySettings, "web": GatewaySettings, "worker": WorkerSettings,
    }  # fmt: skip

    def check(name: str, each: Workload) -> str:
        kind: type[ServerSettings] = kinds.get(each.component, ServerSettings)
        loaded = load(kind, environ=environ_of(name, each))
        if isinstance(loaded, GatewaySettings):
            return "" if (loaded.host, loaded.port) == ("::", 8080) else "listens elsewhere"
        return ""

    assert not violations(check)


def test_roles_get_the_secrets_that_they_need_and_no_others() -> None:
    needed = {
        "gateway": {
            "PENSTOCK_SECRET",
            "PENSTOCK_STORE_TOKEN",
            "PENSTOCK_REDIS_URL",
            "PENSTOCK_CATALOG_URL",
        },
        "web": {
            "PENSTOCK_SECRET",
            "PENSTOCK_STORE_TOKEN",
            "PENSTOCK_REDIS_URL",
            "PENSTOCK_CATALOG_URL",
        },
        "worker": {"PENSTOCK_STORE_TOKEN", "PENSTOCK_REDIS_URL", "PENSTOCK_CATALOG_URL"},
        "backup": {"PENSTOCK_STORE_TOKEN", "PENSTOCK_CATALOG_URL"},
    }
    for each in workloads(objects_of("production")):
        from_secrets = {
            e["name"] for e in each.container["env"] if "secretKeyRef" in e.get("valueFrom", {})
        }
        assert from_secrets == needed[each.component], each.name
        blobs = [s["secretRef"]["name"] for s in each.container["envFrom"] if "secretRef" in s]
        assert blobs == ([] if each.component == "worker" else ["penstock-blobs"]), each.name


def test_no_secret_is_in_a_config_map_or_made_by_the_chart() -> None:
    for name in scenarios():
        assert not objects_of(name, "Secret")
        for each in objects_of(name, "ConfigMap"):
            assert not each["data"].keys() & {"PENSTOCK_SECRET", "PENSTOCK_STORE_TOKEN"}


def test_commands_exist() -> None:
    """The server's own parser takes them."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_commands(parser.add_subparsers(required=True))

    def check(_: str, each: Workload) -> str:
        if each.component.startswith("load-"):
            return ""
        try:
            parsed = parser.parse_args(each.container["args"])
        except (SystemExit, argparse.ArgumentError) as error:
            return str(error)
        return "" if callable(parsed.run) else "no command"

    assert not violations(check)
    with pytest.raises((SystemExit, argparse.ArgumentError)):
        parser.parse_args(["up", "--hosts=::"])


def test_workers_have_names_of_their_own_and_a_folder_for_their_records() -> None:
    (worker,) = (each for each in workloads(objects_of("production")) if each.component == "worker")
    (name,) = (e for e in worker.container["env"] if e["name"] == "PENSTOCK_WORKER_NAME")
    assert name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert environ_of("production", worker)["PENSTOCK_WORKER_FOLDER"] == "/run/penstock"


def test_nothing_names_an_ipv4_address() -> None:
    """An IPv6-only cluster has none."""
    ipv4 = re.compile(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b")
    for name in ("default", "production", "cluster-store", "single-backup", "cluster-load"):
        for each in objects_of(name):
            if each["metadata"]["name"].endswith("dashboard"):
                continue
            assert not ipv4.findall(str(each)), (name, each["metadata"]["name"])
        for service in objects_of(name, "Service"):
            assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"


def test_a_changed_setting_restarts_the_pods() -> None:
    """And a rotated Secret does, by `secrets.revision`: the chart can't see its content."""
    for base, changed in (
        ("cluster-store", "cluster-settings"),
        ("cluster-store", "cluster-revision"),
    ):
        before = {
            w.component: w.template["metadata"]["annotations"] for w in workloads(objects_of(base))
        }
        for each in workloads(objects_of(changed)):
            assert each.template["metadata"]["annotations"] != before[each.component]
