"""Media, console and files over the read API."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from support.media import store_lines, store_values
from support.site import Site, running_site

from penstock_storage.contracts.interface import RunRow

pytestmark = pytest.mark.asyncio(loop_scope="module")
RUN = "/v1/runs/team/demo"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("media")) as site:
        yield site


async def get(site: Site, path: str, **params: Any) -> Any:
    async with site.client.get(path, params=params, headers=site.auth) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


def image(number: int) -> dict[str, Any]:
    return {"_type": "image-file", "path": f"media/images/{number}.png"}


async def key_of(site: Site, row: RunRow, name: str) -> int:
    return (await site.catalog.ensure_keys(row.project_number, [name]))[name]


async def test_keys_with_media_are_listed_with_their_kinds(site: Site) -> None:
    one = await site.add_run("kinds-1", {"loss": {0: 1.0}}, project="kinds")
    two = await site.add_run("kinds-2", {}, project="kinds")
    key, text = await key_of(site, one, "samples"), await key_of(site, one, "said")
    await store_values(site.store, key, one.number, 0, {0: image(0)})
    await store_values(site.store, key, two.number, 0, {0: {"_type": "table-file"}})
    await store_values(site.store, text, one.number, 0, {0: {"_type": "string"}})
    path = "/v1/projects/team/kinds/media"
    both = {"key": "samples", "kinds": ["image-file", "table-file"], "runs": 2}
    assert await get(site, path) == {"keys": [both]}
    assert await get(site, path, runs="kinds-2,nobody") == {
        "keys": [{"key": "samples", "kinds": ["table-file"], "runs": 1}]
    }
    assert await get(site, path, runs="") == {"keys": []}
    # No chart is offered for them.
    keys = await get(site, "/v1/projects/team/kinds/keys")
    assert [each["key"] for each in keys["keys"]] == ["loss"]


async def test_a_key_is_read_at_a_step_or_before(site: Site) -> None:
    row = await site.add_run("steps", {})
    key = await key_of(site, row, "a/b c")
    await store_values(site.store, key, row.number, 0, {n: image(n) for n in range(0, 100, 10)})
    await store_values(site.store, key, row.number, 0, {50: image(555)}, seq=2)  # logged again
    path = f"{RUN}/steps/media"
    steps = list(range(0, 100, 10))

    async def at(**params: Any) -> list[tuple[int, str]]:
        answer = await get(site, path, key="a/b c", **params)
        (run,) = answer["runs"]
        assert (answer["key"], run["run"], run["steps"]) == ("a/b c", "steps", steps)
        return [(each["step"], each["value"]["path"]) for each in run["values"]]

    assert await at() == [(90, "media/images/90.png")]
    assert await at(step=59) == [(50, "media/images/555.png")]
    assert await at(step=-1) == []
    assert [step for step, _ in await at(most=4)] == [0, 30, 60, 90]
    assert [step for step, _ in await at(most=500, step=25)] == [0, 10, 20]
    assert (await get(site, path, key="nothing"))["runs"] == []


async def test_several_runs_are_read_at_once_in_the_order_asked_for(site: Site) -> None:
    rows = [await site.add_run(f"many-{n}", {}) for n in range(3)]
    key = await key_of(site, rows[0], "many")
    histogram = {"_type": "histogram", "values": [math.nan, 1], "bins": [0, 1, 2]}
    for number, row in enumerate(rows[:2]):
        await store_values(site.store, key, row.number, 0, {number: histogram})
    body = {"entity": "team", "project": "demo", "key": "many", "runs": ["many-1", "x", "many-0"]}
    async with site.client.post("/v1/media", json=body, headers=site.auth) as reply:
        assert reply.status == 200
        runs = (await reply.json())["runs"]
    assert [(each["run"], each["steps"]) for each in runs] == [("many-1", [1]), ("many-0", [0])]
    assert runs[0]["values"] == [
        {"step": 1, "kind": "histogram", "value": {**histogram, "values": ["NaN", 1]}}
    ]


async def test_the_latest_attempt_of_the_lowest_rank_counts(site: Site) -> None:
    row = await site.add_run("attempts", {"loss": dict.fromkeys(range(10), 1.0)})
    key = await key_of(site, row, "sample")
    second, other = (row.number, "second", 0, 2_000_000_000_000_000), (row.number, "rank1", 1, 1)
    lanes = await site.catalog.ensure_lanes([second, other])
    await store_values(site.store, key, row.number, 0, {n: image(n) for n in (1, 5, 9)})
    lane, ranked = lanes[row.number, "second"], lanes[row.number, "rank1"]
    await store_values(site.store, key, row.number, lane, {5: image(500)})
    await store_values(site.store, key, row.number, ranked, {5: image(1), 7: image(7)})
    answer = await get(site, f"{RUN}/attempts/media", key="sample", most=10)
    (run,) = answer["runs"]
    assert {each["step"]: each["value"]["path"][13:] for each in run["values"]} == {
        1: "1.png",
        5: "500.png",
        7: "7.png",
        9: "9.png",
    }


async def test_console_pages_go_both_ways_and_follow_the_end(site: Site) -> None:
    row = await site.add_run("printed", {})
    path = f"{RUN}/printed/console"
    empty = await get(site, path)
    assert (empty["lines"], empty["total"], empty["next"], empty["lanes"]) == ([], 0, None, [])
    lines = [(n, "stderr" if n % 10 == 0 else "stdout", f"Step {n}") for n in range(95)]
    await store_lines(site.store, row.number, 0, lines)
    await store_lines(site.store, row.number, 0, [(7, "stdout", "seven \x1b[31mred")], seq=2)

    first = await get(site, path, limit=10)
    assert [line["line"] for line in first["lines"]] == list(range(10))
    assert first["total"] == 95
    assert first["lines"][7] == {
        "line": 7, "lane": 0, "stream": "stdout", "time": 1_700_000_007.0,
        "text": "seven \x1b[31mred",
    }  # fmt: skip
    second = await get(site, path, limit=10, after=first["next"])
    assert [line["line"] for line in second["lines"]] == list(range(10, 20))
    tail = await get(site, path, limit=10, end="last")
    assert [line["line"] for line in tail["lines"]] == list(range(85, 95))
    before = await get(site, path, limit=10, end="last", before=tail["previous"])
    assert [line["line"] for line in before["lines"]] == list(range(75, 85))
    assert (await get(site, path, after=tail["next"]))["lines"] == []
    await store_lines(site.store, row.number, 0, [(95, "stdout", "more")], seq=3)
    news = await get(site, path, after=tail["next"])
    assert [line["text"] for line in news["lines"]] == ["more"]


async def test_console_is_searched(site: Site) -> None:
    row = await site.add_run("searched", {})
    texts = ["loading Ümlaut", "Traceback: 100% {search} 'quote'", "done"]
    await store_lines(site.store, row.number, 0, [(n, "stdout", t) for n, t in enumerate(texts)])
    await store_lines(site.store, row.number, 0, [(3, "stderr", "TRACEBACK again")])
    path = f"{RUN}/searched/console"

    async def found(**params: Any) -> list[int]:
        answer = await get(site, path, **params)
        assert answer["total"] == len(answer["lines"])
        return [line["line"] for line in answer["lines"]]

    assert await found(search="traceback") == [1, 3]
    assert await found(search="traceback", stream="stderr") == [3]
    assert await found(search="ÜMLAUT") == [0]
    assert await found(search="100% {search} 'quote'") == [1]
    assert await found(search="nothing") == []


async def test_writers_side_by_side_are_told_apart(site: Site) -> None:
    row = await site.add_run("ranks", {})
    writer = (row.number, "rank1", 1, 1_700_000_000_000_001)
    lane = (await site.catalog.ensure_lanes([writer]))[row.number, "rank1"]
    for own in (0, lane):
        lines = [(n, "stdout", f"{own}: {n}") for n in range(3)]
        await store_lines(site.store, row.number, own, lines)
    path = f"{RUN}/ranks/console"
    answer = await get(site, path)
    assert [line["text"] for line in answer["lines"]] == [
        "0: 0", "1: 0", "0: 1", "1: 1", "0: 2", "1: 2",
    ]  # fmt: skip
    assert [(each["lane"], each["rank"]) for each in answer["lanes"]] == [(0, 0), (lane, 1)]
    page = await get(site, path, limit=3)
    rest = await get(site, path, after=page["next"])
    assert page["lines"] + rest["lines"] == answer["lines"]
    mine = await get(site, path, lane=lane)
    assert ([line["text"] for line in mine["lines"]], mine["total"]) == (
        ["1: 0", "1: 1", "1: 2"],
        3,
    )


async def test_what_a_later_attempt_printed_replaces_what_stood_there(site: Site) -> None:
    row = await site.add_run("again", {})
    later = (row.number, "later", 0, 2_000_000_000_000_000)
    lane = (await site.catalog.ensure_lanes([later]))[row.number, "later"]
    first = [(n, "stdout", f"first {n}") for n in range(5)]
    await store_lines(site.store, row.number, 0, first)
    await store_lines(site.store, row.number, lane, [(3, "stdout", "second 3")])
    path = f"{RUN}/again/console"
    answer = await get(site, path)
    assert [line["text"] for line in answer["lines"]] == [
        "first 0", "first 1", "first 2", "second 3",
    ]  # fmt: skip
    assert (answer["total"], len(answer["lanes"])) == (4, 2)
    await store_lines(site.store, row.number, lane, [(0, "stdout", "second 0")])
    answer = await get(site, path)
    assert [line["text"] for line in answer["lines"]] == ["second 0", "second 3"]
    assert [each["writer"] for each in answer["lanes"]] == ["later"]


async def test_files_are_listed_in_pages(site: Site) -> None:
    row = await site.add_run("files", {})
    names = ["config.yaml", "media/images/a b.png", "media/images/100%.png", "output.log"]
    for name in names:
        await site.add_file(row, name, name.encode())
    path = f"{RUN}/files/files"
    whole = await get(site, path)
    assert sorted(file["name"] for file in whole["files"]) == sorted(names)
    assert (whole["total"], whole["next"]) == (4, None)
    assert next(file for file in whole["files"] if file["name"] == "output.log") == {
        "name": "output.log", "size_bytes": 10, "content_type": "text/plain",
        "sha256": hashlib.sha256(b"output.log").hexdigest(), "updated_at": 0.001,
    }  # fmt: skip
    page = await get(site, path, limit=3)
    rest = await get(site, path, after=page["next"])
    assert page["files"] + rest["files"] == whole["files"]
    images = await get(site, path, pattern="media/%.PNG")
    assert (len(images["files"]), images["total"]) == (2, 2)


@pytest.mark.parametrize(
    "name", ["media/images/a b.png", "100%.png", "ü/☃.txt", "a%2Fb.txt", "q?x=1#y.txt", "a+b&c.txt"]
)
async def test_any_name_comes_back_by_its_escaped_path(site: Site, name: str) -> None:
    row = await site.add_run("names", {})
    await site.add_file(row, name, name.encode())
    url = site.client.make_url(f"{RUN}/names/files").joinpath(*name.split("/"))
    async with site.client.session.get(url, headers=site.auth) as reply:
        assert reply.status == 200
        assert await reply.read() == name.encode()


async def test_bytes_come_whole_in_part_or_not_again(site: Site) -> None:
    row = await site.add_run("bytes", {})
    content = os.urandom(3_000_000)
    file = await site.add_file(row, "weights.bin", content)
    path = f"{RUN}/bytes/files/weights.bin"

    async def asked(**headers: str) -> tuple[int, bytes, Any]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with site.client.get(path, headers={**site.auth, **names}) as reply:
            return reply.status, await reply.read(), reply.headers

    status, body, headers = await asked()
    assert (status, body) == (200, content)
    assert (headers["ETag"], headers["Content-Length"]) == (f'"{file.sha256}"', "3000000")
    assert headers["Content-Type"] == "application/octet-stream"
    status, body, headers = await asked(Range="bytes=1000000-2000000")
    assert (status, body) == (206, content[1_000_000:2_000_001])
    assert headers["Content-Range"] == "bytes 1000000-2000000/3000000"
    assert (await asked(Range="bytes=-5"))[:2] == (206, content[-5:])
    assert (await asked(Range="bytes=2999999-"))[:2] == (206, content[-1:])
    assert (await asked(Range="bytes=0-99999999"))[:2] == (206, content)
    assert (await asked(Range="bytes=3000000-"))[0] == 416
    assert (await asked(Range="lines=1-2"))[:2] == (200, content)
    assert (await asked(Range="bytes=0-1", If_Range='"other"'))[:2] == (200, content)
    assert (await asked(If_None_Match=f'"{file.sha256}"'))[:2] == (304, b"")
    async with site.client.head(path, headers=site.auth) as reply:
        assert (reply.status, reply.headers["Content-Length"]) == (200, "3000000")


async def test_uploaded_pages_are_shut_into_a_sandbox(site: Site) -> None:
    row = await site.add_run("evil", {})
    for name, shown in (("x.html", "inline"), ("x.svg", "inline"), ("x.bin", "attachment")):
        file = await site.add_file(row, name, b"<script>alert(1)</script>")
        path = f"{RUN}/evil/files/{name}"
        async with site.client.get(path, headers=site.auth) as reply:
            policy = reply.headers["Content-Security-Policy"]
            assert policy.startswith("sandbox; default-src 'none';")
            assert "allow" not in policy
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Content-Disposition"].startswith(shown)
            assert reply.headers["Cache-Control"] == "private, no-cache"
        params = {"download": "true", "sha256": file.sha256}
        async with site.client.get(path, params=params, headers=site.auth) as reply:
            assert reply.headers["Content-Disposition"].startswith("attachment")
            assert "immutable" in reply.headers["Cache-Control"]


async def test_an_empty_file_is_a_file(site: Site) -> None:
    row = await site.add_run("empty", {})
    await site.add_file(row, "empty.txt", b"")
    async with site.client.get(f"{RUN}/empty/files/empty.txt", headers=site.auth) as reply:
        assert (reply.status, await reply.read()) == (200, b"")


async def test_strangers_find_nothing(site: Site) -> None:
    row = await site.add_run("mine", {})
    await site.add_file(row, "a.txt", b"x")
    stranger = {"Authorization": f"Bearer {site.stranger}"}
    paths = ["files", "files/a.txt", "console", "media?key=a"]
    for path in [*(f"{RUN}/mine/{each}" for each in paths), "/v1/projects/team/demo/media"]:
        async with site.client.get(path, headers=stranger) as reply:
            assert reply.status == 404
        async with site.client.get(path) as reply:
            assert reply.status == 401
    body = {"entity": "team", "project": "demo", "key": "k", "runs": []}
    async with site.client.post("/v1/media", json=body, headers=stranger) as reply:
        assert reply.status == 404
    for name in ("b.txt", "..%2F..%2Fmine"):
        async with site.client.get(f"{RUN}/mine/files/{name}", headers=site.auth) as reply:
            assert reply.status in (400, 404)


async def test_many_ask_at_once(site: Site) -> None:
    row = await site.add_run("busy", {})
    await site.add_file(row, "a.txt", b"x" * 100_000)
    answers = await asyncio.gather(*(get(site, f"{RUN}/busy/files") for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
