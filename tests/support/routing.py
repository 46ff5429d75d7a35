"""The server's router with all of its routes, and which names a path leads to."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast
from unittest.mock import MagicMock
from urllib.parse import quote

from aiohttp import web
from aiohttp.web_urldispatcher import DynamicResource
from yarl import URL

from penstock_compat.wandb.dependencies import WandbDependencies
from penstock_compat.wandb.metrics import WandbMetrics
from penstock_compat.wandb.routes import add_routes as add_wandb_routes
from penstock_ingest.dependencies import IngestDependencies
from penstock_ingest.routes import add_routes as add_write_routes
from penstock_sweeps.routes import SweepDependencies
from penstock_sweeps.routes import add_routes as add_sweep_routes
from penstock_web.dependencies import STATIC, WebDependencies
from penstock_web.routes import add_routes as add_read_routes

__all__ = ["address", "application", "named_routes", "names_found"]


def application(root_path: str = "") -> web.Application:
    """Every route that a gateway has, with nothing behind them."""
    app = web.Application()
    _add_all(app)
    if root_path:
        below = web.Application()
        _add_all(below)
        app.add_subapp(root_path, below)
    return app


def _add_all(app: web.Application) -> None:
    add_write_routes(app, MagicMock(spec=IngestDependencies))
    web_parts = MagicMock(spec=WebDependencies)
    web_parts.secret, web_parts.root_path, web_parts.static = "secret", "", STATIC
    add_read_routes(app, web_parts)
    add_sweep_routes(app, MagicMock(spec=SweepDependencies))
    wandb_parts = MagicMock(spec=WandbDependencies)
    wandb_parts.secret = "secret"
    add_wandb_routes(app, wandb_parts, MagicMock(spec=WandbMetrics))


def named_routes(app: web.Application) -> list[tuple[str, str]]:
    """(method, canonical path) of each route that has a name in its path."""
    return [
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if isinstance(route.resource, DynamicResource)
    ]


def address(path: str, names: Mapping[str, str]) -> str:
    """The path with these names in it, as clients write it."""
    return path.format(**{name: quote(value, safe="") for name, value in names.items()})


def names_found(app: web.Application, method: str, path: str) -> tuple[str, dict[str, str]]:
    """The canonical path of the route that is found, and the names that it reads."""
    asked = SimpleNamespace(method=method, rel_url=URL.build(path=path, encoded=True))
    looking = app.router.resolve(cast(web.Request, asked))
    try:
        looking.send(None)
    except StopIteration as found:
        match: web.UrlMappingMatchInfo = found.value
    else:
        raise AssertionError("the router waits for something")
    resource = match.route.resource
    return "" if resource is None else resource.canonical, dict(match)
