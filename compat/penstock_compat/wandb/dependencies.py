"""Dependencies of the wandb API's handlers, built once per process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from penstock.wire import Limits
from penstock_common.http.auth import Authenticator
from penstock_common.http.bodies import BodyReader
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.queue.demand import no_demand
from penstock_common.queue.redis_keys import RedisKeys
from penstock_ingest.append import Appender
from penstock_ingest.bound_check import BoundCheck
from penstock_ingest.positions import WriterPositions
from penstock_ingest.quota import Quota
from penstock_ingest.status import ServerStatus
from penstock_storage.blobs.blob_store import BlobStore
from penstock_storage.catalog import SqlCatalog
from penstock_storage.catalog.artifacts.artifact_catalog import Artifacts
from penstock_storage.catalog.runs.line_streams import LineStreams
from penstock_storage.catalog.runs.run_files import RunFiles
from penstock_storage.contracts.interface import PointStore
from penstock_storage.search.finder import Finder
from penstock_sweeps.engine import SweepEngine
from penstock_web.names import Names

__all__ = ["WandbDependencies"]


@dataclass(frozen=True, slots=True)
class WandbDependencies:
    """Stores, queue and limits; `secret` signs the URLs of uploads and downloads, and `upload_bytes`
    limits a file's size; `note_read` is awaited before what runs logged is read."""

    store: PointStore
    catalog: SqlCatalog
    blobs: BlobStore
    files: RunFiles
    redis: Redis
    keys: RedisKeys
    appender: Appender
    positions: WriterPositions
    status: ServerStatus
    quota: Quota
    room: BoundCheck
    authenticator: Authenticator
    metrics: GatewayMetrics
    limits: Limits
    bodies: BodyReader
    streams: LineStreams
    artifacts: Artifacts
    names: Names
    finder: Finder
    sweeps: SweepEngine
    secret: str
    root_path: str = ""
    upload_bytes: int = 64 * 2**30
    note_read: Callable[[], Awaitable[None]] = no_demand
