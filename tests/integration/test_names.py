"""Odd names through a whole server: taken by the doors, found by every reader, finished by a client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import pytest_asyncio
from support.stack import Stack, running_stack
from yarl import URL

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = [
    "{run}", "a}b{c", "{x:.+}", "%2F", "100%", "a,b", "a;b#c?d&e=f+g", "e\u0301", "\u00e9",
    "\u202e'\"\u2028x",
]  # fmt: skip
OF_RUN = [
    "", "/keys", "/history", "/alerts", "/export", "/export/parts", "/ledger", "/files", "/artifacts",
    "/console", "/media?key=x",
]  # fmt: skip
OF_PROJECT = ["/runs", "/keys", "/fields", "/export", "/artifacts", "/media"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack")) as running:
        for name in NAMES:
            rows = [{"step": at, name: float(at)} for at in range(3)]
            batch = {"project": name, "run": name, "rows": rows}
            assert (await ask(running, "POST", "/v1/batches", batch))[0] == 202
        await running.drained()
        yield running


async def ask(stack: Stack, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    url = URL(stack.urls[0] + path, encoded=True)
    async with stack.session.request(method, url, json=body) as reply:
        return reply.status, await reply.read()


def segments(*names: str) -> str:
    return "/".join(quote(name, safe="") for name in names)


@pytest.mark.parametrize("name", NAMES)
async def test_every_reader_finds_it(stack: Stack, name: str) -> None:
    run, project = (
        f"/v1/runs/{segments('local', name, name)}",
        f"/v1/projects/{segments('local', name)}",
    )
    for path in [*(run + end for end in OF_RUN), *(project + end for end in OF_PROJECT)]:
        status, body = await ask(stack, "GET", path)
        assert status == 200, (path, body)
    status, body = await ask(stack, "GET", run)
    assert json.loads(body)["run"] == name
    writers = json.loads((await ask(stack, "GET", f"{run}/ledger"))[1])["writers"]
    for each in writers:
        ledger = await ask(stack, "GET", f"{run}/ledger/{segments(each['writer'])}")
        mark = await ask(
            stack, "GET", f"/v1/writers/{segments('local', name, name, each['writer'])}"
        )
        assert (ledger[0], mark[0]) == (200, 200)


@pytest.mark.parametrize("name", NAMES)
async def test_lists_of_names_hold_it(stack: Stack, name: str) -> None:
    listed = urlencode({"keys": name.replace("\\", "\\\\").replace(",", "\\,")})
    _, body = await ask(stack, "GET", f"/v1/runs/{segments('local', name, name)}/history?{listed}")
    assert [json.loads(line)[name] for line in body.splitlines()] == [0, 1, 2]


async def test_forms_of_one_character_are_two_projects(stack: Stack) -> None:
    projects = json.loads((await ask(stack, "GET", "/v1/projects"))[1])["projects"]
    assert {"e\u0301", "\u00e9"} <= {each["project"] for each in projects}


@pytest.mark.parametrize("name", ["{run}", "a,b"])
async def test_edits_and_sweeps_find_it(stack: Stack, name: str) -> None:
    run = f"/v1/runs/{segments('local', name, name)}"
    assert (await ask(stack, "PATCH", run, {"notes": "found"}))[0] == 200
    source = "method: random\nparameters: {x: {min: 0, max: 1}}"
    asked = {"config": source, "project": name}
    status, body = await ask(stack, "POST", "/v1/sweeps", asked)
    assert status == 201, body
    sweep = f"/v1/sweeps/{segments('local', name, json.loads(body)['sweep'])}"
    assert (await ask(stack, "GET", f"{sweep}/trials"))[0] == 200
    assert (await ask(stack, "GET", f"/v1/sweeps/{segments('local', name)}"))[0] == 200
