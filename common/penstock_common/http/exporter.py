"""Serves a process's metrics and health on a socket of its own, and merges the metrics of many processes
into one page.

Several gateways on a machine share a port, so a scrape reaches any one of them. Each process also
listens on a unix socket in a folder, and the scraped one asks all of them. A role that runs alone
listens on an address of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web

from penstock.command_codes import CommandCode
from penstock.errors import Rejected
from penstock_common.http.errors import harden, json_response
from penstock_common.http.routes import Routes
from penstock_common.process.listening import listening_socket
from penstock_common.process.metrics import Metrics
from penstock_common.process.watchdog import Watchdog

__all__ = [
    "CONTENT_TYPE",
    "ask",
    "gather",
    "live_response",
    "merged",
    "metrics_server",
    "ready_response",
]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TIMEOUT_S = 2.0


@asynccontextmanager
async def metrics_server(
    metrics: Metrics,
    *,
    watchdog: Watchdog | None = None,
    pages: Mapping[str, Callable[[], object]] = MappingProxyType({}),
    socket: str = "",
    listen: str = "",
    peers: Path | None = None,
) -> AsyncIterator[None]:
    """Serve `metrics`, `/healthz` and `/readyz` as the watchdog sees them, and further JSON `pages` while
    the block runs: on the unix socket `socket`, on `listen` (`host:port`), on both or neither.

    A role opens it before it waits for anything: one that waits for a store is alive. With `peers`,
    `/metrics` adds up all processes with a socket in that folder."""
    if not socket and not listen:
        yield
        return
    app = web.Application()
    app.on_response_prepare.append(harden)

    async def get(_: web.Request) -> web.Response:
        text = metrics.render() if peers is None else await gather(peers)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_: web.Request) -> web.Response:
        return live_response(watchdog.problem if watchdog is not None else "")

    async def readyz(_: web.Request) -> web.Response:
        return ready_response(is_ready=watchdog is None or watchdog.is_ready)

    def page(content: Callable[[], object]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            return json_response(content())

        return answer

    routes = Routes(app)
    routes.get("/metrics", get)
    routes.get("/healthz", healthz)
    routes.get("/readyz", readyz)
    for path, content in pages.items():
        routes.get(path, page(content))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        if socket:
            Path(socket).unlink(missing_ok=True)
            await web.UnixSite(runner, socket).start()
        if listen:
            await web.SockSite(runner, listening_socket(*_address(listen))).start()
        yield
    finally:
        await runner.cleanup()
        if socket:
            Path(socket).unlink(missing_ok=True)


def live_response(problem: str) -> web.Response:
    """The reply of `/healthz`: whether this process is working, even if it is waiting for something."""
    body = {"status": "failing", "problem": problem} if problem else {"status": "ok"}
    return json_response(body, status=503 if problem else 200)


def ready_response(*, is_ready: bool) -> web.Response:
    """The reply of a role's `/readyz`: whether it has what it needs to work, and is not shutting
    down."""
    body = {"status": "ready" if is_ready else "starting or stopping"}
    return json_response(body, status=200 if is_ready else 503)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise Rejected(f"{listen!r} is not host:port", code=CommandCode.BAD_SETTINGS)
    return host.strip("[]"), int(port)


async def gather(folder: Path) -> bytes:
    """The metrics of every process with a socket in `folder`, distinguished by the label `process`."""
    sockets = sorted(folder.glob("*.metrics"))
    texts = await asyncio.gather(*(ask(socket, "/metrics") for socket in sockets))
    return merged({socket.stem: text for socket, text in zip(sockets, texts, strict=True)}).encode()


async def ask(socket: Path, page: str) -> str:
    """A page of the process that serves its metrics on this socket; empty if it does not answer."""
    try:
        async with (
            ClientSession(
                connector=UnixConnector(str(socket)), timeout=ClientTimeout(total=_TIMEOUT_S)
            ) as session,
            session.get(f"http://process{page}") as reply,
        ):
            return await reply.text() if reply.status == 200 else ""
    except (ClientError, OSError, TimeoutError):
        # It was killed or is restarting; its series are missing meanwhile.
        return ""


def merged(texts: Mapping[str, str]) -> str:
    """The pages of several processes as one: each metric described once, each sample with its process.

    Line by line, since parsing thousands of samples into objects would hold up the event loop. The
    pages are our own, so names and labels need no check.
    """
    families: dict[str, list[str]] = {}
    for process, text in texts.items():
        lines: list[str] = []
        is_new = True
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                is_new = name not in families
                lines = families.setdefault(name, [])
            if line.startswith("#"):
                if is_new:
                    lines.append(line)
            elif line:
                lines.append(_labelled(line, process))
    return "".join(f"{line}\n" for lines in families.values() for line in lines)


def _labelled(sample: str, process: str) -> str:
    """The sample with the label `process`, first of its labels."""
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return f'{name}{{process="{process}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{process="{process}"}} {value}'
