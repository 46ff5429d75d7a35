"""What the handlers of the write side need, built once per process."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.wire import Limits
from penstock_common.http.auth import Authenticator
from penstock_common.http.bodies import BodyReader
from penstock_common.process.metrics import GatewayMetrics
from penstock_ingest.append import Appender
from penstock_ingest.bound_check import BoundCheck
from penstock_ingest.decoding import Decoding
from penstock_ingest.deletions import DeletedRuns
from penstock_ingest.pace import Pace
from penstock_ingest.positions import WriterPositions
from penstock_ingest.quota import Quota
from penstock_ingest.status import ServerStatus
from penstock_storage.contracts.catalog import Catalog

__all__ = ["IngestDependencies"]


@dataclass(frozen=True, slots=True)
class IngestDependencies:
    """What the write side's handlers need; built once per process."""

    authenticator: Authenticator
    appender: Appender
    positions: WriterPositions
    catalog: Catalog
    metrics: GatewayMetrics
    limits: Limits
    decoding: Decoding
    bodies: BodyReader
    status: ServerStatus
    pace: Pace
    quota: Quota
    deletions: DeletedRuns
    bound_check: BoundCheck
