"""The proxies behind ingress controllers, with what the chart's annotations set, in front of a real server: large
bodies pass, uploads and live updates are not held up.

Controllers themselves don't run here; what they make of an annotation is in the tables below, as their manuals say.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from support.chart import objects_of
from support.up import Up, running_up

from penstock_common.process.listening import listening_socket

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

NGINX = {
    "proxy-body-size": "client_max_body_size", "proxy-request-buffering": "proxy_request_buffering",
    "proxy-buffering": "proxy_buffering", "proxy-http-version": "proxy_http_version",
    "proxy-read-timeout": "proxy_read_timeout", "proxy-send-timeout": "proxy_send_timeout",
}  # fmt: skip
NGINXINC = {
    "client-max-body-size": "client_max_body_size", "proxy-buffering": "proxy_buffering",
    "proxy-read-timeout": "proxy_read_timeout", "proxy-send-timeout": "proxy_send_timeout",
}  # fmt: skip
LARGE = 3 * 2**20
"""More than the usual limit of 1 MiB, and than a proxy's buffers."""


def annotations_of(controller: str) -> dict[str, str]:
    (ingress,) = objects_of(f"single-ingress-{controller}", "Ingress")
    found = ingress["metadata"]["annotations"]
    return {name: str(text) for name, text in found.items() if not name.startswith("own/")}


def nginx(folder: Path, port: int, server: int, directives: dict[str, str]) -> list[str]:
    lines = "\n".join(f"    {name} {text};" for name, text in directives.items())
    user = "user root; " if os.geteuid() == 0 else ""  # pytest's folder is root's alone then
    (folder / "nginx.conf").write_text(
        f"""{user}daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
{lines}
    location / {{ proxy_pass http://127.0.0.1:{server}; proxy_set_header Host $http_host; }}
  }}
}}
"""
    )
    return ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def ingress_nginx(folder: Path, port: int, server: int) -> list[str]:
    prefix = "nginx.ingress.kubernetes.io/"
    given = annotations_of("nginx")
    seconds = {"proxy-read-timeout", "proxy-send-timeout"}
    return nginx(
        folder, port, server,
        {NGINX[n.removeprefix(prefix)]: f"{text}s" if n.removeprefix(prefix) in seconds else text
         for n, text in given.items()},
    )  # fmt: skip


def nginx_org(folder: Path, port: int, server: int) -> list[str]:
    given = {
        NGINXINC[n.removeprefix("nginx.org/")]: text
        for n, text in annotations_of("nginxinc").items()
    }
    given["proxy_buffering"] = {"False": "off", "True": "on"}[given["proxy_buffering"]]
    return nginx(folder, port, server, {**given, "proxy_http_version": "1.1"})


def haproxy(controller: str, prefix: str) -> Callable[[Path, int, int], list[str]]:
    def command(folder: Path, port: int, server: int) -> list[str]:
        given = {n.removeprefix(prefix): text for n, text in annotations_of(controller).items()}
        server_timeout = given.pop("timeout-server")
        client_timeout = given.pop("timeout-client", "50s")
        assert given in ({}, {"proxy-body-size": "unlimited"})
        (folder / "haproxy.cfg").write_text(
            f"""defaults
  mode http
  timeout connect 5s
  timeout http-request 5s
  timeout client {client_timeout}
frontend in
  bind 127.0.0.1:{port}
  default_backend penstock
backend penstock
  timeout server {server_timeout}
  server one 127.0.0.1:{server}
"""
        )
        return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]

    return command


def traefik(folder: Path, port: int, server: int) -> list[str]:
    assert annotations_of("traefik") == {
        "traefik.ingress.kubernetes.io/router.entrypoints": "websecure"
    }
    service = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{server}"}]}}
    router = {"rule": "PathPrefix(`/`)", "service": "penstock"}
    routes = {"http": {"routers": {"all": router}, "services": {"penstock": service}}}
    (folder / "routes.yml").write_text(yaml.safe_dump(routes))
    entry = "--entryPoints.websecure"
    return [
        "traefik", f"{entry}.address=127.0.0.1:{port}", f"{entry}.transport.respondingTimeouts.readTimeout=0",
        f"--providers.file.filename={folder / 'routes.yml'}", "--log.level=ERROR",
        "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
    ]  # fmt: skip


CONTROLLERS: dict[str, Callable[[Path, int, int], list[str]]] = {
    "nginx": ingress_nginx,
    "nginxinc": nginx_org,
    "haproxy": haproxy("haproxy", "haproxy.org/"),
    "haproxy-ingress": haproxy("haproxy-ingress", "haproxy-ingress.github.io/"),
    "traefik": traefik,
}


@contextmanager
def in_front(command: Callable[[Path, int, int], list[str]], folder: Path, up: Up) -> Iterator[int]:
    """The port of a proxy in front of the server."""
    listener = listening_socket("127.0.0.1", 0)
    port = int(listener.getsockname()[1])
    listener.close()
    words = command(folder, port, int(up.url.rpartition(":")[2]))
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    environ = {**os.environ, "HOME": str(folder)}
    process = subprocess.Popen(words, env=environ, cwd=folder)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, f"{words[0]} ended"
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    break
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            assert time.monotonic() < deadline, f"{words[0]} does not answer"
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up"), "--require-login") as running:
        row = {"step": 0, "loss": 0.5}
        running.post(
            "/v1/batches?wait=committed", {"project": "first", "run": "abc", "rows": [row]}
        )
        yield running


def post(port: int, up: Up, size: int, pause_s: float = 0.0) -> int:
    """The status of a batch of JSON rows of this size; with a pause in the middle of its body."""
    text = (
        b'{"project": "first", "run": "large", "rows": [{"step": 0, "note": "x"}]'
        + b" " * size
        + b"}"
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest("POST", "/v1/batches")
        for name, value in (
            ("Authorization", f"Bearer {up.api_key}"), ("Content-Type", "application/json"),
            ("Content-Length", str(len(text))), ("Idempotency-Key", f"{port}-{size}-{pause_s}"),
        ):  # fmt: skip
            connection.putheader(name, value)
        connection.endheaders()
        half = len(text) // 2
        connection.send(text[:half])
        time.sleep(pause_s)
        connection.send(text[half:])
        return connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        return 413  # refused before the body was read
    finally:
        connection.close()


def first_events(port: int, up: Up) -> bytes:
    """What a live stream sends before anything happens; raises TimeoutError if a proxy keeps it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        path = "/v1/projects/local/first/events"
        connection.request("GET", path, headers={"Authorization": f"Bearer {up.api_key}"})
        reply = connection.getresponse()
        assert reply.status == 200
        found = b""
        while b"data: " not in found:
            found += reply.read1(1024)
        return found
    finally:
        connection.close()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_large_bodies_slow_uploads_and_live_updates_pass(name: str, tmp_path: Path, up: Up) -> None:
    with in_front(CONTROLLERS[name], tmp_path, up) as port:
        assert post(port, up, LARGE) == 202
        assert post(port, up, LARGE, pause_s=6.0) == 202  # more than `timeout http-request`
        assert b"retry: 1000" in first_events(port, up)


def test_without_the_annotations_a_large_body_is_refused(tmp_path: Path, up: Up) -> None:
    with in_front(
        lambda folder, port, server: nginx(folder, port, server, {}), tmp_path, up
    ) as port:
        assert post(port, up, 1000) == 202
        assert post(port, up, LARGE) == 413
