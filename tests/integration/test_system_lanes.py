"""What a machine measured of itself is no part of what its run logged, and a history of its own."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import numpy as np
import pytest
from support.fuzzing import seeds
from support.series import SeriesData, lane_row, random_run, store_series

from penstock.wire import SYSTEM_RANK
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.contracts.interface import LaneRow
from penstock_storage.readers.diff import DiffQuery, read_diff
from penstock_storage.readers.export import ExportQuery, open_export
from penstock_storage.readers.history import HistoryQuery, read_history
from penstock_storage.readers.key_facts import read_key_facts
from penstock_storage.readers.sampling import read_sampled, read_steps
from penstock_storage.readers.summaries import read_summaries

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = count(50_001)
NAMES = {1: "loss", 2: "epoch", 3: "acc", 4: "system.cpu", 5: "note", 6: "_runtime", 7: "_alert"}


async def store_value(
    store: ClickHouse, run: int, step: int, text: str, *, key: int = 5, kind: str = "string"
) -> None:
    await store.insert(
        "values",
        {
            "key": np.array([key]), "run": np.array([run]), "lane": np.array([0]),
            "step": np.array([step]), "kind": [kind], "json": [text], "seq": np.array([1]),
        },
    )  # fmt: skip


async def trained(store: ClickHouse) -> tuple[int, list[LaneRow]]:
    """A run of three steps on a machine that measured itself five times."""
    run = next(_numbers)
    await store_series(
        store,
        [
            SeriesData(1, run, 0, {0: 0.5, 1: np.nan, 2: -np.inf}),
            SeriesData(2, run, 0, {0: 7.0, 2: 8.0}, kinds=2),
            SeriesData(6, run, 0, {1: 77.5}),
            SeriesData(4, run, 1, {step: step / 2 for step in range(5)}),
        ],
    )
    await store_value(store, run, 2, '"hello"')
    await store_value(store, run, 10**15, '{"title": "x"}', key=7, kind="alert")
    return run, [lane_row(run, 0), lane_row(run, 1, rank=SYSTEM_RANK)]


async def lines(store: ClickHouse, query: HistoryQuery, rows: int | None = None) -> list[Any]:
    read = read_history(store, query) if rows is None else read_sampled(store, query, rows)
    return [json.loads(line) for line in b"".join([chunk async for chunk in read]).splitlines()]


async def test_history(store: ClickHouse) -> None:
    run, lanes = await trained(store)
    rows = await lines(store, HistoryQuery(run, lanes, NAMES, is_bare=True))
    assert [row["_step"] for row in rows] == [0, 1, 2]
    assert not any("system.cpu" in row or "_alert" in row for row in rows)
    assert np.isnan(rows[1]["loss"])
    assert rows[2]["loss"] == -np.inf
    assert rows[2]["note"] == "hello"
    assert rows[1]["_runtime"] == 77.5  # what was logged, where it was
    assert rows[0]["_runtime"] == rows[0]["_timestamp"]
    assert await lines(store, HistoryQuery(run, lanes, NAMES, keys=[4])) == []
    machine = await lines(store, HistoryQuery(run, lanes, NAMES, is_system=True))
    assert [row["system.cpu"] for row in machine] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert all("loss" not in row for row in machine)


async def test_a_logged_time_is_said_once(store: ClickHouse) -> None:
    run, lanes = await trained(store)
    read = read_history(store, HistoryQuery(run, lanes, NAMES))
    text = b"".join([chunk async for chunk in read])
    assert text.count(b'"_runtime"') == 3


async def test_summary_export_and_diff(store: ClickHouse) -> None:
    (run, lanes), (other, others) = await trained(store), await trained(store)
    await store_series(store, [SeriesData(4, other, 1, {1: 99.0})])
    summary = (await read_summaries(store, [run], lanes, NAMES))[run]
    assert set(summary.values) == {"loss", "epoch", "note", "_runtime"}
    assert summary.last_step == 2
    machine = (await read_summaries(store, [run], lanes, NAMES, is_system=True))[run]
    assert machine.values == {"system.cpu": 2.0}
    named = (await read_summaries(store, [run], lanes, NAMES, keys=[4]))[run]
    assert (named.values, named.last_step) == ({"system.cpu": 2.0}, 2)
    export = await open_export(store, ExportQuery(run, lanes, NAMES))
    assert [each.name for each in export.columns] == ["_runtime", "epoch", "loss", "note"]
    whole = await open_export(store, ExportQuery(run, lanes, NAMES, by_lane=True))
    assert "system.cpu" in [each.name for each in whole.columns]
    differences = await read_diff(store, DiffQuery((run, other), (lanes, others), NAMES))
    assert (differences.differences, differences.only_a, differences.only_b) == ([], [], [])
    assert differences.compared == 4


async def test_key_facts(store: ClickHouse) -> None:
    run, lanes = await trained(store)
    facts = (await read_key_facts(store, lanes, NAMES))[run]
    assert (facts.last_step, facts.rows) == (2, 3)
    assert {name: each.counts for name, each in facts.keys.items()} == {
        "loss": {"number": 3}, "epoch": {"number": 2}, "_runtime": {"number": 1},
        "note": {"string": 1},
    }  # fmt: skip
    assert facts.keys["epoch"].never_falls
    assert not facts.keys["loss"].never_falls
    assert (facts.keys["note"].last, facts.keys["epoch"].last) == ("hello", 8)


@pytest.mark.parametrize("seed", seeds(12, smoke=4))
async def test_key_facts_and_steps_of_several_lanes(store: ClickHouse, seed: int) -> None:
    """Several ranks and attempts, several runs at a time: as every point says."""
    rng = np.random.default_rng(seed)
    made = {}
    for _ in range(3):
        run = next(_numbers)
        made[run] = await random_run(store, rng, run)
    every_lane = [lane for lanes, _, _ in made.values() for lane in lanes]
    facts = await read_key_facts(store, every_lane, NAMES)
    for run, (lanes, series, ends) in made.items():
        shown: dict[int, set[int]] = {}
        for each in series:
            end = ends.get((run, each.lane), 2**62)
            shown.setdefault(each.key, set()).update(s for s in each.points if s < end)
        steps = sorted(set().union(*shown.values()))
        assert facts[run].last_step == steps[-1]
        assert facts[run].rows == len(steps)
        counts = {NAMES[key]: len(own) for key, own in shown.items() if own}
        assert {k: v.counts["number"] for k, v in facts[run].keys.items()} == counts
        query = HistoryQuery(run, lanes, NAMES)
        assert (await read_steps(store, query)).tolist() == steps
        keyed = HistoryQuery(run, lanes, NAMES, keys=[1, 3], lo=-20, hi=40)
        both = sorted(s for s in shown[1] & shown[3] if -20 <= s < 40)
        assert (await read_steps(store, keyed)).tolist() == both
        every = await lines(store, query)
        assert await lines(store, query, len(every)) == every
        some = await lines(store, query, 5)
        assert len(some) == min(5, len(every))
        assert [row for row in every if row in some] == some
        assert (some[0], some[-1]) == (every[0], every[-1])
