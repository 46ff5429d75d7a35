"""Serving a process' metrics on a unix socket of its own, and adding up those of many.

On one machine several gateways share a port, so a scrape reaches any one of them; each also listens
on a socket in a folder, and whoever is scraped asks all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from penstock_common.metrics import Metrics

__all__ = ["CONTENT_TYPE", "gather", "metrics_server"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TIMEOUT_S = 2.0


@asynccontextmanager
async def metrics_server(socket: str, metrics: Metrics) -> AsyncIterator[None]:
    """Serve `metrics` on this unix socket while the block runs; '' serves nothing."""
    if not socket:
        yield
        return
    app = web.Application()

    async def get(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    app.router.add_get("/metrics", get)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    Path(socket).unlink(missing_ok=True)
    await web.UnixSite(runner, socket).start()
    try:
        yield
    finally:
        await runner.cleanup()
        Path(socket).unlink(missing_ok=True)


async def gather(folder: Path) -> bytes:
    """The metrics of every process with a socket in `folder`, told apart by the label `process`."""
    sockets = sorted(folder.glob("*.metrics"))
    texts = await asyncio.gather(*(_fetch(socket) for socket in sockets))
    found = {socket.stem: text for socket, text in zip(sockets, texts, strict=True) if text}
    return generate_latest(_merged(found))


async def _fetch(socket: Path) -> str:
    try:
        async with (
            ClientSession(
                connector=UnixConnector(str(socket)), timeout=ClientTimeout(total=_TIMEOUT_S)
            ) as session,
            session.get("http://process/metrics") as reply,
        ):
            return await reply.text()
    except (ClientError, OSError, TimeoutError):
        # It was killed or is being restarted; its absence shows as missing series.
        return ""


def _merged(texts: dict[str, str]) -> CollectorRegistry:
    families: dict[str, Metric] = {}
    for process, text in texts.items():
        for family in text_string_to_metric_families(text):
            known = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, "process": process}
                known.samples.append(sample._replace(labels=labels))
    registry = CollectorRegistry()
    registry.register(_Fixed(list(families.values())))
    return registry


class _Fixed:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families

    def describe(self) -> list[Metric]:
        return []
