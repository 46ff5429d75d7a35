"""The read API over HTTP: what it answers, to whom, and how it refuses."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import numpy as np
import pytest
import pytest_asyncio
from support.site import Site, running_site

from penstock_storage.contracts.interface import RunChange, RunRef
from penstock_web.openapi import OPERATIONS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("site")) as site:
        await site.add_run(
            "a",
            {"loss": {0: 1.0, 1: 0.5, 2: np.nan}, "epoch": {0: 0.0, 2: 3.0}},
            kinds={"epoch": 2},
        )
        await site.add_run("b", {"loss": dict(enumerate(np.linspace(1, 0, 1_000)))})
        await site.add_run("empty", {})
        await site.add_run("secret", {"loss": {0: 1.0}}, entity="strangers", project="private")
        yield site


async def get(site: Site, path: str, status: int = 200) -> Any:
    async with site.client.get(path, headers=site.auth) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def post_chart(site: Site, status: int = 200, **fields: Any) -> Any:
    body = {"project": "demo", **fields}
    async with site.client.post("/v1/charts", json=body, headers=site.auth) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_viewer_and_projects(site: Site) -> None:
    viewer = await get(site, "/v1/viewer")
    assert viewer["entity"] == "team"
    assert viewer["login_required"] is True
    (project,) = (await get(site, "/v1/projects"))["projects"]
    assert (project["entity"], project["project"], project["runs"]) == ("team", "demo", 3)


async def test_runs_are_shown_with_what_they_logged_last(site: Site) -> None:
    runs = {run["run"]: run for run in (await get(site, "/v1/projects/team/demo/runs"))["runs"]}
    assert set(runs) == {"a", "b", "empty"}
    assert runs["a"]["summary"] == {"loss": "NaN", "epoch": 3}
    assert runs["a"]["last_step"] == 2
    assert runs["empty"]["last_step"] is None
    assert (await get(site, "/v1/runs/team/demo/a"))["summary"] == runs["a"]["summary"]


async def test_explicit_summary_lies_over_the_logged_one(site: Site) -> None:
    row = await site.add_run("explicit", {"loss": {0: 1.0}}, project="other")
    ref = RunRef("team", "other", "explicit")
    await site.catalog.apply_changes(
        [RunChange(row.number, "w1", 1, 0, "summary", {"loss": 9, "best": float("nan")})], 1
    )
    assert await site.catalog.run(ref) is not None
    shown = await get(site, "/v1/runs/team/other/explicit")
    assert shown["summary"]["loss"] == 9


async def test_keys_count_the_runs_that_have_them(site: Site) -> None:
    path = "/v1/projects/team/demo/keys"
    every = await get(site, path)
    assert every["keys"] == [{"key": "epoch", "runs": 1}, {"key": "loss", "runs": 2}]
    assert every["next"] is None
    assert (await get(site, f"{path}?runs=b,nobody"))["keys"] == [{"key": "loss", "runs": 1}]
    assert (await get(site, f"{path}?runs=nobody"))["keys"] == []


async def test_chart_in_json(site: Site) -> None:
    found = await post_chart(site, runs=["a", "nobody"], keys=["loss", "nothing"])
    assert found["width"] == 1
    (curve,) = found["series"]
    assert curve == {
        "run": "a", "key": "loss", "lane": None, "rank": None,
        "step": [0, 1, 2], "x": [0, 1, 2],
        "min": [1.0, 0.5, None], "max": [1.0, 0.5, None], "mean": [1.0, 0.5, None],
        "last": [1.0, 0.5, None], "count": [1, 1, 0], "non_finite": [0, 0, 1],
        "first_step": [0, 1, 2],
    }  # fmt: skip


async def test_chart_in_msgpack_says_the_same(site: Site) -> None:
    body: dict[str, Any] = {"project": "demo", "runs": ["a", "b"], "keys": ["loss"], "buckets": 100}
    headers = {**site.auth, "Accept": "application/msgpack"}
    async with site.client.post("/v1/charts", json=body, headers=headers) as response:
        assert response.content_type == "application/msgpack"
        packed = msgpack.unpackb(await response.read())
    text = await post_chart(site, **body)
    assert packed["width"] == text["width"]
    for one, other in zip(packed["series"], text["series"], strict=True):
        assert (one["run"], one["key"]) == (other["run"], other["key"])
        for name in (
            "step",
            "x",
            "min",
            "max",
            "mean",
            "last",
            "count",
            "non_finite",
            "first_step",
        ):
            want = [np.nan if value is None else value for value in other[name]]
            np.testing.assert_array_equal(np.frombuffer(one[name], "<f8"), want)


async def test_chart_over_wall_time(site: Site) -> None:
    row = await site.catalog.run(RunRef("team", "demo", "b"))
    assert row is not None
    began = 1_700_000_000 + row.number / 1e6
    asked: dict[str, Any] = {"runs": ["b"], "keys": ["loss"], "x": "_timestamp", "buckets": 10_000}
    (whole,) = (await post_chart(site, **asked))["series"]
    np.testing.assert_allclose(whole["x"], began + np.arange(1_000), rtol=0, atol=1e-6)
    span = asked | {"from": began + 10, "to": began + 20.5}
    (part,) = (await post_chart(site, **span))["series"]
    assert part["step"] == list(range(10, 21))
    assert (await post_chart(site, **(asked | {"to": began - 1})))["series"] == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"runs": "a", "keys": ["loss"]}, "runs"),
        ({"runs": ["a"], "keys": [1]}, "keys"),
        ({"runs": ["a"], "keys": ["loss"], "buckets": 0}, "buckets"),
        ({"runs": ["a"], "keys": ["loss"], "buckets": 1.5}, "buckets"),
        ({"runs": ["a"], "keys": ["loss"], "x": "epoch"}, "x"),
        ({"runs": ["a"], "keys": ["loss"], "lanes": "some"}, "lanes"),
        ({"runs": ["a"], "keys": ["loss"], "from": "yesterday"}, "from"),
        ({"runs": ["a"], "keys": ["loss"], "to": 1e300}, "to"),
        ({"runs": ["a"], "keys": ["loss"], "project": 5}, "project"),
        ({"runs": ["a"], "keys": ["loss"], "colour": "red"}, "colour"),
    ],
)
async def test_bad_fields_are_named(site: Site, fields: dict[str, Any], named: str) -> None:
    error = (await post_chart(site, 400, **fields))["error"]
    assert error["code"] == "bad_field"
    assert named in error["message"]
    assert error["hint"]


async def test_bodies_that_are_no_json_object(site: Site) -> None:
    for body in (b"", b"{", b"[]", b"\xff"):
        async with site.client.post("/v1/charts", data=body, headers=site.auth) as response:
            assert response.status == 400


async def test_history_streams_rows(site: Site) -> None:
    path = "/v1/runs/team/demo/a/history"
    async with site.client.get(path, headers=site.auth) as response:
        assert response.content_type == "application/x-ndjson"
        rows = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [(row["_step"], row.get("loss"), row.get("epoch")) for row in rows] == [
        (0, 1.0, 0),
        (1, 0.5, None),
        (2, "NaN", 3),
    ]
    for query, steps in (
        ("?keys=loss,epoch", [0, 2]),
        ("?keys=loss&keys=_step", [0, 1, 2]),
        ("?keys=nothing", []),
        ("?min_step=1&max_step=2", [1]),
    ):
        async with site.client.get(path + query, headers=site.auth) as response:
            rows = [json.loads(line) for line in (await response.text()).splitlines()]
        assert [row["_step"] for row in rows] == steps
    assert "min_step" in (await get(site, f"{path}?min_step=x", 400))["error"]["message"]


ROUTES = [
    ("GET", "/v1/projects/{entity}/{project}/runs"),
    ("GET", "/v1/projects/{entity}/{project}/keys"),
    ("GET", "/v1/projects/{entity}/{project}/events"),
    ("GET", "/v1/runs/{entity}/{project}/{run}"),
    ("GET", "/v1/runs/{entity}/{project}/{run}/history"),
    ("GET", "/v1/runs/{entity}/{project}/{run}/ledger"),
    ("GET", "/v1/runs/{entity}/{project}/{run}/ledger/{writer}"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_the_foreign_and_the_missing_look_alike(site: Site, method: str, route: str) -> None:
    async def answer(entity: str, project: str, run: str) -> tuple[int, str]:
        path = route.format(entity=entity, project=project, run=run, writer="w")
        async with site.client.request(method, path, headers=site.auth) as response:
            text = await response.text()
        return response.status, text.replace(entity, "E").replace(project, "P")

    foreign = await answer("strangers", "private", "secret")
    assert foreign[0] == 404
    assert foreign == await answer("nobody", "nothing", "secret")
    assert (await answer("team", "missing", "secret"))[0] == 404


async def test_charts_of_strangers_are_missing(site: Site) -> None:
    asked: dict[str, Any] = {"runs": ["secret"], "keys": ["loss"]}
    foreign = await post_chart(site, 404, **asked, entity="strangers", project="private")
    missing = await post_chart(site, 404, **asked, entity="nobody", project="private")
    assert foreign["error"]["code"] == missing["error"]["code"] == "not_found"


async def test_every_route_is_in_the_document(site: Site) -> None:
    routes = {
        (route.method, route.resource.canonical)
        for route in site.client.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    documented = {(operation.method, operation.template) for operation in OPERATIONS}
    served = {(method, path) for method, path in routes if path.startswith("/v1/")}
    assert served - {("GET", "/v1/openapi.json")} == documented


OPEN = ("/v1/session", "/v1/openapi.json")
NAMES = defaultdict(lambda: "x", entity="team", project="demo", run="a", writer="w")


async def test_every_route_needs_a_key(site: Site) -> None:
    for route in site.client.app.router.routes():
        path = route.get_info().get("path") or route.get_info().get("formatter", "")
        if not path.startswith("/v1/") or path in OPEN or route.method == "HEAD":
            continue
        path = path.format_map(NAMES)
        for headers in ({}, {"Authorization": "Bearer penstock_user_nonsense"}):
            async with site.client.request(route.method, path, headers=headers) as response:
                assert response.status == 401, path
                assert (await response.json())["error"]["hint"]


async def test_an_admin_reads_everything(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.admin}"}
    async with site.client.get("/v1/projects", headers=headers) as response:
        projects = (await response.json())["projects"]
    assert {"team", "strangers"} <= {project["entity"] for project in projects}
    async with site.client.get("/v1/runs/strangers/private/secret", headers=headers) as response:
        assert response.status == 200


async def test_names_may_hold_anything(site: Site) -> None:
    run, key = "ünï <b>&%2F'\"", "a,b/c 'd' \\ <script>"
    await site.add_run(run, {key: {0: 1.0}}, project="odd names")
    (curve,) = (await post_chart(site, project="odd names", runs=[run], keys=[key]))["series"]
    assert (curve["run"], curve["key"]) == (run, key)
    shown = await get(site, "/v1/projects/team/odd names/runs")
    assert [each["run"] for each in shown["runs"]] == [run]
