"""Users' files as answers: whatever they hold and however they are named, nothing runs as the page's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.site import Site, running_site

from penstock_storage.catalog.runs.run_files import RunFile

pytestmark = pytest.mark.asyncio(loop_scope="module")
RUN = "/v1/runs/team/demo/code"
CODE = b"globalThis.ran = true"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site")
    async with running_site(folder) as site:
        await site.add_run("code", {"loss": {0: 1.0}})
        yield site


@pytest.mark.parametrize(
    "stored", ["by name", "text/javascript", "application/wasm", "text/css; a=b"]
)
@pytest.mark.parametrize(
    "name", ["x.js", "x.mjs", "x.css", "x.xml", "x.xhtml", "x.wasm", "x.webmanifest", "x", "x.JS"]
)
async def test_no_file_has_a_type_that_runs(site: Site, name: str, stored: str) -> None:
    """Types that an older server has stored are not given either."""
    row = await site.add_run("code", {})
    file = await site.add_file(row, name, CODE)
    if stored != "by name":
        values = {each: getattr(file, each) for each in RunFile.__slots__}
        newer = {**values, "mimetype": stored, "updated_at": file.updated_at + 1}
        await site.files.put(row.number, RunFile(**newer))
    async with site.client.get(f"{RUN}/files/{name}", headers=site.auth) as reply:
        assert await reply.read() == CODE
        assert reply.content_type in ("text/plain", "application/octet-stream")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Content-Disposition"].startswith("attachment")
        assert reply.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/projects/team/demo/export", f"{RUN}/export", f"{RUN}/export?format=csv", f"{RUN}/history",
        RUN, f"{RUN}/console", f"{RUN}/media?key=loss", "/v1/viewer", "/v1/nothing", "/v1/openapi.json",
    ],
)  # fmt: skip
async def test_every_answer_is_shut_in_and_names_no_version(site: Site, path: str) -> None:
    async with site.client.get(path, headers=site.auth) as reply:
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert reply.headers["Server"] == "Penstock"
        if "export" in path and "parts" not in path:
            assert reply.headers["Content-Disposition"].startswith("attachment")


async def test_a_service_worker_is_refused(site: Site) -> None:
    row = await site.add_run("code", {})
    await site.add_file(row, "sw.js", CODE)
    headers = {**site.auth, "Service-Worker": "script"}
    for path in (f"{RUN}/files/sw.js", "/", "/v1/viewer"):
        async with site.client.get(path, headers=headers) as reply:
            assert reply.status == 403
