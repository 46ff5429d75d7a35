"""API keys that the page makes, and who gets none; and the addresses that lead to the page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.site import SECRET, Site, running_site
from yarl import URL

from penstock_common.http.auth import mint_key

pytestmark = pytest.mark.asyncio(loop_scope="module")
BEHIND_PROXY = {"X-Forwarded-For": "1.2.3.4"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("site"), open_reads=True) as site:
        yield site


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def make(site: Site, headers: Mapping[str, str], status: int = 201) -> Any:
    site.client.session.cookie_jar.clear()
    body = {"label": "a laptop"}
    async with site.client.post("/v1/api-keys", json=body, headers=headers) as reply:
        assert reply.status == status, await reply.text()
        assert reply.headers["Cache-Control"] == "no-store"
        return await reply.json()


async def key_with(site: Site, *scopes: str) -> str:
    key, text = mint_key("user", "team", frozenset(scopes), SECRET)
    await site.catalog.add_api_key(key, "test")
    return text


async def test_a_new_key_works_for_its_entity(site: Site) -> None:
    made = await make(site, site.auth)
    assert (made["entity"], made["scopes"]) == ("team", ["read", "write"])
    async with site.client.get("/v1/viewer", headers=bearer(made["api_key"])) as reply:
        viewer = await reply.json()
    assert (viewer["entity"], viewer["may_write"]) == ("team", True)
    assert made["id"] in made["api_key"]


async def test_a_new_key_can_do_no_more_than_its_maker(site: Site) -> None:
    assert (await make(site, bearer(await key_with(site, "write"))))["scopes"] == ["write"]
    assert (await make(site, bearer(site.admin)))["scopes"] == ["read", "write"]
    assert (await make(site, bearer(site.admin)))["entity"] == "root"
    refusal = await make(site, bearer(await key_with(site, "read")), 403)
    assert refusal["error"]["code"] == "forbidden"


async def test_a_session_makes_keys_on_the_page_alone(site: Site) -> None:
    login = {"api_key": site.key}
    async with site.client.post("/v1/session", json=login) as reply:
        cookie = reply.cookies["penstock_session"].value
    session = {"Cookie": f"penstock_session={cookie}"}
    assert (await make(site, session))["entity"] == "team"
    assert (await make(site, {**session, "Sec-Fetch-Site": "same-origin"}))["entity"] == "team"
    for other in ("cross-site", "same-site"):
        refusal = await make(site, {**session, "Sec-Fetch-Site": other}, 403)
        assert refusal["error"]["code"] == "cross_site"


async def test_who_reads_without_a_login_gets_none(site: Site) -> None:
    async with site.client.get("/v1/viewer") as reply:
        assert (await reply.json())["may_write"] is False
    assert (await make(site, {}, 403))["error"]["code"] == "forbidden"
    assert (await make(site, BEHIND_PROXY, 401))["error"]["code"] == "no_key"
    assert (await make(site, bearer("penstock_user_wrong"), 401))["error"]["code"]


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("/team/demo", "/?project=team/demo"),
        ("/team/a%20b%26c", "/?project=team/a%20b%26c"),
        ("/team/demo/runs/a", "/?project=team/demo&run=a"),
        ("/team/demo/runs/a%2Fb", "/?project=team/demo&run=a%2Fb"),
        ("/team/demo/sweeps/s1", "/?project=team/demo&sweep=s1"),
    ],
)
async def test_addresses_of_other_clients_lead_to_the_page(
    site: Site, address: str, leads_to: str
) -> None:
    url = URL(f"{site.url}{address}", encoded=True)
    async with site.client.session.get(url, allow_redirects=False) as reply:
        assert reply.status == 302
        assert url.join(URL(reply.headers["Location"])) == URL(f"{site.url}{leads_to}")


@pytest.mark.parametrize(
    "address",
    ["/v1/nothing", "/v1/a/runs/b", "/files/a", "/graphql/a", "/team", "/a/b/c", "/a/b/c/d"],
)
async def test_other_addresses_are_still_unknown(site: Site, address: str) -> None:
    async with site.client.get(address, allow_redirects=False) as reply:
        assert reply.status == 404


async def test_the_page_answers_where_the_client_sends_people(tmp_path: Path) -> None:
    static = tmp_path / "static"
    static.mkdir()
    (static / "index.html").write_text("<p>the page</p>")
    async with (
        running_site(tmp_path, static=static) as site,
        site.client.get("/authorize?ref=models") as reply,
    ):
        assert reply.status == 200
        assert await reply.text() == "<p>the page</p>"
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
