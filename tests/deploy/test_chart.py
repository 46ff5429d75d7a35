"""The chart: linted, rendered for every option, valid for every Kubernetes that it allows; its values are
documented, used and checked; what is rendered from it is committed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from helm_python import HelmRenderError, HelmValuesError
from helm_python.chart import lint
from packaging.version import Version
from support.chart import (
    CHART,
    CLUSTER,
    ROOT,
    base_values,
    merged,
    objects_of,
    rendering,
    scenario,
    scenarios,
)

import penstock

pytestmark = pytest.mark.heavy

VALUES = CHART / "values.yaml"
OLDEST = "1.30"
OTHERS = {"ScaledObject", "HTTPRoute", "Route", "ServiceMonitor", "PrometheusRule"}
"""Kinds of others' definitions, which Kubernetes itself does not validate."""


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["default", "production", "cluster-together", "single-together"])
def test_lint_finds_nothing(name: str) -> None:
    report = lint(CHART, scenario(name), strict=True, namespace="penstock")
    worse = [each for each in report["messages"] if each["severity"] > 1]
    assert not worse
    assert not report["errors"]


@pytest.mark.smoke
def test_versions_are_those_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == penstock.__version__
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"


def supported() -> list[str]:
    versions = [v.removesuffix("-local-strict") for v in kubernetes_validate.utils.all_versions()]
    numbers = {kubernetes_validate.utils.major_minor(v) for v in versions}
    return sorted((v for v in numbers if Version(v) >= Version(OLDEST)), key=Version)


def invalid(found: list[dict[str, Any]], version: str) -> list[str]:
    """What Kubernetes of this version would refuse, strictly: unknown fields too."""
    return [
        wrong for each in found if (wrong := refusal(json.dumps(each, sort_keys=True), version))
    ]


@cache
def refusal(text: str, version: str) -> str:
    """Why this object, as JSON, is refused; empty if it is not. Scenarios share most objects."""
    content = json.loads(text)
    try:
        kubernetes_validate.validate(content, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{content['kind']}: {list(error.path)}: {error.message[:200]}"
    except kubernetes_validate.SchemaNotFoundError:
        assert content["kind"] in OTHERS, content["kind"]
    return ""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", supported())
def test_objects_are_valid(version: str) -> None:
    """Every scenario for the newest version; for older ones, the scenarios that have everything."""
    whole = ("default", "production", "cluster-together", "single-together", "cluster-store")
    names = scenarios() if version == supported()[-1] else whole
    assert not {name: wrong for name in names if (wrong := invalid(objects_of(name), version))}


@pytest.mark.smoke
def test_validation_is_strict() -> None:
    (stateful,) = objects_of("default", "StatefulSet")
    newest = supported()[-1]
    assert not invalid([stateful], newest)
    stateful["spec"]["template"]["spec"]["containers"][0]["resource"] = {}
    assert invalid([stateful], newest)


def test_others_objects_are_off_by_default() -> None:
    for mode in ("single", "cluster"):
        kinds = {each["kind"] for each in rendering().objects(base_values(mode))}
        assert not kinds & OTHERS


@pytest.mark.smoke
def test_no_values_are_one_stateful_set_with_a_volume() -> None:
    kinds = [each["kind"] for each in objects_of("default")]
    assert kinds.count("StatefulSet") == 1
    assert not {"Deployment", "Job", "CronJob", "Secret"} & set(kinds)
    (stateful,) = objects_of("default", "StatefulSet")
    assert stateful["spec"]["replicas"] == 1
    assert stateful["spec"]["volumeClaimTemplates"]


@pytest.mark.parametrize("name", ["default", "production", "single-together", "cluster-together"])
def test_rendering_twice_gives_the_same_bytes(name: str) -> None:
    values = scenario(name)
    first, second = (
        rendering().documents(
            values, revision=revision, is_upgrade=revision > 1, is_install=revision == 1
        )
        for revision in (1, 7)
    )
    assert first == second


def test_templates_use_nothing_random_and_nothing_of_the_cluster() -> None:
    banned = re.compile(r"\b(rand\w+|lookup|uuidv4|now|gen(?:CA|Signed\w+|SelfSigned\w+|PrivateKey)|"
                        r"derivePassword|htpasswd|bcrypt|encryptAES|helm\.sh/hook)\b")  # fmt: skip
    templates = [*(CHART / "templates").iterdir()]
    assert len(templates) > 15
    texts = {
        path.name: re.sub(r"\{\{- /\*.*?\*/ -?\}\}", "", path.read_text(), flags=re.S)
        for path in templates
    }
    assert not {name: found for name, text in texts.items() if (found := banned.findall(text))}


@pytest.mark.smoke
def test_what_is_rendered_is_committed() -> None:
    """`make manifests` changes nothing."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "render.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"run `make manifests`:\n{done.stdout}{done.stderr}"


# -- values


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no map with declared names, with its path."""
    if isinstance(values, dict) and values and not is_one(path):
        for name, value in values.items():
            yield from leaves(value, (*path, name))
    else:
        yield path, values


def is_one(path: tuple[str, ...]) -> bool:
    """Whether this map is a value as a whole."""
    return path[-1:] in (("requests",), ("limits",), ("labels",))


def defaults() -> dict[str, Any]:
    return dict(yaml.safe_load(VALUES.read_text()))


@pytest.mark.smoke
def test_every_value_is_documented() -> None:
    """A comment stands above each, at its own indentation."""
    lines = VALUES.read_text().splitlines()
    undocumented, count = [], 0
    for number, line in enumerate(lines):
        if not (match := re.match(r"( *)(\w+):(.*)$", line)):
            continue
        indent, name, rest = match.groups()
        if name in ("requests", "limits") or not rest.strip():  # a map: its values are documented
            continue
        count += 1
        if not re.match(rf"{indent}# \w", lines[number - 1]):
            undocumented.append(f"{number + 1}: {name}")
    assert count > 100
    assert not undocumented


def declared(schema: dict[str, Any], path: tuple[str, ...]) -> bool:
    for name in path:
        if "$ref" in schema:
            reference = str(schema["$ref"]).removeprefix("#/definitions/")
            schema = SCHEMA["definitions"][reference]
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def paths_of(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if "$ref" in schema:
        schema = SCHEMA["definitions"][str(schema["$ref"]).removeprefix("#/definitions/")]
    names = schema.get("properties", {})
    if not names or is_one(path):
        yield path
    for name, each in names.items() if not is_one(path) else ():
        yield from paths_of(each, (*path, name))


def test_schema_and_values_declare_the_same() -> None:
    assert {path for path, _ in leaves(defaults())} == set(paths_of(SCHEMA))


@pytest.mark.smoke
def test_templates_use_only_declared_values() -> None:
    known = defaults()
    used: set[str] = set()
    for path in (CHART / "templates").iterdir():
        used |= set(re.findall(r"\.Values\.([\w.]+)", path.read_text()))
    assert len(used) > 40
    for text in used:
        value: Any = known
        for name in text.split("."):
            assert isinstance(value, dict), text
            assert name in value, text
            value = value[name]


OTHER: dict[str, Any] = {
    "mode": "cluster",
    "secrets.hashingKey.name": "other", "image.digest": f"sha256:{'1' * 64}", "image.tag": "9.9.9",
    "image.pullPolicy": "Always", "rootPath": "/other", "serviceAccount.create": False,
    "engines.queue.url": "redis://other:6379/0", "engines.points.url": "http://other:8123",
    "engines.catalog.url": "postgresql://other/penstock", "engines.blobs.url": "s3://other",
    "engines.catalog.urlFrom.name": "other", "engines.queue.urlFrom.name": "other",
    "engines.blobs.credentialsFrom.name": "other", "engines.points.passwordFrom.name": "other",
    "settings": {"PENSTOCK_LOG_LEVEL": "DEBUG"}, "extraEnv": [{"name": "OTHER", "value": "1"}],
    "image.pullSecrets": ["other"], "networkPolicy.nodes": [{"cidr": "10.0.0.0/8"}],
    "service.type": "NodePort", "service.ipFamilyPolicy": "SingleStack", "ingress.controller": "nginx",
    "scheduling.antiAffinity": "hard",
    "backup.schedule": "@daily", "loadTest.shape": "burst", "httpRoute.hostnames": ["other.example.com"],
    "monitoring.serviceMonitor.interval": "30s", "worker.autoscaling.serverAddress": "http://other:9090",
    "ingress.host": "other.example.com", "loadTest.suffix": "-other", "backup.timeZone": "Europe/Berlin",
}  # fmt: skip
"""Another allowed value where one can't be derived."""


def another(path: str, value: Any) -> Any:
    if path in OTHER:
        return OTHER[path]
    name = path.rsplit(".", 1)[-1]
    if name == "accessMode":
        return "ReadWriteMany"
    if name in ("size",):
        return "7Gi"
    if name in ("requests", "limits"):
        return {**value, "memory": "7Gi"}
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value - 1 if name == "maxReplicas" else value + 1
    if isinstance(value, list):
        return [7777] if name == "ports" else [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]
    if isinstance(value, dict):
        return {"other": "other"}
    return "other"


@pytest.mark.timeout(300)
def test_every_value_has_an_effect() -> None:
    """Changing it, alone, changes what is rendered in some scenario. `store.enabled` can't be changed alone."""
    autoscaled = {"gateway": {"autoscaling": {"enabled": True}}, "web": {"autoscaling": {"enabled": True}},
                  "worker": {"autoscaling": {"enabled": True}}}  # fmt: skip
    secret_urls = scenario("cluster-secret-urls")
    bases = [
        {}, base_values("cluster"), secret_urls, scenario("single-monitoring"), scenario("single-load"),
        merged(base_values("cluster"), autoscaled), scenario("cluster-store"), scenario("single-route"),
        scenario("single-ingress-nginx"), scenario("single-backup"),
        scenario("single-together"), scenario("cluster-together"),
    ]  # fmt: skip
    render, before = rendering().documents, [rendering().documents(each) for each in bases]
    idle = []
    for path, value in leaves(defaults()):
        name = ".".join(path)
        for base, then in zip(bases, before, strict=True):
            changed = merged(base, nested(path, another(name, value)))
            if changed == base:
                changed = merged(base, nested(path, value))
            try:
                if render(changed) != then:
                    break
            except HelmRenderError:  # it does not fit this scenario
                continue
        else:
            idle.append(name)
    assert idle == ["store.enabled"]
    assert len(objects_of("cluster-store", "StatefulSet")) == 1


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return dict(value)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gatway": {}}, "additional properties 'gatway' not allowed"),
        ({"gateway": {"replica": 3}}, "'/gateway': additional properties 'replica' not allowed"),
        ({"gateway": {"replicas": "three"}}, "'/gateway/replicas': got string, want integer"),
        ({"worker": {"replicas": 17}}, "'/worker/replicas': maximum: got 17, want 16"),
        ({"worker": {"autoscaling": {"minReplicas": 0}}}, "minReplicas': minimum: got 0, want 1"),
        ({"mode": "ha"}, "'/mode': value must be one of 'single', 'cluster'"),
        ({"settings": {"PENSTOCK_LOGLEVEL": "DEBUG"}}, "propertyName 'PENSTOCK_LOGLEVEL'"),
        ({"settings": {"PENSTOCK_PATIENCE_S": 5}}, "PENSTOCK_PATIENCE_S': got number, want string"),
        ({"settings": {"PENSTOCK_SECRET": "x"}}, "propertyName 'PENSTOCK_SECRET'"),
        ({"engines": {"queue": {"url": "redis://:pw@x"}}}, "'/engines/queue/url'"),
        ({"engines": {"catalog": {"url": "postgresql://u:pw@x/db"}}}, "'/engines/catalog/url'"),
        ({"engines": {"points": {"url": "https://u:pw@x"}}}, "'/engines/points/url'"),
        ({"scheduling": {"terminationGracePeriodSeconds": 30}}, "minimum: got 30, want 45"),
        ({"single": {"resources": {"limits": {"cpu": "1"}}}, "x": 1}, "additional properties 'x'"),
        ({"image": {"digest": "sha256:abc"}}, "'/image/digest'"),
        ({"security": {"runAsUser": 0}}, "'/security/runAsUser': minimum: got 0, want 1"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_place(values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmValuesError) as caught:
        rendering().documents(values)
    assert said in str(caught.value)


def without(path: str) -> dict[str, Any]:
    return merged(CLUSTER, nested(tuple(path.split(".")), ""))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (without("secrets.hashingKey.name"), "secrets.hashingKey.name"),
        (without("engines.queue.url"), "engines.queue.url"),
        (without("engines.points.url"), "engines.points.url"),
        (without("engines.catalog.url"), "engines.catalog.url"),
        (without("engines.blobs.url"), "engines.blobs.url"),
        (merged(CLUSTER, {"store": {"enabled": True}}), "exclude each other"),
        ({"store": {"enabled": True}}, "store.enabled is for mode: cluster"),
        ({"image": {"tag": "latest"}}, "image.tag can't be latest"),
        ({"extraEnv": [{"name": "PENSTOCK_PORT", "value": "1"}]}, "set it in settings"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
        (merged(CLUSTER, {"openshift": {"route": {"enabled": True}}}), "openshift.route.host"),
        ({"loadTest": {"enabled": True}}, "loadTest.apiKeyFrom.name"),
        (
            {
                "backup": {"enabled": True},
                "single": {"persistence": {"accessMode": "ReadWriteOncePod"}},
            },
            "can't be ReadWriteOncePod",
        ),
        (
            merged(CLUSTER, {"gateway": {"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}}),
            "gateway.autoscaling.minReplicas is more than maxReplicas",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmRenderError) as caught:
        rendering().documents(values)
    assert said in str(caught.value)


# -- Kustomize


def kustomized(folder: str) -> list[dict[str, Any]]:
    path = ROOT / "deploy" / "kubernetes" / folder
    done = subprocess.run(["kubectl", "kustomize", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each]


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["small", "production"])
def test_overlays_patch_what_is_rendered(name: str) -> None:
    found = kustomized(f"overlays/{name}")
    assert not invalid(found, supported()[-1])
    rendered = objects_of({"small": "default"}.get(name, name))
    names = {(each["kind"], each["metadata"]["name"]) for each in found}
    assert names == {(o["kind"], o["metadata"]["name"]) for o in rendered} | {
        ("Namespace", "penstock")
    }
    assert {e["metadata"].get("namespace") for e in found} <= {"penstock", None}
    if name == "small":
        (stateful,) = (each for each in found if each["kind"] == "StatefulSet")
        (claim,) = stateful["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    else:
        scaled = {
            e["metadata"]["name"]: e["spec"]["maxReplicas"]
            for e in found
            if "maxReplicas" in e.get("spec", {})
        }
        assert scaled["penstock-gateway"] == 20


def test_the_engines_examples_are_valid_and_fit_the_production_values() -> None:
    found = kustomized("engines")
    own = [each for each in found if each["apiVersion"].partition("/")[0].count(".") < 2]
    assert not invalid([e for e in own if e["kind"] not in ("Cluster",)], supported()[-1])
    values = rendering().values_of("production")
    by_kind = {each["kind"]: each for each in found}
    clickhouse = by_kind["ClickHouseInstallation"]["metadata"]
    url = values["engines"]["points"]["url"]
    assert f"//penstock@clickhouse-{clickhouse['name']}.{clickhouse['namespace']}.svc:8123" in url
    assert (
        by_kind["Cluster"]["metadata"]["name"] + "-app"
        == values["engines"]["catalog"]["urlFrom"]["name"]
    )
    (service,) = (
        e for e in found if e["kind"] == "Service" and e["metadata"]["name"] == "seaweedfs-s3"
    )
    endpoint = next(e["value"] for e in values["extraEnv"] if e["name"] == "AWS_ENDPOINT_URL")
    assert (
        endpoint
        == f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:8333"
    )
    config = next(e["data"]["valkey.conf"] for e in found if e["kind"] == "ConfigMap")
    assert {"appendonly yes", "maxmemory-policy noeviction", "maxmemory 6gb"} <= set(
        config.splitlines()
    )


def test_each_rendered_file_says_where_it_comes_from() -> None:
    for name in ("small", "production"):
        files = sorted(Path(rendering().KUBERNETES / name).glob("*.yaml"))
        assert files
        assert all("do not edit" in each.read_text().splitlines()[0] for each in files)
