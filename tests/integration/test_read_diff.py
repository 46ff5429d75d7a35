"""The first step at which two runs differ is the one that comparing every point finds."""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import numpy as np
import orjson
import pytest
import pytest_asyncio
from support.fuzzing import seeds
from support.series import SeriesData, lane_row, store_series
from support.site import Site, running_site

from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.contracts.interface import LaneRow, Micros
from penstock_storage.readers import diff
from penstock_storage.readers.diff import DiffQuery, read_diff

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = count(1)
NAMES = {1: "loss", 2: "epoch", 3: "val/acc", 4: "note"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


async def compared(
    store: ClickHouse,
    a: dict[int, dict[int, float]],
    b: dict[int, dict[int, float]],
    tolerance: float = 0.0,
    kinds: int = 1,
) -> dict[str, tuple[int, Any, Any]]:
    """Two runs of one lane each: (step, a, b) by key."""
    runs = next(_numbers), next(_numbers)
    await store_series(
        store,
        [
            SeriesData(key, run, 0, dict(points), kinds=kinds)
            for run, curves in zip(runs, (a, b), strict=True)
            for key, points in curves.items()
        ],
    )
    lanes = [lane_row(runs[0], 0)], [lane_row(runs[1], 0)]
    found = await read_diff(store, DiffQuery(runs, lanes, NAMES, tolerance=tolerance))
    return {each.key: (each.step, each.a, each.b) for each in found.differences}


async def test_equal_runs_do_not_differ(store: ClickHouse) -> None:
    points = {step: math.sin(step) for step in range(-500, 3_000)}
    points |= {7: math.nan, 8: math.inf, 9: -0.0}
    assert await compared(store, {1: points, 2: {3: 4.0}}, {1: points, 2: {3: 4.0}}) == {}


async def test_bits_count_unless_a_tolerance_is_given(store: ClickHouse) -> None:
    points = {step: 1.0 + step for step in range(1_000)}
    other = points | {700: np.nextafter(701.0, 0), 900: 5.0}
    assert await compared(store, {1: points}, {1: other}) == {"loss": (700, 701.0, other[700])}
    assert await compared(store, {1: points}, {1: other}, 1e-9) == {"loss": (900, 901.0, 5.0)}
    assert await compared(store, {1: points}, {1: other}, 1.0) == {}
    zeros = await compared(store, {1: {0: 0.0, 1: math.nan}}, {1: {0: -0.0, 1: math.inf}})
    assert zeros["loss"][0] == 0
    assert await compared(store, {1: {0: 0.0, 1: math.nan}}, {1: {0: -0.0, 1: math.inf}}, 0.1) == {
        "loss": (1, "NaN", "Infinity")
    }


async def test_a_missing_step_is_a_difference_only_where_both_have_been(store: ClickHouse) -> None:
    points = dict.fromkeys(range(1000), 1.0)
    shorter = dict.fromkeys(range(10, 600), 1.0)
    assert await compared(store, {1: points}, {1: shorter}) == {}
    del shorter[333]
    assert await compared(store, {1: points}, {1: shorter}) == {"loss": (333, 1.0, None)}
    assert await compared(store, {1: shorter}, {1: points}) == {"loss": (333, None, 1.0)}
    far = dict.fromkeys((5000, 5001), 1.0)
    assert await compared(store, {1: points}, {1: far}) == {}


async def test_of_a_step_stored_twice_the_newest_counts(store: ClickHouse) -> None:
    runs = next(_numbers), next(_numbers)
    many = [
        SeriesData(1, runs[0], 0, {0: 1.0, 1: 1.0, 2: 1.0}, {1: 2.0}),
        SeriesData(1, runs[1], 0, {0: 1.0, 1: 2.0, 2: 1.0}, {1: 1.0}),
    ]
    await store_series(store, many)  # the same rows, in another order of writing
    lanes = [lane_row(runs[0], 0)], [lane_row(runs[1], 0)]
    found = await read_diff(store, DiffQuery(runs, lanes, NAMES))
    assert [(each.step, each.a, each.b) for each in found.differences] == [(1, 2.0, 1.0)]


async def test_ranks_are_compared_with_their_like(store: ClickHouse) -> None:
    a, b = next(_numbers), next(_numbers)
    same = dict.fromkeys(range(100), 1.0)
    await store_series(
        store,
        [
            SeriesData(1, a, 0, same),
            SeriesData(1, a, 1, same),
            SeriesData(1, a, 2, same | {3: 9.0}),  # a rank that the other run does not have
            # Rank 0 failed at step 50 and was resumed at 40; what it logged after 40 is no more.
            SeriesData(1, b, 0, {step: 1.0 if step < 40 else 7.0 for step in range(50)}),
            SeriesData(1, b, 2, dict.fromkeys(range(40, 100), 1.0)),
            SeriesData(1, b, 1, same | {60: 2.0}),
        ],
    )
    lanes_a = [lane_row(a, 0), lane_row(a, 1, rank=1), lane_row(a, 2, rank=2)]
    lanes_b = [lane_row(b, 0, started=1), lane_row(b, 2, started=2), lane_row(b, 1, rank=1)]
    found = await read_diff(store, DiffQuery((a, b), (lanes_a, lanes_b), NAMES))
    assert [(d.key, d.step, d.rank, d.a, d.b) for d in found.differences] == [
        ("loss", 60, 1, 1.0, 2.0)
    ]
    # Without a rank in common, the lowest of each.
    lanes_c = [LaneRow(row.run, row.lane, row.writer, row.rank + 10, Micros(0)) for row in lanes_b]
    found = await read_diff(store, DiffQuery((a, b), (lanes_a, lanes_c), NAMES))
    assert found.compared == 1


def bits(value: float) -> bytes:
    return struct.pack("<d", math.nan if math.isnan(value) else value)


@pytest.mark.parametrize("seed", seeds(16, smoke=4))
async def test_equals_comparing_every_point(
    store: ClickHouse, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(diff, "_WINDOWS", int(rng.choice([1, 4, 128])))
    monkeypatch.setattr(diff, "_MAX_POINTS", int(rng.choice([1, 10_000])))
    monkeypatch.setattr(diff, "_KEYS_PER_STATEMENT", int(rng.choice([1, 5_000])))
    curves: list[dict[int, dict[int, float]]] = [{}, {}]
    for key in (1, 2, 3):
        base, stride = int(rng.integers(-3_000, 3_000)), int(rng.choice([1, 3]))
        steps = base + np.arange(int(rng.integers(1, 3_000))) * stride
        values = rng.choice([0.5, 1.5, math.nan, math.inf, -0.0], len(steps))
        for side in curves:
            points = dict(zip(steps.tolist(), values.tolist(), strict=True))
            for _ in range(int(rng.integers(3))):
                step = int(rng.choice(steps))
                if rng.random() < 0.5:
                    points.pop(step, None)
                else:
                    points[step] = 3.0
            side[key] = points or {base: 1.0}
    want = {}
    for key in (1, 2, 3):
        a, b = curves[0][key], curves[1][key]
        lo, hi = max(min(a), min(b)), min(max(a), max(b))
        steps_of_either = sorted(step for step in a.keys() | b.keys() if lo <= step <= hi)
        for step in steps_of_either:
            if (step in a) != (step in b) or bits(a[step]) != bits(b[step]):
                want[NAMES[key]] = step
                break
    found = await compared(store, curves[0], curves[1])
    assert {key: step for key, (step, _, _) in found.items()} == want


async def test_values_are_compared_as_text(store: ClickHouse) -> None:
    runs = next(_numbers), next(_numbers)
    for run, texts in zip(runs, (["a", "b", "c"], ["a", "b", "d"]), strict=True):
        await store_series(store, [SeriesData(1, run, 0, {0: 1.0})])
        for step, text in enumerate(texts):
            row = {"key": 4, "run": run, "lane": 0, "step": step, "seq": 1}
            columns = {name: np.array([value]) for name, value in row.items()}
            await store.insert("values", {**columns, "kind": ["string"], "json": [f'"{text}"']})
    lanes = [lane_row(runs[0], 0)], [lane_row(runs[1], 0)]
    found = await read_diff(store, DiffQuery(runs, lanes, NAMES))
    assert found.compared == 2
    (difference,) = found.differences
    assert (difference.key, difference.step) == ("note", 2)
    assert orjson.loads(orjson.dumps([difference.a, difference.b])) == ["c", "d"]


async def test_over_http(site: Site) -> None:
    same = {step: float(step) for step in range(50)}
    await site.add_run("a", {"loss": same, "epoch": {0: 1.0, 5: 2.0}}, kinds={"epoch": 2})
    await site.add_run(
        "b", {"loss": same, "epoch": {0: 1.0, 5: 3.0}, "new": {1: 1.0}}, kinds={"epoch": 2}
    )
    url = "/v1/projects/team/demo/diff"

    async def ask(expected: int = 200, **query: str) -> Any:
        async with site.client.get(url, params=query, headers=site.auth) as reply:
            assert reply.status == expected, await reply.text()
            return await reply.json()

    assert await ask(runs="a,b") == {
        "step": 5,
        "keys": [{"key": "epoch", "step": 5, "rank": 0, "a": 2, "b": 3}],
        "compared": 2,
        "only_a": [],
        "only_b": ["new"],
    }
    assert (await ask(runs="a,b", keys="loss"))["step"] is None
    assert (await ask(runs="a,b", tolerance="0.5"))["step"] is None
    assert (await ask(404, runs="a,nobody"))["error"]["code"] == "not_found"
    for query in ({"runs": "a"}, {"runs": "a,a"}, {"runs": "a,b", "tolerance": "-1"}, {}):
        assert (await ask(400, **query))["error"]["code"]
    stranger = {"Authorization": f"Bearer {site.stranger}"}
    async with site.client.get(url, params={"runs": "a,b"}, headers=stranger) as reply:
        assert reply.status == 404
