"""One gateway process: the write side, the read side and the page in one application on one port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator

import uvloop
from aiohttp import web

from penstock.wire import DEFAULT_LIMITS
from penstock_common.http.auth import KeyAuthenticator
from penstock_common.http.bodies import BODIES, BodyReader
from penstock_common.http.errors import OPEN_REQUESTS, harden, middleware
from penstock_common.http.exporter import metrics_server
from penstock_common.http.proxies import PROXIES, Proxies
from penstock_common.http.routes import Routes
from penstock_common.process import logs
from penstock_common.process.activity import Activity
from penstock_common.process.lifecycle import close_all, die_with_parent, stop_on_signals
from penstock_common.process.listening import listening_socket
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.process.patience import ToldToStop, patiently
from penstock_common.process.settings import GatewaySettings, load
from penstock_common.process.watchdog import Watchdog, watchdog_of
from penstock_common.queue.connection import connect
from penstock_common.queue.demand import Demand
from penstock_common.queue.redis_keys import RedisKeys
from penstock_compat.wandb.dependencies import WandbDependencies
from penstock_compat.wandb.metrics import WandbMetrics
from penstock_compat.wandb.routes import add_routes as add_wandb_routes
from penstock_ingest.append import Appender
from penstock_ingest.bound_check import BoundCheck
from penstock_ingest.decoding import Decoding
from penstock_ingest.deletions import DeletedRuns
from penstock_ingest.dependencies import IngestDependencies
from penstock_ingest.pace import Pace
from penstock_ingest.pipe import Pipe
from penstock_ingest.positions import WriterPositions
from penstock_ingest.quota import Quota
from penstock_ingest.routes import add_routes as add_write_routes
from penstock_ingest.status import ServerStatus
from penstock_server.health import Health
from penstock_server.inspection import Inspector
from penstock_server.serving import serve
from penstock_server.sweeps import build_engine, sweep_dependencies
from penstock_storage.blobs.blob_store import open_blobs
from penstock_storage.catalog.artifacts.artifact_catalog import Artifacts
from penstock_storage.catalog.runs.line_streams import LineStreams
from penstock_storage.catalog.runs.run_files import RunFiles
from penstock_storage.connect import open_catalog, open_points
from penstock_storage.search.finder import Finder
from penstock_sweeps.routes import add_routes as add_sweep_routes
from penstock_web.dependencies import WebDependencies
from penstock_web.live import LIVE_FEED, LiveFeed
from penstock_web.names import Names
from penstock_web.routes import add_routes as add_read_routes

__all__ = ["build", "main"]

_LIMITS = DEFAULT_LIMITS
_LISTEN_FD = "PENSTOCK_LISTEN_FD"


@contextlib.asynccontextmanager
async def build(
    settings: GatewaySettings,
    stop: asyncio.Event,
    watchdog: Watchdog | None = None,
    metrics: GatewayMetrics | None = None,
) -> AsyncIterator[tuple[web.Application, GatewayMetrics]]:
    """The application with all its dependencies, closed at the end of the block."""
    watchdog = watchdog or Watchdog(patience_s=settings.patience_s)
    metrics = metrics or GatewayMetrics()
    keys, activity = RedisKeys(settings.prefix), Activity()
    redis = connect(settings.redis_url, timeout_s=settings.queue_timeout_s, connections=64)
    pipe = Pipe(settings.redis_url, timeout_s=settings.queue_timeout_s)
    points = open_points(settings.store_url, settings.store_token)
    catalog = open_catalog(settings.catalog_url, settings.bounds)
    status = ServerStatus(
        redis,
        keys,
        metrics,
        stop,
        backlog_bytes=settings.backlog_bytes,
        volatile_queue=settings.volatile_queue,
        activity=activity,
    )
    try:
        await patiently(catalog.setup, stop)
        await status.refresh()
        authenticator = KeyAuthenticator(
            catalog.api_key, settings.secret, catalog.accounts.key_used
        )
        bodies = BodyReader(
            in_flight_bytes=settings.bodies_in_flight_bytes,
            timeout_s=settings.body_timeout_s,
            metrics=metrics,
        )
        deletions = DeletedRuns(catalog, activity)
        await patiently(deletions.refresh, stop)
        positions = WriterPositions(pipe, keys, metrics)
        demand = Demand(redis, keys)
        write = IngestDependencies(
            authenticator=authenticator,
            appender=Appender(pipe, keys, metrics, _LIMITS),
            positions=positions,
            catalog=catalog,
            metrics=metrics,
            limits=_LIMITS,
            decoding=Decoding(_LIMITS, settings.decoded_in_flight_bytes),
            bodies=bodies,
            status=status,
            pace=Pace(lambda: status.queue_fill, lambda: demand.is_watched or status.is_watched),
            quota=Quota(settings.project_points_per_s),
            deletions=deletions,
            bound_check=BoundCheck(catalog, positions, lambda: status.at_bound),
        )
        names = Names(catalog, watchdog, activity)
        finder = Finder(points, catalog, names)
        blobs, files = open_blobs(settings.blobs_url), RunFiles(catalog.database)
        artifacts = Artifacts(catalog.database)
        inspector = Inspector(
            redis,
            keys,
            points,
            catalog,
            status,
            metrics,
            peers=settings.metrics_peers,
            blobs_url=settings.blobs_url,
            disk_low_bytes=settings.disk_low_bytes,
            takes_batches=settings.serves != "read",
            activity=activity,
        )
        read = WebDependencies(
            points,
            catalog,
            authenticator,
            redis,
            keys,
            settings.secret,
            settings.default_entity,
            names,
            finder,
            files,
            blobs,
            artifacts,
            bodies,
            open_reads=_is_open(settings),
            root_path=settings.root_path,
            watchdog=watchdog,
            problems=inspector.problems,
            note_read=demand.note_read,
        )
        engine = build_engine(settings, catalog, read)
        sweeps = sweep_dependencies(engine, read, bodies)
        wandb = WandbDependencies(
            store=points,
            catalog=catalog,
            blobs=blobs,
            files=files,
            artifacts=artifacts,
            redis=redis,
            keys=keys,
            appender=write.appender,
            positions=write.positions,
            status=status,
            quota=write.quota,
            room=write.bound_check,
            authenticator=authenticator,
            metrics=metrics,
            limits=_LIMITS,
            bodies=bodies,
            streams=LineStreams(catalog.database, settings.bounds),
            names=names,
            finder=finder,
            sweeps=engine,
            secret=settings.secret,
            root_path=settings.root_path,
            upload_bytes=settings.upload_bytes,
            note_read=demand.note_read,
        )
        wandb_metrics = WandbMetrics(metrics)
        metrics.callback_counter(
            "auth_cache_hits_total",
            "Requests whose key was checked within the last 30 s.",
            lambda: authenticator.hits,
        )
        metrics.callback_counter(
            "auth_cache_misses_total",
            "Requests whose key was looked up in the catalog.",
            lambda: authenticator.misses,
        )
        feeds: list[LiveFeed] = []
        open_requests: set[int] = set()
        metrics.live_streams.set_function(lambda: sum(feed.watchers for feed in feeds))
        health = Health(
            inspector,
            status,
            metrics,
            watchdog,
            settings.metrics_peers,
            takes_batches=settings.serves != "read",
        )

        def add_routes(app: web.Application) -> web.Application:
            health.add_routes(app)
            if settings.serves in ("all", "write"):
                add_write_routes(app, write)
            if settings.serves in ("all", "read"):
                add_read_routes(app, read)
                feeds.append(app[LIVE_FEED])
            else:
                app.on_response_prepare.append(harden)
            add_sweep_routes(app, sweeps)
            if settings.serves in ("all", "write"):
                add_wandb_routes(app, wandb, wandb_metrics)
            return app

        app = add_routes(
            web.Application(
                middlewares=[middleware(metrics, stop, activity, open_requests)],
                client_max_size=_LIMITS.body_bytes,
            )
        )
        app[BODIES], app[PROXIES] = bodies, Proxies(settings.trusted_proxies)
        app[OPEN_REQUESTS] = open_requests
        prefix = settings.root_path.strip("/")
        if prefix:
            # Works with proxies that strip the prefix and with those that do not.
            below = add_routes(web.Application(client_max_size=_LIMITS.body_bytes))
            Routes(app).get(f"/{prefix}", _to_slash)
            app.add_subapp(f"/{prefix}/", below)
        watches = [
            watchdog.spawn(status.watch_queue(), "queue status"),
            watchdog.spawn(status.watch_loop(), "event loop lag"),
            watchdog.spawn(deletions.watch(), "deletions"),
            watchdog.spawn(inspector.watch(), "inspector"),
        ]
        try:
            yield app, metrics
        finally:
            for watch in watches:
                watch.cancel()
            await engine.close()
            await asyncio.gather(*watches, return_exceptions=True)
    finally:
        pipe.close()
        await close_all(redis.aclose, points.close, catalog.close)


async def _to_slash(request: web.Request) -> web.Response:
    """The page's URLs are relative and need the trailing slash."""
    raise web.HTTPPermanentRedirect(f"{request.path}/")


def _is_open(settings: GatewaySettings) -> bool:
    """Whether the page needs no login: only on loopback, and not behind a proxy with a path."""
    is_loopback = settings.host in ("127.0.0.1", "localhost", "::1")
    return is_loopback and not settings.root_path and not settings.require_login


def _listener(settings: GatewaySettings) -> socket.socket:
    """The socket inherited from the supervisor, or one that several gateways can share."""
    inherited = os.environ.get(_LISTEN_FD)
    if inherited is not None:
        return socket.socket(fileno=int(inherited))
    return listening_socket(settings.host, settings.port, shares_port=True)


async def _main(settings: GatewaySettings, watchdog: Watchdog) -> None:
    stop = stop_on_signals(asyncio.get_running_loop())
    is_shared = _LISTEN_FD in os.environ
    with contextlib.suppress(ToldToStop):
        # Probes at its address are answered from the start, and also when every connection is taken.
        metrics = GatewayMetrics()
        async with metrics_server(
            metrics,
            watchdog=watchdog,
            socket=settings.metrics_socket,
            listen=settings.metrics_listen,
        ):
            building = build(settings, stop, watchdog, metrics)
            await serve(
                building, settings, _listener(settings), stop, watchdog, is_shared=is_shared
            )


def main() -> None:
    """Entry point of `penstock gateway`."""
    die_with_parent()
    settings = load(GatewaySettings, environ=os.environ)
    if settings.serves not in ("all", "write", "read"):
        sys.exit(f"penstock: PENSTOCK_SERVES is {settings.serves!r}; it can be all, write or read")
    if not settings.secret:  # everybody could sign sessions
        sys.exit("penstock: PENSTOCK_SECRET is not set: it hashes API keys and signs sessions")
    logs.setup("gateway", settings.log_level, secrets=settings.secrets)
    watchdog = watchdog_of(settings.patience_s)
    uvloop.run(watchdog.run(_main(settings, watchdog)))


if __name__ == "__main__":
    main()
