"""Events, sessions and the page over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from support.site import Site, running_site

pytestmark = pytest.mark.asyncio(loop_scope="module")
EVENTS = "/v1/projects/team/demo/events"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    static = tmp_path_factory.mktemp("static")
    (static / "assets").mkdir()
    (static / "index.html").write_text("<!doctype html><title>Penstock</title>")
    (static / "assets" / "index-abc123.js").write_text("1")
    (static / "favicon.svg").write_text("<svg/>")
    folder = tmp_path_factory.mktemp("site")
    async with running_site(folder, open_reads=True, static=static, root_path="/x") as site:
        await site.add_run("a", {"loss": {0: 1.0}})
        yield site


class Stream:
    """The events of one connection."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            number = None
            async for line in self._response.content:
                if line.startswith(b"id:"):
                    number = int(line[3:])
                if line.startswith(b"data:"):
                    event: dict[str, Any] = json.loads(line[5:])
                    assert event["n"] == number
                    return event
        raise AssertionError("the stream ended")


async def publish(site: Site, *messages: dict[str, Any]) -> None:
    """As workers do, all of them at once, as soon as somebody listens."""
    redis = site.redis.client()
    try:
        async with asyncio.timeout(10):
            heard = 0
            while not heard:
                await asyncio.sleep(0.02)
                pipeline = redis.pipeline(transaction=True)
                for fields in messages:
                    event = {
                        "entity": "team",
                        "project": "demo",
                        "runs": {},
                        "changed": [],
                    } | fields
                    pipeline.execute_command("PUBLISH", site.live_channel, json.dumps(event))
                heard = min(await pipeline.execute())
    finally:
        await redis.aclose()


async def test_events_reach_those_who_watch_the_project(site: Site) -> None:
    async with site.client.get(EVENTS) as response, site.client.get(EVENTS) as other:
        assert response.content_type == "text/event-stream"
        streams = [Stream(response), Stream(other)]
        for stream in streams:
            assert await stream.next() == {"n": 1, "runs": {}}
        await publish(site, {"project": "elsewhere", "runs": {"b": 1}})
        await publish(site, {"runs": {"a": 7}, "changed": ["a"]})
        for stream in streams:
            assert await stream.next() == {"n": 2, "runs": {"a": 7}, "changed": ["a"]}


async def test_events_are_merged_while_the_page_waits(site: Site) -> None:
    async with site.client.get(EVENTS) as response:
        stream = Stream(response)
        await stream.next()
        await publish(site, *({"runs": {"a": step}} for step in range(50)))
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["runs"].get("a") != 49:
            seen.append(await stream.next())
        assert len(seen) <= 3
        assert [event["n"] for event in seen] == list(range(2, 2 + len(seen)))


async def test_a_restart_of_redis_makes_a_gap(site: Site) -> None:
    async with site.client.get(EVENTS) as response:
        stream = Stream(response)
        await stream.next()
        await site.redis.stop()
        await site.redis.start()
        assert (await stream.next())["n"] == 3
        await publish(site, {"runs": {"a": 9}})
        assert await stream.next() == {"n": 4, "runs": {"a": 9}}


async def test_rubbish_on_the_channel_harms_nobody(site: Site) -> None:
    async with site.client.get(EVENTS) as response:
        stream = Stream(response)
        await stream.next()
        redis = site.redis.client()
        for message in (b"\xff", b"[]", b'{"entity": 1}'):
            await redis.publish(site.live_channel, message)
        await redis.aclose()
        await publish(site, {"runs": {"a": 1}})
        assert (await stream.next())["runs"] == {"a": 1}


async def test_loopback_reads_need_no_login_unless_a_proxy_asks(site: Site) -> None:
    async with site.client.get("/v1/viewer") as response:
        assert (await response.json())["login_required"] is False
    for headers in (
        {"X-Forwarded-For": "1.2.3.4"},
        {"Via": "1.1 proxy"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "localhost.evil.example"},
    ):
        async with site.client.get("/v1/viewer", headers=headers) as response:
            assert response.status == 401, headers
    for host in ("localhost", "localhost:80", "[::1]:8080", "[::1]", "127.0.0.1"):
        async with site.client.get("/v1/viewer", headers={"Host": host}) as response:
            assert response.status == 200, host


async def test_an_open_server_shows_only_its_own_entity(site: Site) -> None:
    await site.add_run("theirs", {"loss": {0: 1.0}}, entity="strangers", project="private")
    async with site.client.get("/v1/runs/strangers/private/theirs") as response:
        assert response.status == 404
    async with site.client.get("/v1/projects") as response:
        assert {each["entity"] for each in (await response.json())["projects"]} == {"team"}


BEHIND_PROXY = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}


async def log_in(site: Site, key: str) -> aiohttp.ClientResponse:
    return await site.client.post("/v1/session", json={"api_key": key}, headers=BEHIND_PROXY)


async def viewer(site: Site, cookie: str) -> int:
    headers = {**BEHIND_PROXY, "Cookie": f"penstock_session={cookie}"}
    async with site.client.get("/v1/viewer", headers=headers) as response:
        return response.status


async def test_a_session_lasts_until_it_is_tampered_with(site: Site) -> None:
    response = await log_in(site, site.key)
    assert response.status == 204
    morsel = SimpleCookie(response.headers["Set-Cookie"])["penstock_session"]
    assert morsel["httponly"]
    assert morsel["secure"]
    assert morsel["samesite"] == "Lax"
    assert morsel["path"] == "/x"
    assert morsel["max-age"] == str(7 * 24 * 3600)
    site.client.session.cookie_jar.clear()
    cookie = morsel.value
    assert site.key not in cookie
    assert await viewer(site, cookie) == 200
    key_id, expires, signature = cookie.split(".")
    for forged in (
        f"{key_id}.{int(expires) + 1}.{signature}",
        f"other.{expires}.{signature}",
        f"{key_id}.{expires}.{signature[:-1]}",
        "..", "", "a", f"{key_id}.x.{signature}",
    ):  # fmt: skip
        assert await viewer(site, forged) == 401
    async with site.client.delete("/v1/session") as response:
        assert response.status == 204


async def test_wrong_keys_are_refused_and_counted(site: Site) -> None:
    for fields in ({"api_key": 5}, {}):
        async with site.client.post("/v1/session", json=fields) as response:
            assert response.status == 400
    cross = {"Sec-Fetch-Site": "cross-site"}
    async with site.client.post(
        "/v1/session", json={"api_key": site.key}, headers=cross
    ) as response:
        assert response.status == 403
    statuses = [(await log_in(site, "penstock_user_wrong")).status for _ in range(12)]
    assert statuses[:10] == [401] * 10
    assert statuses[10:] == [429] * 2


async def test_the_page_has_strict_headers(site: Site) -> None:
    async with site.client.get("/") as response:
        assert response.status == 200
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-cache"
    async with site.client.get("/assets/index-abc123.js") as response:
        assert "immutable" in response.headers["Cache-Control"]
        assert response.content_type in ("text/javascript", "application/javascript")
    for path in ("/assets/", "/assets/nothing.js", "/../catalog.db", "/assets/%2e%2e/index.html"):
        async with site.client.get(path) as response:
            assert response.status == 404, path
    async with site.client.get("/v1/viewer") as response:
        assert response.headers["Cache-Control"] == "no-store"


async def test_without_a_built_page_the_api_says_so(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site, site.client.get("/") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "no_page"
