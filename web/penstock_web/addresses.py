"""Redirects other tools' URLs of projects, runs and sweeps to the page's own.

The page keeps its state in the query of one URL: `/?project=entity/project&run=id`. Redirects are
relative, so that they work behind any proxy path.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from penstock_common.http.routes import Routes

__all__ = ["add_addresses"]

_OWN = frozenset({"v1", "files", "graphql", "assets", "sdk", "authorize"})
"""First path segments that are not entities."""


def add_addresses(app: web.Application, static: Path) -> None:
    """Add `/{entity}/{project}` and its subpaths, after all existing routes."""
    taken = _OWN | {path.name for path in static.glob("*")}
    names = "|".join(sorted(name.replace(".", r"\.") for name in taken))
    project = rf"/{{entity:(?!(?:{names})/)[^/]+}}/{{project}}"
    routes = Routes(app)
    routes.get(project, _project)
    routes.get(f"{project}/{{kind:runs|sweeps}}/{{id}}", _below_project)


async def _project(request: web.Request) -> web.Response:
    raise web.HTTPFound(f"../{_query(request)}")


async def _below_project(request: web.Request) -> web.Response:
    names = request.match_info
    kind = names["kind"].removesuffix("s")
    raise web.HTTPFound(f"../../../{_query(request)}&{kind}={quote(names['id'], safe='')}")


def _query(request: web.Request) -> str:
    names = request.match_info
    project = "/".join(quote(names[name], safe="") for name in ("entity", "project"))
    return f"?project={project}"
