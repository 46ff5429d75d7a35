"""Who may change and delete: keys that may write, and sessions, but only from the page itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from support.site import Site, running_site

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN = "/v1/runs/team/demo/a"
CHANGES = (
    ("PATCH", RUN, {"name": "b"}),
    ("DELETE", RUN, None),
    ("POST", "/v1/projects/team/demo/runs/delete", {"runs": ["a"]}),
    ("DELETE", "/v1/projects/team/demo", None),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("site"), open_reads=True) as served:
        await served.add_run("a", {"loss": {1: 2.0}})
        yield served


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_only_who_may_write_changes_anything(
    site: Site, method: str, path: str, body: object
) -> None:
    async def status(**headers: str) -> int:
        async with site.client.request(method, path, json=body, headers=headers) as reply:
            return reply.status

    assert await status() == 403  # a visitor of a loopback server reads only
    assert await status(Authorization=f"Bearer {site.stranger}") == 404
    assert await status(Authorization="Bearer penstock_user_nobody") == 401
    async with site.client.get(RUN, headers=site.auth) as reply:
        assert (await reply.json())["name"] == "a"


async def test_another_site_s_page_deletes_nothing_with_the_visitor_s_cookie(site: Site) -> None:
    async with site.client.post("/v1/session", json={"api_key": site.key}) as reply:
        cookie = {"Cookie": reply.headers["Set-Cookie"].split(";")[0]}
    for where in ("cross-site", "same-site"):
        headers = {**cookie, "Sec-Fetch-Site": where}
        async with site.client.delete(RUN, headers=headers) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (403, "cross_site")
    async with site.client.delete(RUN, headers={**cookie, "Sec-Fetch-Site": "same-origin"}) as ok:
        assert ok.status == 200
