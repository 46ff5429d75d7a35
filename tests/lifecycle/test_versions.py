"""Two versions at once: a cluster is upgraded pod by pod, and taken back, under load.

The earlier one has another revision of the catalog, which the first new pod brings up to date while the old ones go
on; it is killed at that a few times before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from support.pods.cluster import Cluster, running_cluster
from support.pods.release import CURRENT, Release
from support.pods.releases import earlier_release
from support.pods.scenes import Play
from support.postgres import running_postgres, why_no_postgres

from penstock_storage.catalog.database import Database
from penstock_storage.catalog.migrations import HEAD

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

KILLED_AFTER_S = (0.5, 1.0, 1.5, 2.0)
LONG_LEASE = {"lease_s": 600}


@pytest.fixture
def earlier() -> Iterator[Release]:
    with earlier_release() as release:
        yield release


@asynccontextmanager
async def new_catalog(kind: str, folder: Path) -> AsyncIterator[str]:
    if kind == "sqlite":
        yield f"sqlite+aiosqlite:///{folder / 'catalog.db'}"
        return
    if reason := why_no_postgres():
        pytest.skip(reason)
    async with running_postgres() as server:
        yield await server.new_database()


async def revision(url: str) -> str:
    database = Database(url)
    try:
        async with database.reading() as connection:
            return str(await connection.scalar(text("SELECT version_num FROM alembic_version")))
    finally:
        await database.close()


async def roll(cluster: Cluster, role: str, release: Release) -> None:
    """Replace every pod of this role by one of this version, the new one first."""
    settings = LONG_LEASE if role == "worker" else {}
    for pod in [each for each in cluster.pods if each.name.startswith(role)]:
        await cluster.start(role, release=release, settings=settings)
        await cluster.retire(pod)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_upgrade_and_roll_back(
    tmp_path: Path, scene: Play, earlier: Release, kind: str
) -> None:
    """Two versions at once: rolling upgrade, with the first new pod killed in its start, and roll-back."""
    async with (
        new_catalog(kind, tmp_path) as url,
        running_cluster(
            tmp_path, catalog_url=url, release=earlier, worker_settings=LONG_LEASE
        ) as cluster,
        scene(cluster) as playing,
    ):
        before = await revision(url)
        assert before < HEAD
        for after_s in KILLED_AFTER_S:
            pod = cluster.pod("worker")
            pod.begin()
            await asyncio.sleep(after_s)
            await cluster.retire(pod, grace_s=0)
            assert await revision(url) in (before, HEAD)
        for role in ("worker", "gateway", "web"):
            await roll(cluster, role, CURRENT)
            await playing.load.flowing()
        assert await revision(url) == HEAD
        for role in ("web", "gateway", "worker"):
            await roll(cluster, role, earlier)
            await playing.load.flowing()
        assert await revision(url) == HEAD
