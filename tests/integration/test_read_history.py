"""History is every row that was logged, at full resolution, however it is paged."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import numpy as np
import pytest
from support.fuzzing import seeds
from support.series import SeriesData, lane_row, random_run, store_series

from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.readers import history
from penstock_storage.readers.history import HistoryQuery, read_history

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = count(1)
NAMES = {1: "loss", 2: "epoch", 3: "val/acc", 4: "note"}
START_US = 1_700_000_000_000_000


async def rows_of(store: ClickHouse, query: HistoryQuery) -> list[dict[str, Any]]:
    chunks = [chunk async for chunk in read_history(store, query)]
    return [json.loads(line) for line in b"".join(chunks).splitlines()]


async def store_value(
    store: ClickHouse, run: int, lane: int, step: int, text: str, key: int = 4
) -> None:
    await store.insert(
        "values",
        {
            "key": np.array([key]),
            "run": np.array([run]),
            "lane": np.array([lane]),
            "step": np.array([step]),
            "kind": ["string"],
            "json": [text],
            "seq": np.array([1]),
        },
    )


async def test_a_row_has_what_its_step_logged(store: ClickHouse) -> None:
    run = next(_numbers)
    await store_series(
        store,
        [
            SeriesData(1, run, 0, {0: 0.5, 1: np.nan, 2: -np.inf}),
            SeriesData(2, run, 0, {0: 7.0, 2: 8.0}, kinds=2),
        ],
    )
    await store_value(store, run, 0, 1, '{"a": [1, NaN]}')
    await store_value(store, run, 0, 2, '"hello"')
    query = HistoryQuery(run, [lane_row(run, 0)], NAMES, origin_us=START_US + run)
    assert await rows_of(store, query) == [
        {
            "_step": 0,
            "_timestamp": (START_US + run) / 1e6,
            "_runtime": 0.0,
            "loss": 0.5,
            "epoch": 7,
        },
        {
            "_step": 1,
            "_timestamp": (START_US + run + 1_000_000) / 1e6,
            "_runtime": 1.0,
            "loss": "NaN",
            "note": {"a": [1, "NaN"]},
        },
        {
            "_step": 2,
            "_timestamp": (START_US + run + 2_000_000) / 1e6,
            "_runtime": 2.0,
            "loss": "-Infinity",
            "epoch": 8,
            "note": "hello",
        },
    ]


async def test_of_what_was_stored_again_the_newest_counts(store: ClickHouse) -> None:
    run = next(_numbers)
    many = [SeriesData(key, run, 0, dict.fromkeys(range(5), 1.0), {3: key * 2.0}) for key in (3, 1)]
    await store_series(store, many)
    row = {"run": run, "lane": 0, "step": 3, "t": 7_000_000, "seq": 2}
    await store.insert("times", {name: np.array([value]) for name, value in row.items()})
    await store_value(store, run, 0, 4, '"over it"', key=3)
    found = await rows_of(store, HistoryQuery(run, [lane_row(run, 0)], NAMES))
    assert [row["loss"] for row in found] == [1.0, 1.0, 1.0, 2.0, 1.0]
    assert [row["val/acc"] for row in found] == [1.0, 1.0, 1.0, 6.0, "over it"]
    assert found[3]["_timestamp"] == 7.0


async def test_keys_keep_only_rows_that_have_all(store: ClickHouse) -> None:
    run = next(_numbers)
    await store_series(
        store,
        [
            SeriesData(1, run, 0, {step: step / 2 for step in range(100)}),
            SeriesData(3, run, 0, dict.fromkeys(range(0, 100, 10), 1.0)),
        ],
    )
    lanes = [lane_row(run, 0)]
    found = await rows_of(store, HistoryQuery(run, lanes, NAMES, keys=[1, 3], lo=20, hi=60))
    assert [row["_step"] for row in found] == [20, 30, 40, 50]
    assert all(set(row) == {"_step", "_timestamp", "_runtime", "loss", "val/acc"} for row in found)
    assert await rows_of(store, HistoryQuery(run, lanes, NAMES, keys=[1, 4])) == []


async def test_lowest_rank_wins_and_lanes_can_be_told_apart(store: ClickHouse) -> None:
    run = next(_numbers)
    await store_series(
        store,
        [
            SeriesData(1, run, 0, {0: 1.0, 1: 1.0}),
            SeriesData(1, run, 1, {0: 2.0, 2: 2.0}),
            SeriesData(3, run, 0, {0: 9.0}),
        ],
    )
    lanes = [lane_row(run, 0, rank=1), lane_row(run, 1, rank=0)]
    latest = await rows_of(store, HistoryQuery(run, lanes, NAMES))
    assert [(row["_step"], row["loss"], row.get("val/acc")) for row in latest] == [
        (0, 2.0, 9.0),
        (1, 1.0, None),
        (2, 2.0, None),
    ]
    every = await rows_of(store, HistoryQuery(run, lanes, NAMES, by_lane=True))
    assert [(row["_step"], row["_rank"], row["_lane"], row["loss"]) for row in every] == [
        (0, 0, 1, 2.0),
        (0, 1, 0, 1.0),
        (1, 1, 0, 1.0),
        (2, 0, 1, 2.0),
    ]


@pytest.mark.parametrize("seed", seeds(12, smoke=4))
async def test_equals_brute_force_in_pages_of_any_size(
    store: ClickHouse, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(history, "_MAX_PAGE_POINTS", int(rng.choice([3, 40, 1_000])))
    run = next(_numbers)
    lanes, series, ends = await random_run(store, rng, run)
    want: dict[int, dict[str, float]] = {}
    for lane in sorted(lanes, key=lambda lane: -lane.rank):
        for s in series:
            for step, v in s.points.items():
                if s.lane == lane.lane and step < ends.get((run, s.lane), 2**62):
                    want.setdefault(step, {})[NAMES[s.key]] = v
    found = await rows_of(store, HistoryQuery(run, lanes, NAMES))
    assert [row["_step"] for row in found] == sorted(want)
    assert [{k: v for k, v in row.items() if k[0] != "_"} for row in found] == [
        want[step] for step in sorted(want)
    ]
    assert None not in [row["_timestamp"] for row in found]
