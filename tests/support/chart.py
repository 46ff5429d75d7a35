"""The Helm chart as it is rendered: for no values, for production, and for every option."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = [
    "CHART", "DEPLOY", "OPTIONS", "ROOT", "Workload", "base_values", "merged", "objects_of",
    "rendering", "scenario", "scenarios", "workloads",
]  # fmt: skip

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "penstock"
Object = dict[str, Any]
Values = Mapping[str, Any]

_STORE_SECRET = {"name": "points", "key": "password"}
_EVERY_ENGINE = {
    "queue": {"url": "redis://valkey:6379/0"},
    "points": {"url": "http://clickhouse:8123", "passwordFrom": _STORE_SECRET},
    "catalog": {"url": "postgresql://penstock@postgres:5432/penstock"},
    "blobs": {"url": "s3://penstock", "credentialsFrom": {"name": "blobs"}},
}
CLUSTER: Values = {
    "mode": "cluster",
    "secrets": {"hashingKey": {"name": "penstock-secret"}},
    "engines": _EVERY_ENGINE,
}
"""The least that a cluster needs."""

OPTIONS: dict[str, Values] = {
    "names": {"fullnameOverride": "tracker", "nameOverride": "tracking"},
    "mirror": {"image": {"registry": "mirror.example.com/cache", "pullSecrets": ["mirror", "second"]}},
    "digest": {"image": {"digest": f"sha256:{'0' * 64}"}},
    "settings": {
        "settings": {"PENSTOCK_LOG_LEVEL": "DEBUG"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "rootPath": "/penstock", "trustedProxies": "10.0.0.0/8", "maxUploadGiB": 64,
    },
    "revision": {"secrets": {"revision": "2026-11-30"}},
    "openshift": {"openshift": {"enabled": True, "route": {"enabled": True, "host": "penstock.apps"}}},
    "hard": {"scheduling": {"antiAffinity": "hard", "spreadZones": False, "priorityClassName": "high"}},
    "unscheduled": {"scheduling": {"antiAffinity": "none", "createPriorityClasses": True}},
    "service": {"service": {"type": "LoadBalancer", "annotations": {"a/b": "c"}, "ipFamilyPolicy": "SingleStack"}},
    "account": {"serviceAccount": {"name": "own", "annotations": {"cloud/role": "penstock"}}},
    "no-account": {"serviceAccount": {"create": False}},
    "open": {"networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}},
    "closed": {
        "networkPolicy": {
            "clients": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}],
            "prometheus": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}],
            "nodes": [{"cidr": "10.0.0.0/16"}, {"cidr": "fd00::/64"}],
            "dns": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        }
    },
    "placed": {
        role: {
            "podAnnotations": {"note": "here"}, "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        }
        for role in ("single", "gateway", "web", "worker", "store")
    },
    **{
        f"ingress-{controller}": {
            "ingress": {
                "enabled": True, "controller": controller, "className": controller, "tlsSecret": "tls",
                "annotations": {"own/annotation": "yes"},
            }
        }
        for controller in ("none", "nginx", "nginxinc", "haproxy", "haproxy-ingress", "traefik")
    },
    "ingress-plain": {"ingress": {"enabled": True, "controller": "traefik"}, "rootPath": "/penstock"},
    "route": {
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "edge", "namespace": "gateways"}],
                      "hostnames": ["penstock.example.com"]}
    },
    "monitoring": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": True},
        }
    },
    "backup": {"backup": {"enabled": True}},
    "backup-claim": {"backup": {"enabled": True, "persistence": {"existingClaim": "nfs"}}},
    "classes": {
        "single": {"persistence": {"storageClass": "fast", "size": "1Ti"}},
        "backup": {"enabled": True, "persistence": {"storageClass": "slow"}},
    },
    "load": {"loadTest": {"enabled": True, "apiKeyFrom": {"name": "load-key"}}},
}  # fmt: skip
"""Options that work in both modes, by a name for the test."""

CLUSTER_OPTIONS: dict[str, Values] = {
    "store": {"store": {"enabled": True}, "engines": {"points": {"url": ""}}},
    "secret-urls": {
        "engines": {
            "queue": {"url": "", "urlFrom": {"name": "queue"}},
            "catalog": {"url": "", "urlFrom": {"name": "catalog-app"}},
            "blobs": {"credentialsFrom": {"name": ""}},
        }
    },
    "autoscaled": {
        "gateway": {"autoscaling": {"enabled": True, "bodyBytesInFlight": 33554432}},
        "web": {"autoscaling": {"enabled": True}},
        "worker": {"autoscaling": {"enabled": True, "authentication": "prometheus"}},
    },
}


def _load_rendering() -> Any:
    """deploy/render.py, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("deploy_render", DEPLOY / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def rendering() -> Any:
    """The module deploy/render.py."""
    return _load_rendering()


def merged(*layers: Values) -> dict[str, Any]:
    """Values as Helm merges them: later ones win, maps are merged."""
    found: dict[str, Any] = {}
    for layer in layers:
        for name, value in deepcopy(dict(layer)).items():
            old = found.get(name)
            both = isinstance(value, Mapping) and isinstance(old, Mapping)
            found[name] = merged(old, value) if both else value  # type: ignore[arg-type]
    return found


def base_values(mode: str) -> dict[str, Any]:
    """The least values of a mode."""
    return dict(CLUSTER) if mode == "cluster" else {}


@cache
def scenarios() -> dict[str, dict[str, Any]]:
    """Values by the scenario's name: no values, production, each option in both modes, all at once."""
    found: dict[str, dict[str, Any]] = {
        "default": {},
        "production": rendering().values_of("production"),
    }
    for mode, options in (("single", OPTIONS), ("cluster", {**OPTIONS, **CLUSTER_OPTIONS})):
        base = base_values(mode)
        found |= {f"{mode}-{name}": merged(base, values) for name, values in options.items()}
        together = [
            v for name, v in options.items() if name not in ("open", "no-account", "digest")
        ]
        found[f"{mode}-together"] = merged(base, *together)
    return found


def scenario(name: str) -> dict[str, Any]:
    """The values of one scenario."""
    return deepcopy(scenarios()[name])


@cache
def _rendered(name: str) -> list[Object]:
    found: list[Object] = rendering().objects(scenario(name))
    return found


def objects_of(name: str, *kinds: str) -> list[Object]:
    """The objects of a scenario, of these kinds or all."""
    return [deepcopy(each) for each in _rendered(name) if not kinds or each["kind"] in kinds]


@dataclass(frozen=True)
class Workload:
    """What makes pods: a Deployment, StatefulSet, Job or CronJob."""

    kind: str
    name: str
    component: str
    template: Object
    spec: Object

    @property
    def pod(self) -> Object:
        """The pods' spec."""
        found: Object = self.template["spec"]
        return found

    @property
    def container(self) -> Object:
        """The only container."""
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def labels(self) -> dict[str, str]:
        """The pods' labels."""
        return dict(self.template["metadata"]["labels"])


def workloads(found: list[Object]) -> Iterator[Workload]:
    """Everything among these objects that makes pods."""
    for each in found:
        spec = each.get("spec", {})
        if each["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if each["kind"] in ("Deployment", "StatefulSet", "Job", "CronJob"):
            template = spec["template"]
            component = template["metadata"]["labels"]["app.kubernetes.io/component"]
            yield Workload(each["kind"], each["metadata"]["name"], component, template, spec)
