"""Addresses that other tools print for projects, runs and sweeps lead to the page's own.

The page keeps what it shows in the query of one address: `/?project=entity/project&run=id`. The
answers are relative, so that they hold under any path that a proxy puts before them.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from penstock_common.routes import Routes

__all__ = ["add_addresses"]

_OWN = frozenset({"v1", "files", "graphql", "assets", "sdk", "authorize"})
"""First parts of paths that are no entity's here."""


def add_addresses(app: web.Application, static: Path) -> None:
    """Add `/{entity}/{project}` and what is below it, behind every route that is there already."""
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
