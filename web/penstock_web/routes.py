"""The routes of the read API, for an aiohttp application with `penstock_common.http.errors`'s middleware."""

from __future__ import annotations

from importlib.metadata import version

from aiohttp import web

from penstock_common.http.bodies import BODIES, STRANGERS, strangers
from penstock_common.http.errors import harden, json_response
from penstock_common.http.openapi import add_operations
from penstock_common.http.routes import Routes
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
from penstock_web.openapi import OPERATIONS
from penstock_web.pages import add_pages
from penstock_web.rows import HistoryHandler
from penstock_web.runs import RunsHandler
from penstock_web.session import SessionHandler, Sessions

__all__ = ["add_routes"]

_PROJECT = "/v1/projects/{entity}/{project}"
_RUN = "/v1/runs/{entity}/{project}/{run}"


def add_routes(app: web.Application, deps: WebDependencies) -> None:
    """Add projects, runs, keys, charts, history, ledgers, events, sessions and the page."""
    sessions = Sessions(deps.catalog, deps.secret)
    access = Access(
        deps.authenticator,
        sessions,
        default_entity=deps.default_entity,
        open_reads=deps.open_reads,
        note_read=deps.note_read,
    )
    names, finder = deps.names, deps.finder
    runs = RunsHandler(deps.store, deps.catalog, access, names, finder)
    keys = MetricKeysHandler(deps.store, runs, names, finder)
    feed = LiveFeed(deps.redis, deps.keys.live_channel(), names.forget, watchdog=deps.watchdog)
    edits = EditHandler(deps, access, names, runs)
    login = SessionHandler(deps.authenticator, sessions, deps.root_path)

    async def viewer(request: web.Request) -> web.Response:
        principal = await access.principal(request)
        return json_response(
            {
                "entity": principal.entity,
                "version": version("penstock"),
                "login_required": not access.is_open(request),
                "may_write": principal.may_write(principal.entity),
            }
        )

    async def status(request: web.Request) -> web.Response:
        principal = await access.principal(request)
        known = await deps.problems()
        mine = [each for each in known if not each.entity or principal.may_read(each.entity)]
        return json_response({"problems": [each.to_json() for each in mine]})

    app[LIVE_FEED], app[BODIES], app[STRANGERS] = feed, deps.bodies, strangers()
    app.cleanup_ctx.append(feed.running)
    app.cleanup_ctx.append(names.running)
    app.on_shutdown.append(feed.stop)
    app.on_response_prepare.append(harden)
    routes = Routes(app)
    routes.get("/v1/viewer", viewer)
    routes.get("/v1/status", status)
    routes.get("/v1/projects", runs.projects)
    routes.get(f"{_PROJECT}/runs", runs.runs)
    routes.post(f"{_PROJECT}/runs/search", runs.search)
    routes.get(f"{_PROJECT}/keys", keys.of_project)
    routes.get(f"{_PROJECT}/fields", keys.fields)
    routes.get(f"{_PROJECT}/events", EventHandler(feed, access, names).get, allow_head=False)
    routes.get(f"{_PROJECT}/diff", DiffHandler(deps.store, access, names).get)
    routes.get(_RUN, runs.run)
    routes.patch(_RUN, edits.change)
    routes.delete(_RUN, edits.delete_run)
    routes.post(f"{_PROJECT}/runs/delete", edits.delete_runs)
    routes.delete(_PROJECT, edits.delete_project)
    routes.get(f"{_RUN}/keys", keys.of_run)
    routes.get(f"{_RUN}/history", HistoryHandler(deps.store, runs, names).get, allow_head=False)
    routes.get(f"{_RUN}/alerts", AlertsHandler(deps.store, runs, names).get)
    export = ExportHandler(deps.store, deps.catalog, runs, names)
    routes.get(f"{_PROJECT}/export", export.project, allow_head=False)
    routes.get(f"{_RUN}/export", export.run, allow_head=False)
    routes.get(f"{_RUN}/export/parts", export.parts)
    ledger = LedgerHandler(deps.store, runs, names)
    routes.get(f"{_RUN}/ledger", ledger.of_run)
    routes.get(f"{_RUN}/ledger/{{writer}}", ledger.of_writer)
    files = FilesHandler(deps.files, deps.blobs, runs)
    routes.get(f"{_RUN}/files", files.list)
    routes.get(f"{_RUN}/files/{{name:.+}}", files.get)
    artifacts = ArtifactsHandler(deps, runs)
    routes.get(f"{_PROJECT}/artifacts", artifacts.collections)
    routes.get(f"{_PROJECT}/artifacts/{{name}}", artifacts.versions)
    routes.get(f"{_PROJECT}/artifacts/{{name}}/{{version}}/files", artifacts.files)
    routes.get(f"{_PROJECT}/artifacts/{{name}}/{{version}}/files/{{path:.+}}", artifacts.file)
    routes.get(f"{_RUN}/artifacts", artifacts.of_run)
    routes.get(f"{_RUN}/console", ConsoleHandler(deps.store, runs, names).get)
    media = MediaHandler(deps.store, access, runs, names)
    routes.get(f"{_PROJECT}/media", media.keys)
    routes.get(f"{_RUN}/media", media.of_run)
    routes.post("/v1/media", media.of_runs)
    routes.post("/v1/charts", ChartHandler(deps.store, access, names).post)
    routes.post("/v1/session", login.post)
    routes.delete("/v1/session", login.delete)
    api_keys = ApiKeysHandler(deps.catalog, access, deps.authenticator, deps.secret)
    routes.get("/v1/api-keys", api_keys.all)
    routes.post("/v1/api-keys", api_keys.post)
    routes.delete("/v1/api-keys/{id}", api_keys.revoke)
    add_operations(app, OPERATIONS)
    add_pages(app, deps.static)
    add_addresses(app, deps.static)
