"""Dependencies of the read side's handlers, built once per process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from penstock_common.http.auth import Authenticator
from penstock_common.http.bodies import BodyReader
from penstock_common.process.watchdog import Watchdog
from penstock_common.queue.demand import no_demand
from penstock_common.queue.problems import Problem
from penstock_common.queue.redis_keys import RedisKeys
from penstock_storage.blobs.blob_store import BlobStore
from penstock_storage.catalog.artifacts.artifact_catalog import Artifacts
from penstock_storage.catalog.runs.run_files import RunFiles
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore
from penstock_storage.search.finder import Finder
from penstock_web.names import Names

__all__ = ["STATIC", "WebDependencies"]

STATIC = Path(__file__).parent / "static"
"""The built page in the wheel."""


async def no_problems() -> Sequence[Problem]:
    """The default: no problems are checked for."""
    return ()


@dataclass(frozen=True, slots=True)
class WebDependencies:
    """`open_reads`: callers on this machine may read `default_entity`'s data without a key; `note_read` is
    awaited whenever somebody reads."""

    store: PointStore
    catalog: Catalog
    authenticator: Authenticator
    redis: Redis
    keys: RedisKeys
    secret: str
    default_entity: str
    names: Names
    finder: Finder
    files: RunFiles
    blobs: BlobStore
    artifacts: Artifacts
    bodies: BodyReader
    open_reads: bool = False
    root_path: str = ""
    static: Path = STATIC
    watchdog: Watchdog = field(default_factory=Watchdog)
    problems: Callable[[], Awaitable[Sequence[Problem]]] = no_problems
    note_read: Callable[[], Awaitable[None]] = no_demand
