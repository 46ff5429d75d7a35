"""The rendered pods, started for real: on a read-only file system, as an unknown user, asked by their own probes."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from support.chart import Workload, objects_of, workloads
from support.rendered_pods import USER, Pod, own_volume, why_no_pods
from support.up import wait_until

from penstock_common.process.listening import listening_socket
from penstock_server.redis_server import find_server

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(why_no_pods()), reason=why_no_pods() or "pods can be started"),
]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose sockets' paths are short enough."""
    with tempfile.TemporaryDirectory(prefix="pod-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def free_ports(workload: Workload) -> dict[str, int]:
    found = {}
    for each in workload.container["ports"]:
        listener = listening_socket("::", 0)
        found[each["name"]] = listener.getsockname()[1]
        listener.close()
    return found


def pod(scenario: str, component: str, folder: Path, **changed: str) -> Pod:
    """A pod of a scenario with new volumes in `folder`, or with those that are there."""
    (workload,) = (each for each in workloads(objects_of(scenario)) if each.component == component)
    maps = {each["metadata"]["name"]: each["data"] for each in objects_of(scenario, "ConfigMap")}
    volumes = {}
    for mount in workload.container["volumeMounts"]:
        path = folder / component / mount["name"]
        volumes[mount["mountPath"]] = path if path.exists() else own_volume(path)
    return Pod(workload, maps, volumes, free_ports(workload), changed)


def call(port: int, path: str, key: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", data, headers), timeout=40) as reply:
        return json.loads(reply.read())


def rows(count: int) -> dict[str, Any]:
    return {
        "project": "first",
        "run": "abc",
        "rows": [{"step": n, "loss": 1.0 / (n + 1)} for n in range(count)],
    }


def open_to_group(folder: Path) -> None:
    """As the kubelet does it for `fsGroup`, when it mounts a volume for a pod of another user."""
    subprocess.run(["chgrp", "-R", "10001", str(folder)], check=True)
    subprocess.run(["chmod", "-R", "g+rwX", str(folder)], check=True)


def test_the_single_pod_keeps_its_data_over_an_upgrade_and_a_change_of_user(
    short_path: Path,
) -> None:
    found: list[tuple[str, str]] = []
    for scenario, user in (
        ("default", USER),
        ("single-hard", USER),
        ("single-openshift", USER + 1),
    ):
        each = pod(scenario, "single", short_path)
        each.user = user
        if user != USER:
            open_to_group(each.volumes["/data"])
        each.start()
        try:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                each.wait(probe)
            file = each.volumes["/data"] / "penstock" / "api_key"
            wait_until(file.exists)  # the first key may come a moment after the first gateway
            key = file.read_text().strip()
            if not found:
                answer = call(each.ports["http"], "/v1/batches?wait=committed", key, rows(3))
                assert answer["queued"] == 1
            runs = call(each.ports["http"], "/v1/runs/local/first/abc", key)
            found.append((key, runs["run"] if "run" in runs else runs["id"]))
            if scenario == "default":
                assert "first key" in each.run("key", "list")
            assert each.stop() == 0
        finally:
            each.kill()
    assert len(set(found)) == 1


@contextmanager
def redis_on(port: int, folder: Path) -> Iterator[None]:
    folder.mkdir()
    settings = {
        "port": port, "dir": folder, "appendonly": "yes", "save": "", "maxmemory": "256mb",
        "maxmemory-policy": "noeviction", "logfile": folder / "log", "protected-mode": "no",
    }  # fmt: skip
    arguments = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen([find_server(), *arguments])
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def started(pods: Mapping[str, Pod], *names: str) -> None:
    for name in names:
        pods[name].start()


def test_roles_wait_for_their_engines_alive_and_not_ready(short_path: Path) -> None:
    """Without queue and store, no probe would restart them; with them, they work, and end as they are asked to."""
    listener = listening_socket("::", 0)
    redis_port = listener.getsockname()[1]
    listener.close()
    shared = own_volume(short_path / "shared")
    store = pod("cluster-store", "store", short_path, PENSTOCK_STORE_TOKEN="token")
    engines = {
        "PENSTOCK_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "PENSTOCK_STORE_URL": f"http://127.0.0.1:{store.ports['clickhouse']}",
        "PENSTOCK_STORE_TOKEN": "token",
        "PENSTOCK_CATALOG_URL": f"sqlite+aiosqlite:///{shared}/catalog.db",
        "PENSTOCK_BLOBS_URL": f"file://{shared}/blobs",
        "PENSTOCK_SECRET": "pepper",
    }
    roles = ("gateway", "web", "worker")
    pods = {name: pod("cluster-store", name, short_path, **engines) for name in roles}
    for each in pods.values():
        each.volumes = {**each.volumes, "/shared": shared}
    pods["store"] = store
    try:
        started(pods, *roles)
        for name in roles:
            pods[name].wait("startupProbe")
        # As long as several liveness probes take.
        until = time.monotonic() + 6
        while time.monotonic() < until:
            assert [pods[name].probe("livenessProbe") for name in roles] == [200] * 3
            # Web needs the catalog alone, which is a file here.
            assert 200 not in {pods[name].probe("readinessProbe") for name in ("gateway", "worker")}
            time.sleep(0.5)
        with redis_on(redis_port, short_path / "redis"):
            started(pods, "store")
            for each in pods.values():
                each.wait("readinessProbe")
            key = pods["gateway"].run("key", "create", "--settings", "--name", "admin").strip()
            answer = call(pods["gateway"].ports["http"], "/v1/batches?wait=committed", key, rows(3))
            assert answer["queued"] == 1
            run = "/v1/runs/local/first/abc"
            assert call(pods["web"].ports["http"], run, key) == call(
                pods["gateway"].ports["http"], run, key
            )
            # The order of a rollout does not matter; the store goes last here, as nothing else waits for it.
            assert {name: pods[name].stop() for name in (*roles, "store")} == dict.fromkeys(
                (*roles, "store"), 0
            )
    finally:
        for each in pods.values():
            each.kill()
