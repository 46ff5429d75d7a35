"""deploy/compose.yaml, run: every service as a plain process in a network and file system of its own, with
the names, ports, volumes, users, commands, variables and health checks of the file.

In place of ClickHouse's server runs Penstock's store (`compose.store.yaml`); Grafana is not run at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from benchmarks.compose.project import ComposeProject, why_no_compose
from support.compose_files import DEPLOY, FILES, make_env
from support.through import Visitor
from support.up import end_shipper, wait_until

pytestmark = pytest.mark.heavy

NOT_HERE = {"grafana"}
ROWS = 500
WANTED = [{"_step": step, "step twice": 2 * step} for step in range(ROWS)]
WHY_NOT = why_no_compose()
needs_namespaces = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / "env"
    make_env(path)
    return path


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Visitor]:
    yield Visitor("", "", tmp_path)
    end_shipper(tmp_path)


def project_of(name: str, folder: Path, env_file: Path) -> ComposeProject:
    if why_not := why_no_compose(FILES[name], env_file, without=NOT_HERE):
        pytest.skip(why_not)
    folder.mkdir(exist_ok=True)
    return ComposeProject(folder, FILES[name], env_file, without=NOT_HERE)


@needs_namespaces
@pytest.mark.timeout(900)
def test_the_compose_file_runs_and_keeps_its_data(
    tmp_path: Path, env_file: Path, visitor: Visitor
) -> None:
    content = os.urandom(20_000_000)
    with project_of("store", tmp_path / "compose", env_file) as project:
        project.up()
        command = "penstock key create --settings --name admin --scopes read,write,admin"
        created = project.containers["worker-0"].run(command.split())
        assert created.returncode == 0, created.stderr
        visitor.url, visitor.api_key = project.url("proxy", 8080), created.stdout.strip()

        visitor.log("compose", "first", ROWS)
        assert values(visitor, "first") == WANTED
        assert visitor.verify("local/compose/first").returncode == 0
        visitor.upload("compose", "first", "model.bin", content)
        assert visitor.download("compose", "first", "model.bin") == content
        assert stored_bytes(project.folder / "volumes" / "blobs") > len(content)
        # Complete in the bucket, so gone from the folder where it arrived.
        assert not any((project.folder / "volumes" / "uploads").iterdir())

        nobody_reaches_what_is_not_theirs(project)
        prometheus_sees_everything(project)
        a_gateway_is_found_at_its_new_address(project, visitor)
        assert set(project.down().values()) == {0}

    renew_secrets(env_file)
    with project_of("store", tmp_path / "compose", env_file) as project:
        project.up()
        visitor.url = project.url("proxy", 8080)
        assert values(visitor, "first") == WANTED
        assert visitor.download("compose", "first", "model.bin") == content
        assert set(project.down().values()) == {0}


def renew_secrets(env_file: Path) -> None:
    """Others in place of those that may change with a restart."""
    lines = env_file.read_text().splitlines()
    env_file.unlink()
    make_env(env_file)
    others = dict(line.split("=") for line in env_file.read_text().splitlines() if "=" in line)
    kept = {"PENSTOCK_SECRET", "POSTGRES_PASSWORD"}
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and name in kept:
            others[name] = value
    env_file.write_text("".join(f"{name}={value}\n" for name, value in others.items()))


def values(visitor: Visitor, run: str) -> list[dict[str, Any]]:
    rows = visitor.history("compose", run)
    return [{key: row[key] for key in ("_step", "step twice")} for row in rows]


def stored_bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def nobody_reaches_what_is_not_theirs(project: ComposeProject) -> None:
    """Names of other networks are unknown, roots cannot be written, Redis wants its password."""
    strangers = [("proxy", "redis"), ("proxy", "clickhouse"), ("prometheus", "postgres")]
    for name, other in [*strangers, ("worker-0", "s3"), ("s3", "redis")]:
        assert project.containers[name].run(["getent", "hosts", other]).returncode, (name, other)
    worker = project.containers["worker-0"]
    redis = project.containers["redis"].place.addresses["queue"]
    knock = ["timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/{redis}/6379"]
    assert worker.run(knock).returncode == 0
    assert project.containers["proxy"].run(knock).returncode  # nor by its address
    assert worker.run(["getent", "hosts", "redis"]).returncode == 0
    assert "NOAUTH" in worker.run(["redis-cli", "-h", "redis", "ping"]).stdout
    for name, container in project.containers.items():
        if container.service.is_read_only and container.process.poll() is None:
            tried = container.run(["touch", "/etc/written"])
            assert tried.returncode, name


def prometheus_sees_everything(project: ComposeProject) -> None:
    """Every target is scraped, every rule evaluates, every query of the dashboard is one."""
    url = project.url("prometheus", 9090)

    def ask(path: str) -> Any:
        with urlopen(f"{url}/api/v1/{path}", timeout=30) as reply:
            return json.loads(reply.read())["data"]

    def is_all_up() -> bool:
        found = ask("targets")["activeTargets"]
        return {each["health"] for each in found} == {"up"} and len(found) == 6

    wait_until(is_all_up, 120)
    processes = {each["metric"]["process"] for each in ask("query?query=up")["result"]}
    assert processes == {"gateway-0", "gateway-1", "web", "worker-0", "worker-1", "clickhouse"}
    groups = ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 10
    assert not [rule for rule in rules if rule.get("lastError")]
    expressions = dashboard_expressions()
    assert len(expressions) > 40
    for expression in expressions:
        ask(f"query?query={quote(expression)}")  # 400 if it is no query

    def queued_points() -> float:
        return float(ask("query?query=sum(penstock_ingest_points_total)")["result"][0]["value"][1])

    wait_until(lambda: queued_points() >= 2 * ROWS, 60)  # once Prometheus has asked again


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "penstock.json").read_text())
    targets = [each["expr"] for panel in dashboard["panels"] for each in panel.get("targets", ())]
    return [
        text.replace("$__rate_interval", "1m").replace("$job", "penstock").replace("$__range", "1h")
        for text in targets
    ]


def a_gateway_is_found_at_its_new_address(project: ComposeProject, visitor: Visitor) -> None:
    """As after `docker compose up` with another image: the container is a new one."""
    before = project.containers["gateway-0"].place.addresses["front"]
    assert project.stop("gateway-0") == 0
    project.start("gateway-0")
    project.wait_healthy("gateway-0")
    assert project.containers["gateway-0"].place.addresses["front"] != before
    assert project.stop("gateway-1") == 0
    visitor.log("compose", "after", ROWS)
    assert values(visitor, "after") == WANTED
    project.start("gateway-1")
    project.wait_healthy("gateway-1")


@needs_namespaces
@pytest.mark.smoke
@pytest.mark.timeout(300)
def test_the_trial_runs_and_keeps_its_data(
    tmp_path: Path, env_file: Path, visitor: Visitor
) -> None:
    with project_of("trial", tmp_path / "trial", env_file) as project:
        for start in range(2):
            project.up()
            penstock = project.containers["penstock"]
            visitor.url = project.url("penstock", 8080)
            visitor.api_key = penstock.run(["cat", "/data/api_key"]).stdout.strip()
            if start == 0:
                visitor.log("compose", "first", ROWS)
            assert values(visitor, "first") == WANTED
            assert penstock.run(["touch", "/etc/written"]).returncode
            assert set(project.down().values()) == {0}
