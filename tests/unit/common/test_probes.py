"""What a role answers to probes on the address of its metrics."""

from __future__ import annotations

import socket

import aiohttp

from penstock_common.http.exporter import metrics_server
from penstock_common.process.metrics import WorkerMetrics
from penstock_common.process.watchdog import Watchdog


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_alive_from_the_start_and_ready_until_told_to_stop() -> None:
    watchdog, address = Watchdog(), free_address()
    async with (
        metrics_server(WorkerMetrics(), watchdog=watchdog, listen=address),
        aiohttp.ClientSession() as session,
    ):

        async def asked(path: str) -> int:
            async with session.get(f"http://{address}{path}") as reply:
                return reply.status

        assert (await asked("/healthz"), await asked("/readyz")) == (200, 503)
        watchdog.ready()
        assert (await asked("/healthz"), await asked("/readyz")) == (200, 200)
        watchdog.stopping()
        assert (await asked("/healthz"), await asked("/readyz")) == (200, 503)
        watchdog.part("loop")
        watchdog.check(1e6)
        assert await asked("/healthz") == 503
