"""`penstock.Api()` against the read API: what was logged comes back as W&B's API would give it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import ClientSession
from support.site import Site, running_site

import penstock
from penstock.errors import Rejected, Transient
from penstock.reading.api import Api
from penstock_storage.contracts.interface import RunChange

pytestmark = pytest.mark.asyncio(loop_scope="module")
ResultT = TypeVar("ResultT")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("site")) as site:
        await site.add_run(
            "short",
            {"loss": {0: 1.0, 1: math.nan, 2: -math.inf}, "epoch": {0: 0.0, 2: 3.0}},
            kinds={"epoch": 2},
        )
        await site.add_run("long", {"loss": dict(enumerate(np.linspace(1, 0, 10_000)))})
        row = await site.add_run("tagged", {"acc": {0: 0.9}}, project="other")
        about: dict[str, Any] = {"tags": ["best", "paper"], "name": "a name", "group": "g"}
        await site.catalog.apply_changes(
            [
                RunChange(row.number, "w1", 1, 0, "run", about),
                RunChange(row.number, "w1", 1, 1, "config", {"lr": 0.1, "model": {"depth": 3}}),
                RunChange(row.number, "w1", 1, 2, "state", {"state": "finished"}),
            ],
            1_700_000_000_000_000,
        )
        yield site


async def ask(site: Site, question: Callable[[Api], ResultT]) -> ResultT:
    """Run a question, which blocks, beside the server."""
    api = Api({"base_url": site.url}, api_key=site.key)
    return await asyncio.to_thread(question, api)


async def test_api_is_a_public_name() -> None:
    assert penstock.Api is Api


async def test_a_run(site: Site) -> None:
    run = await ask(site, lambda api: api.run("other/tagged"))
    assert (run.id, run.name, run.state, run.entity) == ("tagged", "a name", "finished", "team")
    assert run.path == ["team", "other", "tagged"]
    assert run.tags == ["best", "paper"]
    assert run.config == {"lr": 0.1, "model": {"depth": 3}}
    assert run.summary == {"acc": 0.9, "_step": 0}
    assert run.created_at.endswith("Z")
    assert run.url.startswith(site.url)
    same = await ask(site, lambda api: api.run("/team/other/runs/tagged"))
    assert same.id == run.id


async def test_text_that_looks_like_a_number_stays_text(site: Site) -> None:
    row = await site.add_run("texts", {"loss": {0: math.nan, 1: -math.inf}}, project="odd")
    config = {"name": "NaN", "lr": math.nan, "a": ["Infinity", math.inf], "m": {"x": "-Infinity"}}
    summary = {"best": "NaN", "worst": math.nan}
    await site.catalog.apply_changes(
        [
            RunChange(row.number, "w1", 1, 0, "config", config),
            RunChange(row.number, "w1", 1, 1, "summary", summary),
        ],
        1_700_000_000_000_000,
    )
    for run in (
        await ask(site, lambda api: api.run("odd/texts")),
        await ask(site, lambda api: next(run for run in api.runs("odd") if run.id == "texts")),
    ):
        assert run.config["name"] == "NaN"
        assert repr(run.config) == repr(config)
        run.update()  # NaN is no change
        assert (run.summary["best"], run.summary["loss"]) == ("NaN", -math.inf)
        assert math.isnan(run.summary["worst"])


async def test_texts_and_numbers_of_a_row_are_told_apart(site: Site) -> None:
    row = await site.add_run("words", {"loss": {0: math.nan, 1: -math.inf}}, project="odd")
    key = (await site.catalog.ensure_keys(row.project_number, ["word"]))["word"]
    texts = ['"NaN"', '["Infinity", Infinity]', '{"a": "-Infinity"}']
    columns: dict[str, Any] = {
        "key": np.full(3, key), "run": np.full(3, row.number), "lane": np.zeros(3, int),
        "step": np.arange(3), "kind": ["string", "json", "json"], "json": texts, "seq": np.ones(3, int),
    }  # fmt: skip
    await site.store.insert("values", columns)
    rows = await ask(site, lambda api: list(api.run("odd/words").scan_history()))
    words = ["NaN", ["Infinity", math.inf], {"a": "-Infinity"}]
    assert [row["word"] for row in rows] == words
    assert [repr(row.get("loss")) for row in rows] == ["nan", "-inf", "None"]
    # A server that does not know the question is read as before.
    async with (
        ClientSession(headers=site.auth) as session,
        session.get(f"{site.url}/v1/runs/{row.entity}/odd/words/history") as reply,
    ):
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        plain = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert [line.get("loss") for line in plain] == ["NaN", "-Infinity", None]
    assert [line["word"] for line in plain] == ["NaN", ["Infinity"] * 2, {"a": "-Infinity"}]


async def test_scan_history_is_everything(site: Site) -> None:
    rows = await ask(site, lambda api: list(api.run("demo/short").scan_history()))
    assert [row["_step"] for row in rows] == [0, 1, 2]
    assert rows[0]["loss"] == 1.0
    assert math.isnan(rows[1]["loss"])
    assert rows[2]["loss"] == -math.inf
    assert [type(row["epoch"]) for row in rows if "epoch" in row] == [int, int]
    rows = await ask(site, lambda api: list(api.run("demo/long").scan_history(keys=["loss"])))
    assert [row["loss"] for row in rows] == np.linspace(1, 0, 10_000).tolist()
    rows = await ask(
        site,
        lambda api: list(
            api.run("demo/short").scan_history(keys=["_step", "epoch"], min_step=1, max_step=3)
        ),
    )
    assert rows == [{"_step": 2, "epoch": 3}]


async def test_history_is_thinned_evenly(site: Site) -> None:
    rows = await ask(site, lambda api: api.run("demo/long").history(samples=100, pandas=False))
    steps = [row["_step"] for row in rows]
    assert 50 <= len(steps) <= 100
    assert steps[0] == 0
    assert steps[-1] == 9_999
    assert set(np.diff(steps[:-1])) == {steps[1]}
    frame = await ask(site, lambda api: api.run("demo/long").history(samples=10, keys=["loss"]))
    assert list(frame.columns) == ["_step", "loss"]
    assert (
        await ask(site, lambda api: api.run("demo/short").history(stream="system", pandas=False))
        == []
    )


async def test_runs_are_filtered_and_ordered(site: Site) -> None:
    def ids(**given: Any) -> Callable[[Api], list[str]]:
        return lambda api: [run.id for run in api.runs("team/demo", **given)]

    assert set(await ask(site, ids())) == {"short", "long"}
    assert await ask(site, ids(filters={"summary_metrics.loss": 0.0})) == ["long"]
    assert await ask(site, ids(filters={"name": {"$regex": "^sh"}})) == ["short"]
    assert await ask(site, ids(filters={"$or": [{"state": "finished"}, {"group": "x"}]})) == []
    assert await ask(site, ids(order="name")) == ["long", "short"]
    assert await ask(site, ids(order="-name")) == ["short", "long"]
    tagged = {"config.lr": {"$lt": 1}, "config.model.depth.value": 3, "tags": "best"}
    assert await ask(site, lambda api: len(api.runs("other", filters=tagged))) == 1
    with pytest.raises(Rejected, match=r"\$near"):
        await ask(site, ids(filters={"state": {"$near": 1}}))


async def test_runs_are_read_page_by_page(site: Site) -> None:
    for number in range(7):
        await site.add_run(f"r{number}", {}, project="pages")

    def look(api: Api) -> None:
        runs = api.runs("pages", order="name", per_page=3)
        assert len(runs) == 7
        assert runs[1].id == "r1"
        assert len(runs._found) == 3
        assert [run.id for run in runs[2:5]] == ["r2", "r3", "r4"]
        assert [run.id for run in runs] == [f"r{number}" for number in range(7)]
        assert runs[-1].id == "r6"
        assert list(api.runs("pages", {"name": "nobody"})) == []
        with pytest.raises(IndexError):
            runs[7]

    await ask(site, look)


async def test_projects(site: Site) -> None:
    found = await ask(site, lambda api: [(p.entity, p.name, p.run_count) for p in api.projects()])
    assert {("team", "demo", 2), ("team", "other", 1)} <= set(found)


async def test_what_is_missing_or_away(site: Site) -> None:
    with pytest.raises(Rejected, match="demo/nobody"):
        await ask(site, lambda api: api.run("demo/nobody"))
    with pytest.raises(Rejected, match="does not name a run"):
        await ask(site, lambda api: api.run("a/b/c/d"))
    with pytest.raises(Rejected, match="API key"):
        await asyncio.to_thread(Api({"base_url": site.url}, api_key="wrong").run, "team/demo/long")
    nobody = Api({"base_url": "http://127.0.0.1:1"}, api_key="x")
    with pytest.raises(Transient, match="cannot reach"):
        await asyncio.to_thread(nobody.projects)
