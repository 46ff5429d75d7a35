"""An operation is declared once: its route, its checks and its part of the document follow from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from penstock.errors import Broken, Rejected
from penstock_common.http.checks import checked_json, checked_query
from penstock_common.http.endpoints import add_endpoints
from penstock_common.http.errors import middleware
from penstock_common.http.openapi import (
    Answered,
    AnyOperation,
    Asked,
    Operation,
    Raw,
    operations_of,
)
from penstock_common.process.metrics import GatewayMetrics


class ThingsQuery(Asked):
    limit: int = 10


class NewThing(Asked):
    name: str


class Thing(Answered):
    name: str


LIST_THINGS = Operation(
    "GET", "/v1/things", "things", "List things", answers={200: Thing}, query=ThingsQuery
)
ADD_THING = Operation(
    "POST", "/v1/things", "things", "Add a thing", answers={201: Thing}, body=NewThing
)
REMOVE_THING = Operation(
    "DELETE", "/v1/things/{name}", "things", "Remove a thing", answers={204: None}
)
GET_CONTENT = Operation(
    "GET", "/v1/things/{name}/files/{path:.+}", "things", "Download a file",
    answers={200: Raw("text/plain", "The file.")}, allow_head=False,
)  # fmt: skip
UPLOAD = Operation(
    "PUT", "/v1/things/{name}", "things", "Upload",
    answers={204: None}, body=[Raw("text/plain", "Text."), NewThing],
)  # fmt: skip
OPERATIONS: list[AnyOperation] = [LIST_THINGS, ADD_THING, REMOVE_THING, GET_CONTENT, UPLOAD]


async def show(request: web.Request) -> web.Response:
    return web.json_response({"method": request.method, **request.match_info})


@asynccontextmanager
async def serving(
    operations: list[AnyOperation],
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application(middlewares=[middleware(GatewayMetrics())])
    add_endpoints(app, operations, dict.fromkeys(operations, show))
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_each_operation_is_a_route() -> None:
    async with serving(OPERATIONS) as client:
        for method, path, names in (
            ("GET", "/v1/things", {}),
            ("POST", "/v1/things", {}),
            ("DELETE", "/v1/things/a%20b", {"name": "a b"}),
            ("PUT", "/v1/things/a", {"name": "a"}),
            ("GET", "/v1/things/a/files/b/c.txt", {"name": "a", "path": "b/c.txt"}),
        ):
            async with client.request(method, path) as response:
                assert await response.json() == {"method": method, **names}
        async with client.patch("/v1/things/a") as response:
            assert response.status == 405


async def test_head_is_answered_where_it_is_allowed() -> None:
    async with serving(OPERATIONS) as client:
        assert (await client.head("/v1/things")).status == 200
        assert (await client.head("/v1/things/a/files/b")).status == 405


async def test_each_operation_is_described_in_order() -> None:
    async with serving(OPERATIONS) as client, client.get("/v1/openapi.json") as response:
        paths: dict[str, Any] = (await response.json())["paths"]
    assert [(method.upper(), path) for path, found in paths.items() for method in found] == [
        ("GET", "/v1/things"),
        ("POST", "/v1/things"),
        ("DELETE", "/v1/things/{name}"),
        ("PUT", "/v1/things/{name}"),
        ("GET", "/v1/things/{name}/files/{path}"),
    ]
    assert paths["/v1/things"]["get"]["parameters"][0]["name"] == "limit"


def test_an_operation_without_a_handler_stops_the_start() -> None:
    with pytest.raises(Broken, match=r"not bound: POST /v1/things;"):
        add_endpoints(web.Application(), [LIST_THINGS, ADD_THING], {LIST_THINGS: show})


def test_a_handler_of_an_unlisted_operation_stops_the_start() -> None:
    with pytest.raises(Broken, match=r"not listed: POST /v1/things$"):
        add_endpoints(web.Application(), [LIST_THINGS], {LIST_THINGS: show, ADD_THING: show})


def test_a_modules_operations_are_found_in_their_order() -> None:
    first, second = ModuleType("first"), ModuleType("second")
    vars(first).update(UPLOAD=UPLOAD, thing=Thing, LIST_THINGS=LIST_THINGS)
    vars(second).update(ADD_THING=ADD_THING)
    assert operations_of(first, second) == [UPLOAD, LIST_THINGS, ADD_THING]


def test_requests_are_checked_with_the_operations_models() -> None:
    assert checked_query({"limit": "3"}, LIST_THINGS) == ThingsQuery(limit=3)
    assert checked_json(b'{"name": "a"}', ADD_THING) == NewThing(name="a")
    with pytest.raises(Rejected, match="unknown parameter 'most'"):
        checked_query({"most": "3"}, LIST_THINGS)
    with pytest.raises(Rejected, match="name is missing"):
        checked_json(b"{}", ADD_THING)


def test_nothing_is_checked_without_a_model() -> None:
    undeclared: AnyOperation = REMOVE_THING
    with pytest.raises(Broken, match="takes no query"):
        checked_query({}, undeclared)
    with pytest.raises(Broken, match="has no model"):
        checked_json(b"{}", undeclared)
    several: AnyOperation = UPLOAD
    with pytest.raises(Broken, match="has no model"):
        checked_json(b"{}", several)
