"""Whatever lies in the store and the catalog, every reader answers: one bad row is shown as text or null,
and the others as they are."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import pytest_asyncio
from support.fuzzing import cases, source
from support.stack import Stack, running_stack

from penstock_storage.contracts.interface import RunRef

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.timeout(600)]

GOOD, BAD = "good", "bad"
KINDS = ["string", "bool", "null", "list", "dict", "image", "histogram", "table", "alert"]
TEXTS = [
    "", "x", "{", "[1,", "null", "true", "NaN", "[NaN, -Infinity]", "18446744073709551616", "1e999",
    "9" * 5_000, '"\\ud800"', '{"a": "\\udcff", "n": NaN}', '{"title": 5}', '{"title": {"a": 1}, "level": []}',
    "[" * 900 + "]" * 900, '{"a":' * 300 + "1" + "}" * 300, '{"n": NaN, "big": 18446744073709551616}', "\u2028",
    '{"_type": "image-file", "path": 5}', '{"bins": "x", "values": null}', '"' + "y" * 5_000 + '"', "0.1.2",
    '{"": {"": ""}}', "\x00", '{"__proto__": 1}',
]  # fmt: skip
SECTIONS = [
    "{}", "null", "[]", "5", '"x"', "{", "", '{"a": NaN}', '{"wandb": 5}', '{"wandb": {"desc": 5, "_wandb": 7}}',
    '{"wandb": {"_wandb": {"m": [5]}}}', '{"commit": {"a": 1}, "host": [1], "sweep": 7, "silent": "x"}',
    '{"define_metric": 5}', '{"define_metric": {"k": 5}}', '{"exit_code": "x", "stop": {}}', '{"a": ' + "9" * 400 + "}",
    '{"a": "\\ud800", "\\udcff": 1}', '{"a":' * 260 + "1" + "}" * 260, '{"a": [' * 200 + "1" + "]}" * 200,
    '{"a.b": {"c": [NaN, null, {}]}}', '{"": 1}', '{"seed": 18446744073709551615}', '{"metric": "k", "k": []}',
]  # fmt: skip
TAGS = ["[]", "5", '"x"', "null", '["a", 5, null, {"b": 1}]', "{", '{"a": 1}', '["\\ud800"]', ""]
POINTS = [0.0, -0.0, 1.5, np.nan, np.inf, -np.inf, 2.0**64, 2.0**63, -(2.0**63), 2.0**200, 5e-324]
RUN_FIELDS = (
    "id name displayName description notes tags group jobType commit host state sweepName createdAt config"
    " heartbeatAt summaryMetrics systemMetrics historyKeys historyLineCount historyTail eventsTail user { id }"
    " wandbConfig files { edges { node { name } } } logLines(first: 5) { edges { node { line } } }"
)
PAGE = f"""query {{ project(name: "p", entityName: "local") {{ runCount
  runs(first: 50) {{ totalCount edges {{ node {{ {RUN_FIELDS} }} }} }} }} }}"""
HISTORY = """query {{ project(name: "p", entityName: "local") {{ run(name: "{run}") {{ {fields}
  history(minStep: 0, maxStep: 100) events sampledHistory(specs: ["{{}}"]) }} }} }}"""
ORDERS = ["name", "-config.a", "summary.k", "config.seed", "tags", "-summary.a.b.c"]
FILTERS: list[dict[str, Any]] = [
    {"config.a": 1}, {"config.seed": {"$gt": 5}}, {"tags": "a"}, {"summary.k": {"$exists": True}},
    {"$or": [{"name": {"$regex": "."}}, {"group": None}]}, {"host": "x"}, {"state": "finished"},
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack")) as running:
        for run in (GOOD, BAD):
            rows = [{"step": at, "k": float(at), "t": "text"} for at in range(4)]
            batch = {
                "project": "p",
                "run": run,
                "config": {"a": 1},
                "summary": {"s": 1},
                "rows": rows,
            }
            async with running.session.post(f"{running.urls[0]}/v1/batches", json=batch) as reply:
                assert reply.status == 202
        await running.drained()
        yield running


def spoil_catalog(stack: Stack, pick: random.Random) -> dict[str, str]:
    """Another row for the bad run, as nothing that checks would write it; returns it."""
    row = {
        "tags": pick.choice(TAGS),
        **{name: pick.choice(SECTIONS) for name in ("config", "summary", "info")},
        **{name: pick.choice(["", "x", "\u202e", "\x01"]) for name in ("name", "group", "notes")},
        "state": pick.choice(["running", "finished", "", "odd"]),
    }
    with sqlite3.connect(stack.settings["catalog_url"].partition("///")[2], timeout=10) as catalog:
        sets = ", ".join(f'"{name}" = ?' for name in row)
        catalog.execute(
            f"UPDATE runs SET {sets}, tick = (SELECT max(tick) + 1 FROM runs) WHERE run = ?",
            (*row.values(), BAD),
        )
        catalog.execute("UPDATE projects SET tick = tick + 1")
    return row


async def spoil_store(stack: Stack, pick: random.Random, seq: int) -> None:
    """More values and points of the bad run."""
    row = await stack.catalog.run(RunRef("local", "p", BAD))
    assert row is not None
    run, project = row.number, row.project_number
    keys = await stack.catalog.key_numbers(project, ["k", "t"])
    key = pick.choice(list(keys.values()))
    step = pick.randrange(4)
    count = 5
    values: dict[str, Any] = {
        "key": np.full(count, key), "run": np.full(count, run), "lane": np.zeros(count, np.int64),
        "step": np.arange(step, step + count), "kind": [pick.choice(KINDS) for _ in range(count)],
        "json": [pick.choice(TEXTS) for _ in range(count)], "seq": np.full(count, seq),
    }  # fmt: skip
    await stack.points.insert("values", values)


async def answers(stack: Stack) -> AsyncIterator[tuple[str, int, bytes]]:
    """What every reader says of the project and the run."""
    project, run = "/v1/projects/local/p", f"/v1/runs/local/p/{BAD}"
    paths = [
        "/v1/projects", f"{project}/runs", f"{project}/runs?fields=config.a,summary.k", f"{project}/keys",
        f"{project}/fields", f"{project}/export", f"{project}/export?format=csv", f"{project}/artifacts",
        f"{project}/media", f"{project}/diff?runs={GOOD},{BAD}", run, f"{run}/keys", f"{run}/history",
        f"{run}/history?keys=k", f"{run}/alerts", f"{run}/export", f"{run}/export?format=csv", f"{run}/ledger",
        f"{run}/files", f"{run}/artifacts", f"{run}/console", f"{run}/media?key=t&most=100", f"{project}/keys?runs={BAD}",
        *(f"{project}/runs?order={quote(order)}" for order in ORDERS),
        *(f"{project}/runs?filter={quote(json.dumps(each))}" for each in FILTERS),
    ]  # fmt: skip
    for path in paths:
        async with stack.session.get(stack.urls[0] + path) as reply:
            yield path, reply.status, await reply.read()
    asked = {"entity": "local", "project": "p", "runs": [GOOD, BAD], "keys": ["k", "t"]}
    async with stack.session.post(f"{stack.urls[0]}/v1/charts", json=asked) as reply:
        yield "/v1/charts", reply.status, await reply.read()
    for query in (PAGE, HISTORY.format(run=BAD, fields=RUN_FIELDS)):
        body = {"query": query}
        async with stack.session.post(f"{stack.urls[0]}/graphql", json=body) as reply:
            yield query, reply.status, await reply.read()


async def test_no_row_fails_an_answer(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    pick = source("readers")
    for seq in range(cases(500)):
        row = spoil_catalog(stack, pick)
        await spoil_store(stack, pick, 1_000 + seq)
        async for what, status, body in answers(stack):
            assert status == 200, (what, row, body[:500])
            if what == PAGE or what.startswith("/v1/projects/local/p/runs?order"):
                assert b'"good"' in body, (what, row)
            if "graphql" in what or "query" in what:
                assert b'"errors"' not in body, (what, row, body[:500])
    failed = [each.getMessage() for each in caplog.records if "failed" in each.getMessage()]
    assert not failed


async def test_numbers_beyond_64_bits_are_numbers(stack: Stack) -> None:
    rows = [{"step": 0, "seed": 2**64 - 1, "n": -(2**63)}, {"step": 1, "seed": float(2**64)}]
    batch = {"project": "p", "run": "seeds", "config": {"seed": 2**64 - 1}, "rows": rows}
    async with stack.session.post(f"{stack.urls[0]}/v1/batches", json=batch) as reply:
        assert reply.status == 202, await reply.text()
    await stack.drained()
    async with stack.session.post(f"{stack.urls[0]}/graphql", json={"query": PAGE}) as reply:
        answer = json.loads(await reply.read())
    nodes = {
        each["node"]["name"]: each["node"] for each in answer["data"]["project"]["runs"]["edges"]
    }
    assert {"good", "seeds"} <= nodes.keys()
    assert float(json.loads(nodes["seeds"]["summaryMetrics"])["seed"]) == 2.0**64
    assert json.loads(nodes["seeds"]["config"])["seed"]["value"] == 2**64 - 1
