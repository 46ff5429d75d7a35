"""Charts of groups and of ranks over HTTP, in JSON and msgpack; and the manual's decoder of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import pytest_asyncio
from support.series import SeriesData, store_series
from support.site import Site, running_site

from penstock_storage.contracts.interface import RunRef

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCS = Path(__file__).parents[2] / "docs"
BEGAN_US = 1_700_000_000_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Runs a, b and c of 0, 10 and 20 plus the step; `many` has three ranks, the last begun twice."""
    async with running_site(tmp_path_factory.mktemp("site")) as site:
        for level, run in enumerate(("a", "b", "c")):
            points = {step: 10.0 * level + step for step in range(100)}
            if run == "c":
                points |= {50: float("nan"), 51: float("inf")}
            await site.add_run(run, {"loss": points}, started=BEGAN_US + level * 1_000_000)
        await add_ranks(site)
        yield site


async def add_ranks(site: Site) -> None:
    ref = RunRef("team", "demo", "many")
    row = (await site.catalog.ensure_runs([ref]))[ref]
    (key,) = (await site.catalog.ensure_keys(row.project_number, ["loss"])).values()
    writers = [(f"w{n}", rank, BEGAN_US + n) for n, rank in enumerate((0, 1, 2, 2))]
    asked = [(row.number, *writer) for writer in writers]
    lanes = await site.catalog.ensure_lanes(asked)
    series = []
    for n, (writer, rank, _) in enumerate(writers):
        steps = range(60, 100) if n == 3 else range(100)
        points = {step: float(1_000 if n == 2 and step >= 60 else rank) for step in steps}
        series.append(SeriesData(key, row.number, lanes[row.number, writer], points))
    await store_series(site.store, series)


async def ask(site: Site, status: int = 200, **fields: Any) -> Any:
    body = {"project": "demo", "keys": ["loss"], **fields}
    async with site.client.post("/v1/charts", json=body, headers=site.auth) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_groups_have_mean_and_spread_over_their_runs(site: Site) -> None:
    answer = await ask(site, groups={"ab": ["a", "b"], "all": ["c", "b", "a", "gone"], "no": []})
    ab, everyone = answer["series"]
    assert (ab["group"], ab["run"], ab["key"]) == ("ab", None, "loss")
    assert ab["mean"] == [5.0 + step for step in range(100)]
    np.testing.assert_allclose(ab["std"], np.std([0, 10], ddof=1))
    np.testing.assert_allclose(ab["stderr"], 5.0)
    assert (ab["min"][7], ab["max"][7], ab["last"][7], ab["count"][7]) == (7, 17, 12, 2)
    assert everyone["group"] == "all"
    assert everyone["samples"][49:53] == [3, 2, 2, 3]
    assert everyone["non_finite"][49:53] == [0, 1, 1, 0]
    assert everyone["mean"][50] == 55.0


async def test_wide_buckets_take_each_run_as_one_sample(site: Site) -> None:
    (group,) = (await ask(site, groups={"g": ["a", "c"]}, buckets=1))["series"]
    finite = [20 + step for step in range(100) if step not in (50, 51)]
    means = [np.mean(range(100)), np.mean(finite)]
    np.testing.assert_allclose(group["mean"], [np.mean(means)])
    np.testing.assert_allclose(group["std"], [np.std(means, ddof=1)])
    assert (group["min"], group["max"], group["count"]) == ([0], [119], [198])


async def test_ranks_are_samples_in_their_latest_attempt(site: Site) -> None:
    (many,) = (await ask(site, runs=["many"], aggregate="ranks"))["series"]
    assert (many["group"], many["run"]) == (None, "many")
    assert many["samples"] == [3] * 100
    assert many["mean"] == [1.0] * 100  # of the attempt that was left nothing
    np.testing.assert_allclose(many["std"], np.std([0, 1, 2], ddof=1))
    alone = (await ask(site, runs=["a"], aggregate="ranks"))["series"][0]
    assert alone["std"] == alone["stderr"] == [None] * 100


async def test_time_since_the_run_began(site: Site) -> None:
    (a,) = (await ask(site, runs=["a"], x="_timestamp"))["series"]
    (relative,) = (await ask(site, runs=["a"], x="relative"))["series"]
    np.testing.assert_allclose(relative["x"], np.array(a["x"]) - BEGAN_US / 1e6, atol=1e-6)
    (b,) = (await ask(site, runs=["b"], x="relative"))["series"]
    np.testing.assert_allclose(b["x"], np.arange(100) - 1, atol=1e-3)
    part: dict[str, Any] = {"x": "relative", "from": 9.5, "to": 20.5}
    (cut,) = (await ask(site, runs=["b"], **part))["series"]
    assert cut["step"] == list(range(11, 22))
    (group,) = (await ask(site, groups={"g": ["a", "b"]}, x="relative"))["series"]
    np.testing.assert_allclose(group["x"], np.arange(100) - 0.5, atol=1e-3)


async def test_the_manuals_decoder_reads_what_json_says(site: Site) -> None:
    text = (DOCS / "api.md").read_text()
    (source,) = re.findall(r"```python\n(def decode.*?)```", text, re.DOTALL)
    scope: dict[str, Any] = {"msgpack": msgpack, "numpy": np}
    exec(source, scope)  # noqa: S102
    for fields in ({"runs": ["a", "c"]}, {"groups": {"g": ["a", "c"]}}):
        body: dict[str, Any] = {"project": "demo", "keys": ["loss"], **fields}
        headers = {**site.auth, "Accept": "application/msgpack"}
        async with site.client.post("/v1/charts", json=body, headers=headers) as response:
            packed = scope["decode"](await response.read())
        plain = await ask(site, **fields)
        assert packed["width"] == plain["width"]
        for one, other in zip(packed["series"], plain["series"], strict=True):
            assert one.keys() == other.keys()
            for name, column in other.items():
                if isinstance(column, list):
                    want = [np.nan if value is None else value for value in column]
                    np.testing.assert_array_equal(one[name], want)
                else:
                    assert one[name] == column


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "runs or groups"),
        ({"runs": ["a"], "groups": {"g": ["a"]}}, "runs or groups"),
        ({"groups": {"g": ["a"]}, "aggregate": "ranks"}, "aggregate"),
        ({"groups": {"g": ["a"]}, "lanes": "all"}, "lanes"),
        ({"runs": ["a"], "aggregate": "runs"}, "aggregate"),
        ({"groups": {}}, "groups"),
        ({"groups": ["a"]}, "groups"),
        ({"groups": {"g": [str(n) for n in range(4_000)], "h": [str(n) for n in range(4_000)]}}, "5000"),
        ({"runs": [str(n) for n in range(5_001)]}, "runs"),
    ],
)  # fmt: skip
async def test_questions_that_make_no_sense(site: Site, fields: dict[str, Any], named: str) -> None:
    error = (await ask(site, 400, **fields))["error"]
    assert error["code"] == "bad_field"
    assert named in error["message"]
