"""The proxy of deploy/compose.yaml sends every route to a role that has it."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from support.compose_files import DEPLOY
from support.gateways import free_port
from support.marks import SMOKE
from support.up import wait_until

from penstock_common.process.settings import GatewaySettings
from penstock_server.gateway import build

pytestmark = [
    *SMOKE,
    pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed"),
]

Route = tuple[str, str]


async def routes_of(serves: str, folder: Path) -> set[Route]:
    """The method and path of every route of a role."""
    settings = GatewaySettings(
        serves=serves,
        catalog_url=f"sqlite+aiosqlite:///{folder}/{serves}.db",
        blobs_url=f"file://{folder}/blobs",
        redis_url="redis://127.0.0.1:1/0",
        store_url="http://127.0.0.1:1",
        secret="x",
    )
    async with build(settings, asyncio.Event()) as (app, _):
        return {
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.resource is not None
        }


@contextmanager
def answering(name: str) -> Iterator[int]:
    """The port of a server that answers everything with its name."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(200)
            self.send_header("X-Role", name)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def proxying(folder: Path, gateway: int, web: int) -> Iterator[str]:
    """The URL of a proxy with this configuration before servers at these ports."""
    port = free_port()
    text = (DEPLOY / "compose" / "haproxy.cfg").read_text()
    for old, new in (
        ("bind :8080", f"bind 127.0.0.1:{port}"),
        ("gateway-0:8080", f"127.0.0.1:{gateway}"),
        ("gateway-1:8080", f"127.0.0.1:{gateway}"),
        ("web:8080", f"127.0.0.1:{web}"),
        (" resolvers docker init-addr last,libc,none", ""),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "haproxy.cfg").write_text(text)
    process = subprocess.Popen(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")])
    try:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return bool(role_of(url, "GET", "/healthz"))
            except OSError:
                return False

        wait_until(answers)
        yield url
    finally:
        process.kill()
        process.wait()


def role_of(url: str, method: str, path: str) -> str:
    request = Request(f"{url}{path}", b"" if method == "POST" else None, method=method)
    with urlopen(request, timeout=10) as reply:
        return str(reply.headers["X-Role"])


async def test_every_route_leads_to_a_role_that_has_it(tmp_path: Path) -> None:
    write, read = await routes_of("write", tmp_path), await routes_of("read", tmp_path)
    assert ("POST", "/v1/batches") in write - read
    assert ("GET", "/v1/projects") in read - write
    wrong = []
    with (
        answering("gateway") as gateway,
        answering("web") as web,
        proxying(tmp_path, gateway, web) as url,
    ):
        for method, canonical in sorted(write | read):
            path = re.sub(r"{[^}]+}", "x", canonical)
            role = await asyncio.to_thread(role_of, url, method, path)
            if (method, canonical) not in {"gateway": write, "web": read}[role]:
                wrong.append((method, canonical, role))
    assert not wrong
