"""API keys and sessions that end: revoked, expired, logged out, on every server that shares a catalog."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.site import SECRET, Site, running_site

from penstock_common.http import auth
from penstock_common.http.auth import KeyAuthenticator, mint_key
from penstock_web import session as session_module
from penstock_web.session import Sessions

pytestmark = pytest.mark.asyncio(loop_scope="module")
BEHIND_PROXY = {"X-Forwarded-For": "1.2.3.4"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(folder: Path) -> AsyncIterator[Site]:
    async with running_site(folder) as site:
        yield site


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cached for 30 seconds is looked up each time, as it would be half a minute later."""
    monkeypatch.setattr(auth, "_CACHE_S", 0.0)
    monkeypatch.setattr(session_module, "_CACHE_S", 0.0)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def new_key(site: Site, *scopes: str, entity: str = "team", expires_at: int = 0) -> str:
    key, text = mint_key("user", entity, frozenset(scopes), SECRET, expires_at=expires_at)
    await site.catalog.add_api_key(key, "a laptop")
    return text


async def ask(
    site: Site, method: str, path: str, headers: Mapping[str, str], body: object = None
) -> tuple[int, Any]:
    site.client.session.cookie_jar.clear()
    async with site.client.request(method, path, json=body, headers=headers) as reply:
        return reply.status, await reply.json() if reply.content_length else None


async def log_in(site: Site, key: str) -> dict[str, str]:
    async with site.client.post("/v1/session", json={"api_key": key}) as reply:
        assert reply.status == 204
        return {"Cookie": reply.headers["Set-Cookie"].split(";")[0]}


async def is_in(site: Site, headers: Mapping[str, str]) -> bool:
    status, _ = await ask(site, "GET", "/v1/viewer", headers)
    assert status in (200, 401)
    return status == 200


async def elsewhere(site: Site, cookie: Mapping[str, str]) -> bool:
    """Whether another process with the same catalog and secret knows the session."""
    value = cookie["Cookie"].partition("=")[2]
    return await Sessions(site.catalog, SECRET).principal(value) is not None


async def test_a_logout_ends_the_session_and_no_other(site: Site) -> None:
    one, two = await log_in(site, site.key), await log_in(site, site.key)
    assert one != two
    copied = dict(one)
    assert (await ask(site, "DELETE", "/v1/session", one))[0] == 204
    assert not await is_in(site, copied)
    assert not await elsewhere(site, copied)
    assert await is_in(site, two)
    assert await is_in(site, site.auth)


async def test_a_logout_everywhere_ends_all_of_the_key(site: Site) -> None:
    other = await log_in(site, await new_key(site, "read"))
    sessions = [await log_in(site, site.key) for _ in range(3)]
    path = "/v1/session?everywhere=true"
    assert (await ask(site, "DELETE", path, sessions[0]))[0] == 204
    for each in sessions:
        assert not await is_in(site, each)
        assert not await elsewhere(site, each)
    assert await is_in(site, other)


async def test_a_forged_cookie_ends_nothing(site: Site) -> None:
    session = await log_in(site, site.key)
    forged = {"Cookie": session["Cookie"][:-2] + "AA"}
    assert (await ask(site, "DELETE", "/v1/session?everywhere=true", forged))[0] == 204
    assert (await ask(site, "DELETE", "/v1/session?everywhere=perhaps", session))[0] == 400
    assert await is_in(site, session)


async def test_the_catalog_holds_nothing_that_logs_in(site: Site, folder: Path) -> None:
    session = await log_in(site, site.key)
    secret = re.split("[=.]", session["Cookie"])[1]
    stored = b"".join(path.read_bytes() for path in folder.glob("catalog.db*"))
    assert len(stored) > 0
    assert secret.encode() not in stored
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in stored


async def test_a_duplicate_cookie_of_another_page_is_passed_over(site: Site) -> None:
    session = (await log_in(site, site.key))["Cookie"]
    for cookie in (
        f"penstock_session=x.1.y; {session}",
        f"{session}; penstock_session=x",
        f"theirs=\xff; {session}; penstock_session=",
    ):
        assert await is_in(site, {"Cookie": cookie}), cookie


async def test_a_revoked_key_opens_nothing(site: Site) -> None:
    key = await new_key(site, "read", "write")
    session = await log_in(site, key)
    key_id = key.split("_")[2]
    status, answer = await ask(site, "DELETE", f"/v1/api-keys/{key_id}", site.auth)
    assert (status, answer["id"], answer["revoked"]) == (200, key_id, True)
    assert not await is_in(site, bearer(key))
    assert not await is_in(site, session)
    assert not await elsewhere(site, session)
    other = KeyAuthenticator(site.catalog.api_key, SECRET)
    assert not await other.is_good(key_id)
    async with site.client.post("/v1/session", json={"api_key": key}) as reply:
        assert (await reply.json())["error"]["code"] == "revoked_key"


async def test_a_revocation_counts_at_once_where_it_was_asked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_CACHE_S", 1e6)
    key = await new_key(site, "read")
    assert await is_in(site, bearer(key))
    await ask(site, "DELETE", f"/v1/api-keys/{key.split('_')[2]}", site.auth)
    assert not await is_in(site, bearer(key))


async def test_a_key_that_expires_ends_with_what_it_made(site: Site) -> None:
    soon = int((time.time() + 3600) * 1e6)
    key = await new_key(site, "read", "write", expires_at=soon)
    status, made = await ask(site, "POST", "/v1/api-keys", bearer(key), {"label": "child"})
    assert (status, made["expires_at"]) == (201, pytest.approx(soon / 1e6))
    later = {"expires_at": time.time() + 7200}
    assert (await ask(site, "POST", "/v1/api-keys", bearer(key), later))[1]["expires_at"] < (
        time.time() + 3601
    )
    past = {"expires_at": time.time() - 1}
    assert (await ask(site, "POST", "/v1/api-keys", bearer(key), past))[0] == 400
    expired = await new_key(site, "read", expires_at=1)
    assert not await is_in(site, bearer(expired))


async def test_keys_are_listed_without_secrets(site: Site) -> None:
    key = await new_key(site, "read")
    assert await is_in(site, bearer(key))
    status, answer = await ask(site, "GET", "/v1/api-keys", site.auth)
    assert status == 200
    assert key.split("_")[3] not in str(answer)
    assert {each["entity"] for each in answer["api_keys"]} == {"team"}
    row = next(each for each in answer["api_keys"] if each["id"] == key.split("_")[2])
    assert (row["scopes"], row["label"], row["revoked"]) == (["read"], "a laptop", False)
    assert row["expires_at"] is None
    _, everything = await ask(site, "GET", "/v1/api-keys", bearer(site.admin))
    assert {"team", "strangers", "root"} <= {each["entity"] for each in everything["api_keys"]}


async def test_only_owners_have_to_do_with_keys(site: Site) -> None:
    reader = bearer(await new_key(site, "read"))
    admin = (await new_key(site, "read", "write", "admin")).split("_")[2]
    stranger = site.stranger.split("_")[2]
    assert (await ask(site, "GET", "/v1/api-keys", reader))[0] == 403
    assert (await ask(site, "DELETE", f"/v1/api-keys/{site.key_id}", reader))[0] == 403
    assert (await ask(site, "GET", "/v1/api-keys", BEHIND_PROXY))[0] == 401
    assert (await ask(site, "DELETE", f"/v1/api-keys/{stranger}", site.auth))[0] == 404
    assert (await ask(site, "DELETE", "/v1/api-keys/nobody", site.auth))[0] == 404
    assert (await ask(site, "DELETE", f"/v1/api-keys/{admin}", site.auth))[0] == 403
    assert (await ask(site, "DELETE", f"/v1/api-keys/{admin}", bearer(site.admin)))[0] == 200


async def test_the_use_of_a_key_is_noted(site: Site) -> None:
    key = await new_key(site, "read")
    noting = KeyAuthenticator(site.catalog.api_key, SECRET, site.catalog.accounts.key_used)
    before = time.time() * 1e6
    for _ in range(3):
        await noting.authenticate(bearer(key))
    while noting._notes:
        await next(iter(noting._notes))
    rows = {row.id: row for row in await site.catalog.accounts.keys("team")}
    assert rows[key.split("_")[2]].last_used_at >= before - 1


async def test_a_live_stream_ends_with_its_session(site: Site) -> None:
    await site.add_run("live", {"loss": {0: 1.0}})
    session = await log_in(site, site.key)
    site.client.session.cookie_jar.clear()
    async with site.client.get("/v1/projects/team/demo/events", headers=session) as stream:
        assert stream.status == 200
        await stream.content.readuntil(b"\n\n")
        await stream.content.readuntil(b"\n\n")
        await ask(site, "DELETE", "/v1/session", session)
        redis = site.redis.client()
        news = {"entity": "team", "project": "demo", "runs": {"live": 7}, "changed": []}
        await redis.publish(site.live_channel, json.dumps(news))
        await redis.aclose()
        async with asyncio.timeout(30):
            assert b"live" not in await stream.content.read()
