"""Artifacts over the read API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from support.artifacts import store_artifact
from support.site import Site, running_site

from penstock_storage.catalog.artifacts.artifact_rows import Version

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "sub/a b ü.txt"
PAGE = "/v1/projects/team/demo/artifacts"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("artifacts")) as site:
        maker = await site.add_run("maker", {})
        user = await site.add_run("user", {})
        project = maker.project_number

        async def add(name: str, content: bytes, **options: Any) -> Version:
            return await store_artifact(
                site.artifacts, site.blobs, project, name, {PATH: content}, entity="team", **options
            )

        first = await add("d s", b"0123456789", run=maker.number, aliases=("best",),
                          references={"ref": "s3://bucket/key"})  # fmt: skip
        await add("d s", b"second", run=maker.number)
        model = await add("model", b"weights", type="model")
        await site.artifacts.versions.use(user.number, first.number, 3_000_000)
        await site.artifacts.members.link(model, project, "good", ["prod"], 4_000_000)
        yield site


async def get(site: Site, path: str, **params: Any) -> Any:
    async with site.client.get(path, params=params, headers=site.auth) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


async def test_collections_are_listed_with_what_is_newest(site: Site) -> None:
    found = await get(site, PAGE)
    assert (found["types"], found["total"], found["next"]) == (["dataset", "model"], 3, None)
    kinds = [(each["name"], each["kind"], each["type"]) for each in found["collections"]]
    assert kinds == [
        ("d s", "sequence", "dataset"),
        ("model", "sequence", "model"),
        ("good", "portfolio", "model"),
    ]
    datasets, model, good = found["collections"]
    assert (datasets["versions"], datasets["latest"]["version"]) == (2, "v1")
    assert (good["latest"]["name"], good["latest"]["aliases"]) == ("good", ["latest", "prod"])
    assert model["latest"]["aliases"] == ["latest"]
    first = await get(site, PAGE, limit=2)
    rest = await get(site, PAGE, limit=2, after=first["next"])
    assert [*first["collections"], *rest["collections"]] == found["collections"]
    only = await get(site, PAGE, type="model")
    assert [each["name"] for each in only["collections"]] == ["model", "good"]


async def test_versions_are_listed_the_newest_first(site: Site) -> None:
    found = await get(site, f"{PAGE}/d s")
    assert [each["version"] for each in found["versions"]] == ["v1", "v0"]
    assert found["versions"][1] == {
        "entity": "team", "project": "demo", "name": "d s", "type": "dataset", "version": "v0",
        "aliases": ["best"], "tags": [], "description": "", "metadata": {"k": 1},
        "digest": found["versions"][1]["digest"], "size_bytes": 13, "files": 2, "run": "maker",
        "created_at": 1.0, "updated_at": 2.0,
    }  # fmt: skip
    first = await get(site, f"{PAGE}/d s", limit=1)
    rest = await get(site, f"{PAGE}/d s", limit=1, after=first["next"])
    assert [*first["versions"], *rest["versions"]] == found["versions"]
    assert rest["next"] is None


async def test_runs_show_what_they_logged_and_used(site: Site) -> None:
    maker = await get(site, "/v1/runs/team/demo/maker/artifacts")
    assert [each["version"] for each in maker["logged"]] == ["v0", "v1"]
    assert maker["used"] == []
    user = await get(site, "/v1/runs/team/demo/user/artifacts")
    assert [(each["name"], each["version"]) for each in user["used"]] == [("d s", "v0")]
    assert user["logged"] == []


async def test_files_are_listed_and_read(site: Site) -> None:
    found = await get(site, f"{PAGE}/d s/v0/files")
    assert await get(site, f"{PAGE}/d s/best/files") == found
    assert found["total"] == 2
    assert [(each["path"], each["size_bytes"], each["reference"]) for each in found["files"]] == [
        ("ref", 3, "s3://bucket/key"),
        (PATH, 10, None),
    ]
    page = await get(site, f"{PAGE}/d s/v0/files", limit=1)
    rest = await get(site, f"{PAGE}/d s/v0/files", after=page["next"])
    assert [*page["files"], *rest["files"]] == found["files"]
    url = f"{PAGE}/d s/v0/files/{quote(PATH)}"
    async with site.client.get(url, headers={**site.auth, "Range": "bytes=2-4"}) as reply:
        assert (reply.status, await reply.read()) == (206, b"234")
    async with site.client.get(url, headers=site.auth, params={"download": "true"}) as reply:
        assert (reply.status, await reply.read()) == (200, b"0123456789")
        assert reply.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        f"{PAGE}/nothing",
        f"{PAGE}/d s/v9/files",
        f"{PAGE}/d s/v0/files/nothing",
        f"{PAGE}/d s/v0/files/ref",
        "/v1/projects/team/nothing/artifacts",
        "/v1/runs/team/demo/nothing/artifacts",
    ],
)
async def test_what_is_missing_is_a_404(site: Site, path: str) -> None:
    async with site.client.get(path, headers=site.auth) as reply:
        assert reply.status == 404


@pytest.mark.parametrize(
    "path",
    [
        PAGE,
        f"{PAGE}/d s",
        f"{PAGE}/d s/v0/files",
        f"{PAGE}/d s/v0/files/{quote(PATH)}",
        "/v1/runs/team/demo/maker/artifacts",
    ],
)
async def test_other_entities_see_nothing(site: Site, path: str) -> None:
    async with site.client.get(path, headers={"Authorization": f"Bearer {site.stranger}"}) as reply:
        assert reply.status == 404
