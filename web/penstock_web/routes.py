"""The routes of the read API, for an aiohttp application with `penstock_common.http.errors`'s middleware."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from penstock_common.http.bodies import BODIES, STRANGERS, strangers
from penstock_common.http.endpoints import add_endpoints
from penstock_common.http.errors import harden
from penstock_common.http.openapi import AnyOperation
from penstock_web.access import Access
from penstock_web.addresses import add_addresses
from penstock_web.alerts import AlertsHandler
from penstock_web.api_keys import ApiKeysHandler
from penstock_web.artifacts import ArtifactsHandler
from penstock_web.console import ConsoleHandler
from penstock_web.curves import ChartHandler
from penstock_web.dependencies import WebDependencies
from penstock_web.differences import DiffHandler
from penstock_web.editing import EditHandler
from penstock_web.events import EventHandler
from penstock_web.exports import ExportHandler
from penstock_web.files import FilesHandler
from penstock_web.ledger import LedgerHandler
from penstock_web.live import LIVE_FEED, LiveFeed
from penstock_web.media import MediaHandler
from penstock_web.metric_keys import MetricKeysHandler
from penstock_web.models import (
    alerts,
    artifacts,
    charts,
    console,
    diff,
    edits,
    export,
    files,
    history,
    ledger,
    media,
    metric_keys,
    runs,
    site,
)
from penstock_web.openapi import OPERATIONS
from penstock_web.pages import add_pages
from penstock_web.rows import HistoryHandler
from penstock_web.runs import RunsHandler
from penstock_web.session import SessionHandler, Sessions
from penstock_web.site import SiteHandler

__all__ = ["add_routes"]


def add_routes(app: web.Application, deps: WebDependencies) -> None:
    """Add projects, runs, keys, charts, history, ledgers, events, sessions and the page."""
    names = deps.names
    feed = LiveFeed(deps.redis, deps.keys.live_channel(), names.forget, watchdog=deps.watchdog)
    app[LIVE_FEED], app[BODIES], app[STRANGERS] = feed, deps.bodies, strangers()
    app.cleanup_ctx.append(feed.running)
    app.cleanup_ctx.append(names.running)
    app.on_shutdown.append(feed.stop)
    app.on_response_prepare.append(harden)
    add_endpoints(app, OPERATIONS, _handlers(deps, feed))
    add_pages(app, deps.static)
    add_addresses(app, deps.static)


def _handlers(deps: WebDependencies, feed: LiveFeed) -> dict[AnyOperation, Handler]:
    """Each operation's handler."""
    store, catalog, names = deps.store, deps.catalog, deps.names
    sessions = Sessions(catalog, deps.secret)
    access = Access(
        deps.authenticator,
        sessions,
        default_entity=deps.default_entity,
        open_reads=deps.open_reads,
        note_read=deps.note_read,
    )
    site_handler = SiteHandler(access, deps.problems)
    session_handler = SessionHandler(deps.authenticator, sessions, deps.root_path)
    api_keys_handler = ApiKeysHandler(catalog, access, deps.authenticator, deps.secret)
    runs_handler = RunsHandler(store, catalog, access, names, deps.finder)
    edit_handler = EditHandler(deps, access, names, runs_handler)
    keys_handler = MetricKeysHandler(store, runs_handler, names, deps.finder)
    media_handler = MediaHandler(store, access, runs_handler, names)
    files_handler = FilesHandler(deps.files, deps.blobs, runs_handler)
    artifacts_handler = ArtifactsHandler(deps, runs_handler)
    export_handler = ExportHandler(store, catalog, runs_handler, names)
    ledger_handler = LedgerHandler(store, runs_handler, names)
    return {
        site.GET_VIEWER: site_handler.viewer,
        site.GET_STATUS: site_handler.status,
        site.LIST_PROJECTS: runs_handler.projects,
        site.STREAM_EVENTS: EventHandler(feed, access, names).get,
        site.LOG_IN: session_handler.post,
        site.LOG_OUT: session_handler.delete,
        site.CREATE_API_KEY: api_keys_handler.post,
        site.LIST_API_KEYS: api_keys_handler.all,
        site.REVOKE_API_KEY: api_keys_handler.revoke,
        runs.LIST_RUNS: runs_handler.runs,
        runs.SEARCH_RUNS: runs_handler.search,
        runs.GET_RUN: runs_handler.run,
        edits.EDIT_RUN: edit_handler.change,
        edits.DELETE_RUN: edit_handler.delete_run,
        edits.DELETE_RUNS: edit_handler.delete_runs,
        edits.DELETE_PROJECT: edit_handler.delete_project,
        metric_keys.LIST_KEYS: keys_handler.of_project,
        metric_keys.LIST_RUN_KEYS: keys_handler.of_run,
        metric_keys.LIST_FIELDS: keys_handler.fields,
        history.GET_HISTORY: HistoryHandler(store, runs_handler, names).get,
        alerts.LIST_ALERTS: AlertsHandler(store, runs_handler, names).get,
        charts.GET_CHARTS: ChartHandler(store, access, names).post,
        media.LIST_MEDIA_KEYS: media_handler.keys,
        media.GET_MEDIA: media_handler.of_runs,
        media.GET_RUN_MEDIA: media_handler.of_run,
        files.LIST_FILES: files_handler.list,
        files.DOWNLOAD_FILE: files_handler.get,
        artifacts.LIST_COLLECTIONS: artifacts_handler.collections,
        artifacts.LIST_VERSIONS: artifacts_handler.versions,
        artifacts.LIST_ARTIFACT_FILES: artifacts_handler.files,
        artifacts.DOWNLOAD_ARTIFACT_FILE: artifacts_handler.file,
        artifacts.LIST_RUN_ARTIFACTS: artifacts_handler.of_run,
        console.GET_CONSOLE: ConsoleHandler(store, runs_handler, names).get,
        diff.GET_DIFF: DiffHandler(store, access, names).get,
        export.EXPORT_RUN: export_handler.run,
        export.LIST_EXPORT_PARTS: export_handler.parts,
        export.EXPORT_PROJECT: export_handler.project,
        ledger.GET_LEDGER: ledger_handler.of_run,
        ledger.GET_LEDGER_PAGE: ledger_handler.of_writer,
    }
