"""Policies for the compose files: what `docker compose` itself does not check."""

from __future__ import annotations

import ipaddress
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from benchmarks.compose.model import Service, load_model
from support.compose_files import DEPLOY, FILES, make_env, model_of, services_of, written
from support.marks import SMOKE

import penstock
from penstock_common.process.settings import GatewaySettings, ServerSettings, WorkerSettings, load

pytestmark = [
    *SMOKE,
    pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is missing"),
]

SETTINGS: dict[str, type[ServerSettings]] = {
    "gateway": GatewaySettings,
    "web": GatewaySettings,
    "worker": WorkerSettings,
    "store": ServerSettings,
    "up": ServerSettings,
}
OTHERS = re.compile(r"AWS_(ENDPOINT|REGION|ALLOW_HTTP|ACCESS_KEY_ID|SECRET_ACCESS_KEY)|TMPDIR")
SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|_KEY$")
WRITABLE_ROOT = {"clickhouse", "keeper"}
"""Services whose images write to their root when they start."""
ALL = pytest.mark.parametrize("name", FILES)


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compose") / "env"
    make_env(path)
    return path


def given(name: str, env_file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from model_of(name, env_file)["services"].items()


def roles(name: str, env_file: Path) -> Iterator[tuple[str, str, Service]]:
    """(role, name, service) of what runs Penstock."""
    for each in services_of(name, env_file).values():
        if each.software == "penstock":
            yield each.command[0], each.name, each


@ALL
def test_docker_compose_accepts_it_and_would_refuse_a_mistake(
    name: str, env_file: Path, tmp_path: Path
) -> None:
    assert model_of(name, env_file)["services"]
    wrong = tmp_path / "wrong.yaml"
    first = next(iter(model_of(name, env_file)["services"]))
    wrong.write_text(f"services: {{{first}: {{memory: 1G}}}}")
    with pytest.raises(ValueError, match="memory"):
        load_model([*FILES[name], wrong], env_file)


def test_without_secrets_it_says_where_they_come_from() -> None:
    with pytest.raises(ValueError, match="run deploy/compose/make-env first"):
        load_model(FILES["full"], None)


def test_secrets_are_random_private_and_made_once(env_file: Path, tmp_path: Path) -> None:
    lines = [line for line in env_file.read_text().splitlines() if not line.startswith("#")]
    secrets = [line.partition("=")[2] for line in lines]
    assert len(set(secrets)) == len(secrets) == 6
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in secrets)
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    before = env_file.read_text()
    make_env(env_file)
    assert env_file.read_text() == before
    make_env(tmp_path / "other")
    assert (tmp_path / "other").read_text() != before


@pytest.mark.parametrize("path", sorted({path for files in FILES.values() for path in files}))
def test_no_secret_is_in_the_file(path: Path) -> None:
    for service, content in written(path)["services"].items():
        for key, value in (content.get("environment") or {}).items():
            if SECRET.search(key) and key != "AWS_ACCESS_KEY_ID":
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", str(value)), (service, key)
            if "@" in str(value):  # a URL: its password is a variable
                password = re.search(r":(\$\{[^}]*\}|[^:/@]*)@", str(value))
                assert password is None or password[1].startswith("${"), (service, key)


@ALL
def test_no_secret_is_among_the_arguments(name: str, env_file: Path) -> None:
    secrets = [line.partition("=")[2] for line in env_file.read_text().splitlines() if "=" in line]
    for service in services_of(name, env_file).values():
        health = service.health.command if service.health else []
        said = " ".join([*service.entrypoint, *service.command, *health])
        assert not [each for each in secrets if each in said], service.name


@ALL
def test_images_are_pinned_to_a_version(name: str, env_file: Path) -> None:
    for service, content in given(name, env_file):
        repository, _, tag = content["image"].partition(":")
        if repository == "penstock":
            assert tag == penstock.__version__
            assert (DEPLOY.parent / content["build"]["context"]).samefile(DEPLOY.parent)
        else:
            assert re.fullmatch(r"v?\d+(\.\d+)+", tag), service


@ALL
def test_every_volume_is_declared_and_every_file_is_here(name: str, env_file: Path) -> None:
    declared = set(written(FILES[name][0])["volumes"])
    used = set()
    for service, content in given(name, env_file):
        for mount in content.get("volumes", ()):
            if mount["type"] == "volume":
                assert not mount.get("read_only")
                used.add(mount["source"])
            else:
                assert mount.get("read_only"), (service, mount["source"])
                assert Path(mount["source"]).exists(), mount["source"]
                assert Path(mount["source"]).is_relative_to(DEPLOY)
    # Not used then: the logs of the server that the store replaces.
    assert declared - used == ({"clickhouse-logs"} if name == "store" else set())


@ALL
def test_every_variable_is_a_setting_that_its_role_reads(name: str, env_file: Path) -> None:
    seen = set()
    for role, service, content in roles(name, env_file):
        kind = SETTINGS[role]
        for key in content.environ:
            field = key.removeprefix("PENSTOCK_").lower()
            assert OTHERS.fullmatch(key) or field in kind.__dataclass_fields__, (service, key)
        load(kind, environ=content.environ)
        seen.add(role)
    assert seen >= ({"up"} if name == "trial" else {"gateway", "web", "worker"})


@ALL
def test_ports_and_health_checks_agree_with_what_listens(name: str, env_file: Path) -> None:
    for role, service, content in roles(name, env_file):
        environ = content.environ
        assert content.health is not None, service
        asked = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", " ".join(content.health.command))
        assert asked is not None, service
        if role in ("gateway", "web"):
            settings = load(GatewaySettings, environ=environ)
            assert settings.host == "0.0.0.0"  # noqa: S104 (a container's own)
            assert settings.serves == {"gateway": "write", "web": "read"}[role]
            assert (int(asked[1]), asked[2]) == (settings.port, "/readyz")
        elif role == "up":
            assert f"--port={asked[1]}" in content.command
            assert asked[2] == "/readyz"
        else:
            assert environ["PENSTOCK_METRICS_LISTEN"] == f"0.0.0.0:{asked[1]}"
            assert asked[2] == "/healthz"
        assert {port.target for port in content.ports} <= {int(asked[1])}


@ALL
def test_services_are_as_locked_down_as_they_can_be(name: str, env_file: Path) -> None:
    for service, content in given(name, env_file):
        is_owner = content.get("entrypoint") == ["chown"]
        assert content["cap_drop"] == ["ALL"], service
        assert content.get("cap_add", []) == (["CHOWN"] if is_owner else []), service
        assert content["security_opt"] == ["no-new-privileges:true"], service
        assert content["user"].startswith("0:") is is_owner, service
        is_writable = service in WRITABLE_ROOT and not content["image"].startswith("penstock")
        assert bool(content.get("read_only")) is not is_writable, service
        limits = content["deploy"]["resources"]["limits"]
        assert limits.keys() == {"cpus", "memory", "pids"}, service
        assert content["logging"]["options"].keys() == {"max-size", "max-file"}, service
        assert content["restart"] == ("no" if is_owner else "unless-stopped"), service
        if not is_owner:
            assert {"test", "interval", "timeout", "retries", "start_period"} <= content[
                "healthcheck"
            ].keys(), service
            assert "stop_grace_period" in content, service


@ALL
def test_services_wait_for_what_they_need_and_find_it(name: str, env_file: Path) -> None:
    services = services_of(name, env_file)
    for service in services.values():
        for needed, condition in service.depends_on.items():
            once = services[needed].entrypoint == ["chown"]
            wanted = "service_completed_successfully" if once else "service_healthy"
            assert condition == wanted, (service.name, needed)
        # Whoever is named in a URL is on a network of this service, and is waited for.
        for key, value in service.environ.items():
            host = urlsplit(value).hostname if "://" in value else None
            if host in services:
                assert set(services[host].networks) & set(service.networks), (service.name, key)
                assert host in service.depends_on, (service.name, key)


def test_nobody_reaches_more_than_it_needs(env_file: Path) -> None:
    model = model_of("full", env_file)
    members: dict[str, set[str]] = {}
    for service, content in given("full", env_file):
        for network in content.get("networks") or {}:
            members.setdefault(network, set()).add(service)
    gateways, workers = {"gateway-0", "gateway-1"}, {"worker-0", "worker-1"}
    assert members == {
        "front": {"proxy", "web", *gateways},
        "queue": {"redis", "web", *gateways, *workers},
        "points": {"clickhouse", "keeper", "web", *gateways, *workers},
        "catalog": {"postgres", "web", *gateways, *workers},
        "blobs": {"s3", "web", *gateways},
        "metrics": {"prometheus", "grafana", "web", *gateways, *workers},
        "operators": {"prometheus", "grafana"},
    }
    networks = model["networks"]
    assert {each for each in networks if not networks[each].get("internal")} == {
        "front", "operators",
    }  # fmt: skip
    published = {
        service: [port.get("host_ip", "") for port in content.get("ports", ())]
        for service, content in given("full", env_file)
        if content.get("ports")
    }
    assert published == {"proxy": [""], "prometheus": ["127.0.0.1"], "grafana": ["127.0.0.1"]}


def test_the_proxy_is_believed_and_nobody_else(env_file: Path) -> None:
    model = model_of("full", env_file)
    subnet = model["networks"]["front"]["ipam"]["config"][0]["subnet"]
    assert ipaddress.ip_network(subnet).prefixlen >= 24
    for role, _, service in roles("full", env_file):
        if role in ("gateway", "web"):
            assert service.environ["PENSTOCK_TRUSTED_PROXIES"] == subnet


def test_memory_adds_up(env_file: Path) -> None:
    services = dict(given("store", env_file))
    redis = " ".join(services["redis"]["command"])
    found = re.search(r"maxmemory (\d+)mb", redis)
    assert found is not None
    most = int(found[1]) * 2**20
    assert 2 * most <= limit(services["redis"])
    for each in ("gateway-0", "gateway-1", "web"):
        settings = load(GatewaySettings, environ=services[each]["environment"])
        assert settings.backlog_bytes <= most * 4 // 5
        held = settings.bodies_in_flight_bytes + settings.decoded_in_flight_bytes
        assert held <= limit(services[each]) // 2
    store = " ".join(services["clickhouse"]["command"])
    cap = re.search(r"--memory-bytes=(\d+)", store)
    assert cap is not None
    assert int(cap[1]) <= limit(services["clickhouse"]) // 2


def limit(content: dict[str, Any]) -> int:
    return int(content["deploy"]["resources"]["limits"]["memory"])


def test_everyone_may_finish_what_is_in_hand(env_file: Path) -> None:
    for role, name, service in roles("full", env_file):
        if role in ("gateway", "web"):
            settings = load(GatewaySettings, environ=service.environ)
            # The proxy needs a look and a half to see that it is not ready.
            assert settings.pre_stop_s >= 4
            assert settings.pre_stop_s + settings.drain_s + 5 <= service.stop_grace_s, name
        else:
            worker = load(WorkerSettings, environ=service.environ)
            assert worker.drain_s + 5 <= service.stop_grace_s, name


def test_prometheus_looks_at_every_process_and_grafana_at_prometheus(env_file: Path) -> None:
    services = services_of("store", env_file)
    targets: set[str] = set()
    for mount in services["prometheus"].mounts:
        if mount.target.startswith("/etc/prometheus/targets/"):
            for group in yaml.safe_load(Path(mount.source).read_text()):
                targets |= set(group["targets"])
    wanted = {
        f"{name}:{8080 if role in ('gateway', 'web') else 9100}"
        for role, name, _ in roles("store", env_file)
    }
    assert targets == wanted
    config = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    provisioning = DEPLOY / "compose" / "grafana"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())
    url = urlsplit(source["datasources"][0]["url"])
    assert (url.hostname, url.port) == ("prometheus", 9090)
    assert source["datasources"][0]["isDefault"]  # the dashboard takes the default one
    folder = yaml.safe_load((provisioning / "dashboards" / "penstock.yml").read_text())
    mounted = {mount.target: mount.source for mount in services["grafana"].mounts}
    path = mounted[folder["providers"][0]["options"]["path"]]
    assert (Path(path) / "penstock.json").exists()
