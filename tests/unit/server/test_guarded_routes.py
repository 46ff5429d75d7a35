"""No route of a gateway changes anything for another site's page."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from support.routing import application

from penstock.errors import Rejected

SAFE = {"GET", "HEAD", "OPTIONS"}
SIGNED = {
    "/wandb/files/{number}/{name}",
    "/wandb/artifacts/contents/{entity}/{md5}",
    "/wandb/artifacts/manifests/{number}",
}
"""Their addresses carry the permission; no cookie counts there."""

FOREIGN = (
    {"Origin": "http://tracker.example:8081"},
    {"Origin": "null"},
    {"Referer": "http://evil.example/"},
    {"Sec-Fetch-Site": "same-site"},
)


@pytest.mark.parametrize("root_path", ["", "/below"])
async def test_every_route_that_changes_something_looks_where_it_comes_from(root_path: str) -> None:
    app = application(root_path)
    below = [each for sub in app._subapps for each in sub.router.routes()]
    looked = set()
    for route in [*app.router.routes(), *below]:
        if route.method in SAFE or route.resource is None:
            continue
        path = route.resource.canonical.removeprefix(root_path)
        if path in SIGNED:
            continue
        for foreign in FOREIGN:
            request = make_mocked_request(route.method, "/", {"Host": "tracker.example", **foreign})
            with pytest.raises(Rejected) as refused:
                await route.handler(request)
            assert (refused.value.status, refused.value.code) == (403, "cross_site"), path
        looked.add((route.method, path))
    assert {("DELETE", "/v1/session"), ("POST", "/v1/session"), ("POST", "/graphql")} <= looked
    assert len(looked) >= 18
