"""Sweeps in a gateway process: the engine on its stores, and the routes' dependencies."""

from __future__ import annotations

from penstock_common.http.bodies import BodyReader
from penstock_common.process.settings import GatewaySettings
from penstock_server.trial_metrics import StoredMetrics
from penstock_storage.catalog import SqlCatalog, Sweeps
from penstock_sweeps.engine import SweepEngine
from penstock_sweeps.routes import SweepDependencies
from penstock_web.access import Access
from penstock_web.dependencies import WebDependencies
from penstock_web.session import Sessions

__all__ = ["build_engine", "sweep_dependencies"]


def build_engine(
    settings: GatewaySettings, catalog: SqlCatalog, read: WebDependencies
) -> SweepEngine:
    """The engine shared by the native and the wandb API."""
    return SweepEngine(
        Sweeps(catalog.database),
        StoredMetrics(catalog, read.store, read.note_read),
        lease_s=settings.sweep_lease_s,
    )


def sweep_dependencies(
    engine: SweepEngine, read: WebDependencies, bodies: BodyReader
) -> SweepDependencies:
    """The routes' dependencies, with the usual read access."""
    access = Access(
        read.authenticator,
        Sessions(read.catalog, read.secret),
        default_entity=read.default_entity,
        open_reads=read.open_reads,
        note_read=read.note_read,
    )
    return SweepDependencies(engine, read.authenticator, access, bodies)
