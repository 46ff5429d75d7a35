"""The store process: owns one chDB folder and serves it over ClickHouse's HTTP protocol.

    PENSTOCK_STORE_TOKEN=… python -m penstock_storage.embedded.store_process \\
        --path DIR --socket PATH [--port N] --memory-bytes N

One process per folder; a second one exits with status 73. On SIGTERM it accepts nothing new, finishes
running statements within 5 s and exits with 0. After a crash it can be restarted at once: acknowledged
inserts are on disk, others are there completely or not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from penstock_common.http.exporter import metrics_server
from penstock_common.process import logs
from penstock_common.process.listening import listening_socket
from penstock_common.process.metrics import StoreMetrics
from penstock_common.process.watchdog import PATIENCE_S, Watchdog, watchdog_of
from penstock_storage.clickhouse.store_errors import EngineError
from penstock_storage.embedded.engine import Engine
from penstock_storage.embedded.mapped_code import keep_giving_back
from penstock_storage.embedded.store_http import application

__all__ = ["main"]

_log = logging.getLogger(__name__)

_GRACE_S = 5.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EXIT_IN_USE = 73  # EX_CANTCREAT
_MAX_URL_BYTES = 2**20  # ClickHouse's http_max_uri_size: long lists of runs are parameters


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="penstock-store", description="Serve a chDB folder.")
    parser.add_argument("--path", type=Path, required=True, help="the folder; created if missing")
    parser.add_argument("--socket", type=Path, help="unix socket to listen on, mode 0600")
    parser.add_argument("--port", type=int, help="TCP port to listen on as well")
    parser.add_argument("--host", default="127.0.0.1", help="address of the TCP port")
    parser.add_argument(
        "--memory-bytes", type=int, default=2 * 2**30, help="cap for all statements together"
    )
    parser.add_argument(
        "--patience-s",
        type=float,
        default=float(os.environ.get("PENSTOCK_PATIENCE_S", PATIENCE_S)),
        help="silence after which the engine counts as hung, and the process ends; 0: never",
    )
    parser.add_argument(
        "--metrics-socket",
        default=os.environ.get("PENSTOCK_METRICS_SOCKET", ""),
        help="unix socket for metrics",
    )
    parser.add_argument(
        "--metrics-listen",
        default=os.environ.get("PENSTOCK_METRICS_LISTEN", ""),
        help="host:port for metrics",
    )
    arguments = parser.parse_args()
    if arguments.socket is None and arguments.port is None:
        parser.error("give --socket or --port")
    token = os.environ.pop("PENSTOCK_STORE_TOKEN", "")
    if arguments.port is not None and not token and arguments.host not in _LOOPBACK:
        parser.error("PENSTOCK_STORE_TOKEN is not set: other machines could read and write")
    logs.setup("store", secrets=[token])
    watchdog = watchdog_of(arguments.patience_s)
    sys.exit(asyncio.run(watchdog.run(_serve(arguments, token, watchdog))))


async def _serve(arguments: argparse.Namespace, token: str, watchdog: Watchdog) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    arguments.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    metrics = StoreMetrics()
    async with metrics_server(
        metrics,
        watchdog=watchdog,
        socket=arguments.metrics_socket,
        listen=arguments.metrics_listen,
    ):
        readers = (os.cpu_count() or 1) + 2
        engine = Engine(arguments.path, arguments.memory_bytes, readers, watchdog)
        try:
            with watchdog.extended():
                await engine.open()
        except EngineError as error:
            _log.error("cannot open %s: %s", arguments.path, error)
            return _EXIT_IN_USE
        await _serve_engine(
            arguments, application(engine, token, metrics), engine, watchdog, stopped
        )
    return 0


async def _serve_engine(
    arguments: argparse.Namespace,
    app: web.Application,
    engine: Engine,
    watchdog: Watchdog,
    stopped: asyncio.Event,
) -> None:
    """Serve the open engine until it has to stop, and close it."""
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.5,  # only for sending results: the engine waits longer
        max_line_size=_MAX_URL_BYTES,
        read_bufsize=2**20,
    )
    await runner.setup()
    try:
        await _listen(runner, arguments)
        _log.info("store ready: %s", arguments.path)
        asking = watchdog.spawn(engine.watch(), "chDB")
        giving_back = watchdog.spawn(keep_giving_back(), "code", ends=True)
        watchdog.ready()
        await stopped.wait()
        watchdog.stopping()
        asking.cancel()
        giving_back.cancel()
    finally:
        for site in list(runner.sites):
            await site.stop()
        await engine.close(_GRACE_S)
        await runner.cleanup()
        if arguments.socket is not None:
            arguments.socket.unlink(missing_ok=True)


async def _listen(runner: web.AppRunner, arguments: argparse.Namespace) -> None:
    if arguments.socket is not None:
        # A socket left behind by a killed process; the engine's lock shows that none serves it.
        with contextlib.suppress(FileNotFoundError):
            arguments.socket.unlink()
        mask = os.umask(0o177)
        try:
            await web.UnixSite(runner, str(arguments.socket)).start()
        finally:
            os.umask(mask)
    if arguments.port is not None:
        await web.SockSite(runner, listening_socket(arguments.host, arguments.port)).start()


if __name__ == "__main__":
    main()
