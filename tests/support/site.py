"""The read side in this process, over a real store, catalog and Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from support.catalogs import new_catalog_file
from support.media import store_file
from support.redis import RedisHandle, running_redis
from support.series import SeriesData, store_series
from support.store import shared_store

from penstock_common.http.auth import KeyAuthenticator, mint_key
from penstock_common.http.bodies import BodyReader
from penstock_common.http.errors import middleware
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.queue.redis_keys import RedisKeys
from penstock_storage.blobs.blob_store import BlobStore, open_blobs
from penstock_storage.catalog.artifacts.artifact_catalog import Artifacts
from penstock_storage.catalog.runs.run_files import RunFile, RunFiles
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.connect import open_catalog
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import RunRef, RunRow
from penstock_storage.search.finder import Finder
from penstock_web.dependencies import WebDependencies
from penstock_web.names import Names
from penstock_web.routes import add_routes

__all__ = ["Site", "running_site"]

SECRET = "pepper"
PREFIX = "web"
Client = TestClient[web.Request, web.Application]


@dataclass
class Site:
    """A served read side. `key` reads the entity `team`; `stranger` another one."""

    client: Client
    store: ClickHouse
    catalog: Catalog
    redis: RedisHandle
    key: str
    stranger: str
    key_id: str
    admin: str
    files: RunFiles
    blobs: BlobStore
    artifacts: Artifacts
    live_channel: str = field(default=f"{PREFIX}:live")

    @property
    def url(self) -> str:
        return str(self.client.make_url("")).rstrip("/")

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def add_run(
        self,
        run: str,
        curves: Mapping[str, Mapping[int, float]],
        *,
        project: str = "demo",
        entity: str = "team",
        started: int = 1_700_000_000_000_000,
        kinds: Mapping[str, int] | None = None,
    ) -> RunRow:
        """A run with one lane and these points."""
        ref = RunRef(entity, project, run)
        row = (await self.catalog.ensure_runs([ref]))[ref]
        keys = await self.catalog.ensure_keys(row.project_number, list(curves))
        lanes = await self.catalog.ensure_lanes([(row.number, f"writer-{run}", 0, started)])
        lane = lanes[row.number, f"writer-{run}"]
        series = [
            SeriesData(keys[key], row.number, lane, dict(points), kinds=(kinds or {}).get(key, 1))
            for key, points in curves.items()
        ]
        if series:
            await store_series(self.store, series)
        return row

    async def add_file(self, run: RunRow, name: str, content: bytes) -> RunFile:
        """A file of a run, as an upload leaves it."""
        return await store_file(self.files, self.blobs, run.number, name, content)


async def _add_key(catalog: Catalog, entity: str, scopes: Sequence[str]) -> tuple[str, str]:
    key, text = mint_key("user", entity, frozenset(scopes), SECRET)
    await catalog.add_api_key(key, "test")
    return text, key.id


@asynccontextmanager
async def running_site(
    path: Path, *, open_reads: bool = False, static: Path | None = None, root_path: str = ""
) -> AsyncIterator[Site]:
    """A site with files in `path`."""
    async with shared_store() as address, running_redis(path) as redis_process:
        store, redis = address.client(), redis_process.client()
        catalog = open_catalog(await new_catalog_file(path / "catalog.db"))
        await store.setup()
        files, blobs = RunFiles(catalog.database), open_blobs(str(path / "blobs"))
        artifacts = Artifacts(catalog.database)
        app = web.Application(middlewares=[middleware(GatewayMetrics())])
        names = Names(catalog)
        deps = WebDependencies(
            store=store,
            catalog=catalog,
            authenticator=KeyAuthenticator(catalog.api_key, SECRET),
            redis=redis,
            keys=RedisKeys(PREFIX),
            secret=SECRET,
            default_entity="team",
            names=names,
            finder=Finder(store, catalog, names),
            files=files,
            blobs=blobs,
            artifacts=artifacts,
            bodies=BodyReader(in_flight_bytes=64 * 2**20, timeout_s=10.0),
            open_reads=open_reads,
            root_path=root_path,
            static=path / "no-page" if static is None else static,
        )
        add_routes(app, deps)
        key, key_id = await _add_key(catalog, "team", ["read", "write"])
        stranger, _ = await _add_key(catalog, "strangers", ["read", "write"])
        admin, _ = await _add_key(catalog, "root", ["admin"])
        async with TestClient(TestServer(app, handler_cancellation=True)) as client:
            yield Site(
                client, store, catalog, redis_process, key, stranger, key_id, admin,
                files, blobs, artifacts,
            )  # fmt: skip
        await redis.aclose()
        await store.close()
        await catalog.close()
