"""Which requests may change something: those of this server's own pages, and those of no page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from penstock_common.http.errors import middleware
from penstock_common.http.proxies import PROXIES, Proxies
from penstock_common.http.routes import Routes
from penstock_common.process.metrics import GatewayMetrics

pytestmark = pytest.mark.asyncio
Client = TestClient[web.Request, web.Application]
COOKIE = {"Cookie": "a=b; penstock_session=x.1.y"}
JSON = {"Content-Type": "application/json"}
HOST = "tracker.example:8080"
METHODS = ("POST", "PUT", "PATCH", "DELETE")


@asynccontextmanager
async def serving(trusted_proxies: str = "") -> AsyncIterator[Client]:
    async def changed(_: web.Request) -> web.Response:
        return web.Response(text="changed")

    app = web.Application(middlewares=[middleware(GatewayMetrics())])
    app[PROXIES] = Proxies(trusted_proxies)
    routes = Routes(app)
    for method in METHODS:
        routes.add(method, "/thing", changed)
    routes.put("/signed", changed, signed=True)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


async def status(
    client: Client,
    headers: Mapping[str, str],
    *,
    method: str = "POST",
    host: str = HOST,
    body: bytes | None = b"{}",
    path: str = "/thing",
) -> int:
    given = {"Host": host, **COOKIE, **JSON, **headers}
    async with client.request(method, path, data=body, headers=given) as reply:
        return reply.status


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        (HOST, "http://tracker.example:8080", 200),
        (HOST, "http://TRACKER.example:8080", 200),
        ("Tracker.Example:8080", "HTTP://tracker.example:8080", 200),
        ("tracker.example", "http://tracker.example", 200),
        ("tracker.example:80", "http://tracker.example", 200),
        ("tracker.example", "http://tracker.example:80", 200),
        ("[::1]:8080", "http://[::1]:8080", 200),
        ("[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080", 200),
        ("[::1]", "http://[::1]:80", 200),
        (HOST, "null", 403),
        (HOST, "", 403),
        (HOST, "http://tracker.example:8081", 403),
        (HOST, "http://tracker.example", 403),
        (HOST, "https://tracker.example:8080", 403),
        ("tracker.example", "https://tracker.example", 403),
        (HOST, "http://evil.example:8080", 403),
        (HOST, "http://tracker.example.evil:8080", 403),
        (HOST, "http://tracker.example:8080@evil.example", 403),
        (HOST, "http://evil.example#tracker.example:8080", 403),
        (HOST, "http://tracker.example:8080, http://evil.example", 403),
        (HOST, "http://tracker.example:8080/", 403),
        ("[::1]:8080", "http://[::2]:8080", 403),
        ("[::1]:8080", "http://[::1", 403),
        (HOST, "file://", 403),
        (HOST, "ü\udcff", 403),
    ],
)
async def test_over_plain_http_the_origin_decides(
    client: Client, method: str, host: str, origin: str, expected: int
) -> None:
    assert await status(client, {"Origin": origin}, method=method, host=host) == expected


@pytest.mark.parametrize(
    ("referer", "expected"),
    [
        ("http://tracker.example:8080/?project=a/b", 200),
        ("http://tracker.example:8080", 200),
        ("http://tracker.example:8081/", 403),
        ("http://evil.example/http://tracker.example:8080/", 403),
        ("about:blank", 403),
    ],
)
async def test_without_an_origin_the_referer_does(
    client: Client, referer: str, expected: int
) -> None:
    assert await status(client, {"Referer": referer}) == expected
    right = {"Referer": referer, "Origin": f"http://{HOST}"}
    assert await status(client, right) == 200


@pytest.mark.parametrize(
    ("site", "expected"),
    [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("", 403), ("x", 403)],
)  # fmt: skip
async def test_where_the_browser_says_the_site_that_decides(
    client: Client, site: str, expected: int
) -> None:
    assert await status(client, {"Sec-Fetch-Site": site}) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/jsonp", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=a", 415),
        ("", 415),
    ],
)
async def test_with_a_session_a_body_is_json(client: Client, given: str, expected: int) -> None:
    assert await status(client, {"Content-Type": given}) == expected
    anonymous = {"Cookie": "a=b", "Content-Type": given}
    assert await status(client, anonymous) == 200


async def test_a_session_without_a_body_needs_no_type(client: Client) -> None:
    headers = {"Host": HOST, **COOKIE}
    async with client.delete("/thing", headers=headers) as reply:
        assert reply.status == 200


@pytest.mark.parametrize(
    "foreign", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_a_key_in_a_header_works_from_anywhere(
    client: Client, foreign: dict[str, str]
) -> None:
    bearer = {"Authorization": "Bearer penstock_x", "Content-Type": "text/plain"}
    assert await status(client, {**bearer, **foreign}) == 200
    # A browser that was given name and password once sends them by itself.
    basic = {"Authorization": "Basic YTpi"}
    assert await status(client, basic) == 200
    assert await status(client, {**basic, **foreign}) == 403
    assert await status(client, foreign, method="PUT", path="/signed") == 200


@pytest.mark.parametrize(
    ("trusted", "expected"), [("", 403), ("127.0.0.1", 200), ("10.0.0.1", 403)]
)
async def test_a_trusted_proxy_says_what_the_browser_asked_for(trusted: str, expected: int) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "tracker.example"}
    origin = {"Origin": "https://tracker.example"}
    async with serving(trusted) as client:
        assert await status(client, {**forwarded, **origin}, host="10.0.0.9:8080") == expected
