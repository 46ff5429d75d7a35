"""Finding runs over HTTP: config, explicit summary and logged values together, page by page."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import numpy as np
import orjson
import pytest
import pytest_asyncio
from support.site import Site, running_site

from penstock_storage.contracts.interface import RunChange, RunRef
from penstock_storage.readers.logged import LaneRanks, read_logged
from penstock_storage.readers.summaries import read_summaries

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROJECT = "/v1/projects/team/sweep"
COUNT = 25


async def change(site: Site, run: int, kind: str, update: dict[str, Any], seq: int = 1) -> None:
    await site.catalog.apply_changes([RunChange(run, "w1", seq, 0, kind, update)], 2_000_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("site")) as site:
        for n in range(COUNT):
            curves: dict[str, dict[int, float]] = {"loss": {-1: 9.0, n: n / 10}}
            if n == 7:
                curves = {"loss": {0: math.nan}, "only7": {0: 1.0}}
            if n == 8:
                curves = {"other/key": {3: 1.0}}
            row = await site.add_run(f"r{n:02d}", curves, project="sweep")
            config = {"lr": 10.0**-n, "opt": ("adam", "sgd")[n % 2], "model": {"depth": n % 5}}
            await change(site, row.number, "config", config)
            about = {"name": f"Bold {n}", "group": f"g{n % 3}", "tags": ["Übung", f"t{n % 2}"]}
            await change(site, row.number, "run", about, 2)
        third = await site.catalog.run(RunRef("team", "sweep", "r03"))
        assert third is not None
        await change(site, third.number, "summary", {"loss": 100, "best": {"epoch": 4}}, 3)
        yield site


async def ask(site: Site, status: int = 200, **query: Any) -> Any:
    given = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in query.items()}
    path = f"{PROJECT}/runs?{urlencode(given)}"
    async with site.client.get(path, headers=site.auth) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def search(site: Site, status: int = 200, **question: Any) -> Any:
    path = f"{PROJECT}/runs/search"
    async with site.client.post(path, json=question, headers=site.auth) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def get(site: Site, path: str, status: int = 200) -> Any:
    async with site.client.get(path, headers=site.auth) as response:
        assert response.status == status, await response.text()
        return await response.json()


def ids(answer: Any) -> list[int]:
    return [int(run["run"][1:]) for run in answer["runs"]]


async def test_newest_first_and_page_by_page(site: Site) -> None:
    whole = await ask(site)
    assert ids(whole) == list(range(COUNT))[::-1]
    assert (whole["total"], whole["next"]) == (COUNT, None)
    assert ids(await ask(site, offset=20)) == [4, 3, 2, 1, 0]
    assert (await ask(site, offset=COUNT))["runs"] == []
    for order in ("", "-created_at", "created_at", "name", "-summary.loss,name"):
        page = await ask(site, limit=7, order=order)
        found = ids(page)
        while page["next"]:
            page = await ask(site, limit=7, order=order, after=page["next"])
            assert page["total"] == COUNT
            found += ids(page)
        assert found == ids(await ask(site, order=order))
        assert sorted(found) == list(range(COUNT))


async def test_filters_over_everything(site: Site) -> None:
    assert ids(await ask(site, filter={"config.lr": {"$lt": 1e-22}})) == [24, 23]
    assert ids(await ask(site, filter={"config.model.depth": 2, "config.opt": "sgd"})) == [17, 7]
    assert ids(await ask(site, filter={"tags": "t1", "group": "g0", "run": {"$lt": "r10"}})) == [
        9,
        3,
    ]
    # What was set lies over what was logged: run 3 has 100, not 0.3.
    low = {"summary_metrics.loss": {"$lte": 0.4}}
    assert ids(await ask(site, filter=low)) == [4, 2, 1, 0]
    assert ids(await search(site, filter={"summary.loss": {"$gt": 2.35}})) == [24, 3]
    assert ids(await ask(site, filter={"summary.loss": {"$exists": False}})) == [8]
    assert ids(await ask(site, filter={"summary.other/key": 1})) == [8]
    assert ids(await ask(site, filter={"summary.best.epoch": 4})) == [3]
    assert ids(await ask(site, filter={"display_name": {"$regex": "2$"}})) == [22, 12, 2]
    assert (await ask(site, filter={"summary.nobody": 1}))["total"] == 0


async def test_orders(site: Site) -> None:
    by_loss = ids(await ask(site, order="summary.loss"))
    # NaN has no order and comes behind, what lacks the key last.
    assert by_loss == [0, 1, 2, 4, 5, 6, *range(9, 25), 3, 7, 8]
    down = ids(await ask(site, order="-summary.loss"))
    assert down == [*by_loss[:-2][::-1], 7, 8]
    by_two = await search(site, order=["config.model.depth", "-config.lr"], limit=3)
    assert ids(by_two) == [0, 5, 10]


async def test_search_ignores_case(site: Site) -> None:
    assert ids(await ask(site, search="bOLD 1")) == [*range(19, 9, -1), 1]
    assert (await ask(site, search="übUNG"))["total"] == COUNT
    assert ids(await ask(site, search="r07")) == [7]
    assert (await ask(site, search="t0", filter={"group": "g1"}))["total"] == 4


async def test_only_the_fields_asked_for(site: Site) -> None:
    fields = "config.model.depth,summary.loss,summary.best.epoch,config.none"
    (run,) = (await ask(site, filter={"run": "r03"}, fields=fields))["runs"]
    assert run["config"] == {"model": {"depth": 3}}
    assert run["summary"] == {"loss": 100, "best": {"epoch": 4}}
    assert run["last_step"] == 3
    (run,) = (await search(site, filter={"run": "r04"}, fields=[]))["runs"]
    assert (run["config"], run["summary"], run["last_step"]) == ({}, {}, 4)
    (run,) = (await ask(site, filter={"run": "r04"}, fields="none"))["runs"]
    assert (run["config"], run["summary"], run["last_step"]) == ({}, {}, 4)
    (run,) = (await ask(site, filter={"run": "r04"}))["runs"]
    assert run["summary"] == {"loss": 0.4}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"filter": "{"}, "filter"),
        ({"filter": "[]"}, "filter"),
        ({"filter": '{"$and":[{"colour":1}]}'}, "filter.$and[0]"),
        ({"order": "colour"}, "order"),
        ({"fields": "colour"}, "fields"),
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"offset": -1}, "offset"),
        ({"after": "x"}, "after"),
        ({"after": "x", "offset": 1}, "after"),
        ({"colour": "red"}, "colour"),
        ({"order": ",".join(["name"] * 9)}, "order"),
    ],
)
async def test_what_is_wrong_is_named(site: Site, query: dict[str, Any], named: str) -> None:
    error = (await ask(site, 400, **query))["error"]
    assert named in error["message"]
    assert error["hint"]


async def test_bodies_that_are_wrong(site: Site) -> None:
    assert "limit" in (await search(site, 400, limit="1"))["error"]["message"]
    assert "filter" in (await search(site, 400, filter=[]))["error"]["message"]
    assert "colour" in (await search(site, 400, colour=1))["error"]["message"]


async def test_changes_and_new_runs_are_found_at_once(site: Site) -> None:
    mark = {"config.mark.now": 1}
    assert (await ask(site, filter=mark))["total"] == 0
    row = await site.catalog.run(RunRef("team", "sweep", "r05"))
    assert row is not None
    await change(site, row.number, "config", {"mark": {"now": 1}}, 10)
    assert ids(await ask(site, filter=mark)) == [5]
    await change(site, row.number, "config", {"mark": "gone"}, 11)
    assert (await ask(site, filter=mark))["total"] == 0
    extra = await site.add_run("extra", {"loss": {0: -5.0}}, project="sweep")
    await change(site, extra.number, "config", {"mark": {"now": 1}}, 12)
    (run,) = (await ask(site, filter={**mark, "summary.loss": -5}))["runs"]
    assert run["run"] == "extra"
    await site.catalog.touch_runs([extra.number], 3_000_000_000_000_000)
    (run,) = (await ask(site, filter={"updated_at": {"$gt": 2.9e9}}))["runs"]
    assert run["run"] == "extra"


async def test_fields(site: Site) -> None:
    answer = await get(site, f"{PROJECT}/fields")
    fields = {field["path"]: field for field in answer["fields"]}
    assert answer["next"] is None
    assert list(fields) == sorted(fields)
    opt = fields["config.opt"]
    assert (opt["kinds"], opt["runs"], sorted(opt["values"])) == (["string"], 25, ["adam", "sgd"])
    depth = fields["config.model.depth"]
    assert (depth["kinds"], depth["min"], depth["max"]) == (["number"], 0, 4)
    assert depth["values"] == [0, 1, 2, 3, 4]
    assert "config.model" not in fields
    loss = fields["summary.loss"]
    assert loss["runs"] >= 24
    assert (loss["max"], loss["kinds"]) == (100, ["number"])
    assert fields["summary.only7"]["runs"] == 1
    page = await get(site, f"{PROJECT}/fields?prefix=config.&limit=2")
    assert page["next"] == page["fields"][-1]["path"]
    rest = await get(site, f"{PROJECT}/fields?prefix=config.&after={page['next']}")
    names = [field["path"] for field in page["fields"] + rest["fields"]]
    assert names == [name for name in fields if name.startswith("config.")]
    assert [f["path"] for f in (await get(site, f"{PROJECT}/fields?regex=^s.*7$"))["fields"]] == [
        "summary.only7"
    ]
    assert "regex" in (await get(site, f"{PROJECT}/fields?regex=(", 400))["error"]["message"]


async def test_keys_in_pages(site: Site) -> None:
    path = f"{PROJECT}/keys"
    first = await get(site, f"{path}?limit=1")
    assert ([each["key"] for each in first["keys"]], first["next"]) == (["loss"], "loss")
    assert first["keys"][0]["runs"] >= 24
    assert await get(site, f"{path}?after=loss&limit=1") == {
        "keys": [{"key": "only7", "runs": 1}],
        "next": "only7",
    }
    assert (await get(site, f"{path}?prefix=other/"))["keys"] == [{"key": "other/key", "runs": 1}]
    assert (await get(site, f"{path}?regex=7|/&runs=r07"))["keys"] == [{"key": "only7", "runs": 1}]


async def test_keys_of_a_run(site: Site) -> None:
    row = await site.add_run(
        "counted", {"n": {0: 1.0, 5: 2.0}, "x": {3: math.nan}}, project="two", kinds={"n": 2}
    )
    answer = await get(site, f"/v1/runs/team/{row.project}/counted/keys")
    assert answer == {
        "keys": [
            {"key": "n", "first_step": 0, "last_step": 5, "last": 2, "kind": "int"},
            {"key": "x", "first_step": 3, "last_step": 3, "last": "NaN", "kind": "float"},
        ],
        "next": None,
    }
    await get(site, "/v1/runs/team/two/nobody/keys", 404)


async def test_what_other_json_cannot_hold(site: Site) -> None:
    row = await site.add_run("odd", {}, project="odd")
    odd = {"nan": math.nan, "inf": [-math.inf], "big": 2**70, "half": "\ud800x", "nul": "\0"}
    await change(site, row.number, "config", odd)
    async with site.client.get("/v1/projects/team/odd/runs", headers=site.auth) as response:
        (run,) = (await response.json())["runs"]
    assert run["config"] == {
        "nan": "NaN", "inf": ["-Infinity"], "big": 2**70, "half": "?x", "nul": "\0",
    }  # fmt: skip
    path = f"/v1/projects/team/odd/runs?{urlencode({'filter': json.dumps({'config.big': 2**70})})}"
    assert (await get(site, path))["total"] == 1


async def test_what_was_logged_last_is_what_the_summary_shows(site: Site) -> None:
    """Several lanes, texts and numbers under one key: found by the value that is shown."""
    rng = np.random.default_rng(3)
    runs = [await site.add_run(f"m{n}", {}, project="mixed") for n in range(40)]
    project = runs[0].project_number
    keys = await site.catalog.ensure_keys(project, ["k"])
    rows: list[tuple[int, int, int, float]] = []
    texts: list[tuple[int, int, int, str, str]] = []
    for row in runs:
        for lane_number in range(int(rng.integers(1, 4))):
            writer = (row.number, f"w{lane_number}", int(rng.integers(0, 2)), lane_number + 5)
            lane = (await site.catalog.ensure_lanes([writer]))[writer[:2]]
            if rng.random() < 0.8:
                rows.append((row.number, lane, int(rng.integers(0, 4)), float(rng.random())))
            if rng.random() < 0.4:
                text = ("string", '"t"') if rng.random() < 0.7 else ("bool", "true")
                texts.append((row.number, lane, int(rng.integers(0, 4)), *text))
    await insert_last_values(site, keys["k"], rows, texts)
    numbers = [row.number for row in runs]
    lanes = await site.catalog.lanes(numbers)
    shown = await read_summaries(site.store, numbers, lanes, {keys["k"]: "k"})
    expected = {
        number: orjson.loads(orjson.dumps(summary.values["k"]))
        for number, summary in shown.items()
        if "k" in summary.values
    }
    logged = await read_logged(site.store, keys["k"], LaneRanks(site.catalog.lanes))
    found: dict[int, Any] = dict(zip(logged.run.tolist(), logged.value.tolist(), strict=True))
    found |= dict(zip(logged.text_run.tolist(), logged.text, strict=True))
    assert found == expected
    assert len({type(value) for value in expected.values()}) == 3
    answer = await get(site, "/v1/projects/team/mixed/fields")
    (field,) = (field for field in answer["fields"] if field["path"] == "summary.k")
    assert field["kinds"] == ["number", "string", "boolean"]
    assert {json.dumps(value) for value in field["values"]} == {'"t"', "true"}
    for wanted in ("t", True, 0.0):
        operator = "$gt" if wanted == 0.0 else "$eq"
        path = f"/v1/projects/team/mixed/runs?limit=1&{where('summary.k', operator, wanted)}"
        matching = [v for v in expected.values() if type(v) is type(wanted)]
        assert (await get(site, path))["total"] == len(matching)


def where(path: str, operator: str, operand: Any) -> str:
    return urlencode({"filter": json.dumps({path: {operator: operand}})})


async def insert_last_values(
    site: Site,
    key: int,
    rows: list[tuple[int, int, int, float]],
    texts: list[tuple[int, int, int, str, str]],
) -> None:
    run, lane, step, value = zip(*rows, strict=True)
    await site.store.insert(
        "series",
        {
            "run": np.array(run, np.uint32),
            "key": np.full(len(rows), key, np.uint32),
            "lane": np.array(lane, np.uint16),
            "first_step": np.zeros(len(rows), np.int64),
            "last_step": np.array(step, np.int64),
            "last": (np.full(len(rows), 1, np.uint64), np.array(value)),
            "kinds": np.ones(len(rows), np.uint8),
            "tiered": np.zeros(len(rows), np.int64),
        },
    )
    run, lane, step, kind, text = zip(*texts, strict=True)
    await site.store.insert(
        "values",
        {
            "key": np.full(len(texts), key, np.uint32),
            "run": np.array(run, np.uint32),
            "lane": np.array(lane, np.uint16),
            "step": np.array(step, np.int64),
            "kind": list(kind),
            "json": list(text),
            "seq": np.ones(len(texts), np.uint32),
        },
    )
