"""An export holds every point that was logged, bit for bit, in files that common tools read."""

from __future__ import annotations

import csv
import io
import math
import struct
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.fuzzing import seeds
from support.series import SeriesData, lane_row, random_run, store_series

from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.readers import export
from penstock_storage.readers.export import Export, ExportQuery, open_export

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = count(1)
NAMES = {
    1: "loss",
    2: "epoch",
    3: "val/acc.top-1",
    4: "note",
    5: "q`\\'\"é 🙂",
    6: "_step",
    7: "flag",
    8: "any",
}
ODD = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1, 2.0**53, -1.7976931348623157e308]
FAR = 2**53 - 1


async def add_values(
    store: ClickHouse, run: int, key: int, texts: dict[int, tuple[str, str]]
) -> None:
    row = {"key": key, "run": run, "lane": 0, "seq": 1}
    columns: dict[str, Any] = {name: np.full(len(texts), value) for name, value in row.items()}
    kinds, jsons = zip(*texts.values(), strict=True)
    await store.insert(
        "values",
        {**columns, "step": np.array(list(texts)), "kind": list(kinds), "json": list(jsons)},
    )


async def files(store: ClickHouse, found: Export, form: Any) -> list[bytes]:
    return [
        b"".join([chunk async for chunk in found.read(store, form, lo, hi)])
        for lo, hi in found.parts
    ]


async def table(store: ClickHouse, query: ExportQuery) -> pa.Table:
    found = await open_export(store, query)
    parts = [pq.read_table(io.BytesIO(data)) for data in await files(store, found, "parquet")]
    whole = pa.concat_tables(parts)  # refuses parts whose columns differ
    assert str(whole.schema.field("_timestamp").type) == "timestamp[us, tz=UTC]"
    # As microseconds: the times of the farthest steps are no dates.
    at = whole.column_names.index("_timestamp")
    return whole.set_column(at, "_timestamp", whole["_timestamp"].cast(pa.int64()))


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)


async def test_a_wide_table_holds_every_kind_of_value(store: ClickHouse) -> None:
    run = next(_numbers)
    steps = [-FAR, -1, 0, 1, 2, 3, 4, FAR]
    floats = dict(zip(steps, ODD, strict=True))
    await store_series(
        store,
        [
            SeriesData(1, run, 0, floats),
            SeriesData(2, run, 0, {0: 7.0, 4: 2.0**53}, kinds=2),
            SeriesData(3, run, 0, {1: 0.25}, {1: 0.5}),
            SeriesData(5, run, 0, {2: 1.0}),
            SeriesData(6, run, 0, {3: 1.0}),
            SeriesData(8, run, 0, {3: 1.5}),
        ],
    )
    await add_values(store, run, 4, {0: ("string", '"a\\"b\\u00e9,\\n"'), 9: ("string", '""')})
    await add_values(store, run, 7, {1: ("bool", "true"), 2: ("bool", "false")})
    await add_values(store, run, 8, {1: ("list", "[1, NaN]"), 2: ("string", '"text"')})
    query = ExportQuery(run, [lane_row(run, 0)], NAMES, origin_us=1_700_000_000_000_000 + run)
    found = await table(store, query)
    assert {field.name: str(field.type) for field in found.schema} == {
        "_step": "int64", "_timestamp": "int64", "_runtime": "double",
        "_step_": "double", "any": "double", "any.json": "string", "epoch": "int64",
        "flag": "bool", "loss": "double", "note": "string", NAMES[5]: "double",
        "val/acc.top-1": "double",
    }  # fmt: skip
    rows = {row["_step"]: row for row in found.to_pylist()}
    assert list(rows) == [-FAR, -1, 0, 1, 2, 3, 4, 9, FAR]
    assert {step: bits(row["loss"]) for step, row in rows.items() if step != 9} == {
        step: bits(v) for step, v in floats.items()
    }
    assert rows[9]["loss"] is None
    assert (rows[0]["epoch"], rows[4]["epoch"], rows[1]["epoch"]) == (7, 2**53, None)
    assert (rows[0]["note"], rows[9]["note"], rows[1]["note"]) == ('a"bé,\n', "", None)
    assert (rows[1]["flag"], rows[2]["flag"], rows[0]["flag"]) == (True, False, None)
    assert (rows[1]["any.json"], rows[2]["any.json"], rows[3]["any"]) == ("[1, NaN]", '"text"', 1.5)
    assert rows[1]["val/acc.top-1"] == 0.5
    assert (rows[2][NAMES[5]], rows[3]["_step_"]) == (1.0, 1.0)
    assert rows[4]["_runtime"] == 4.0
    assert rows[4]["_timestamp"] == 1_700_000_004_000_000 + run
    assert rows[9]["_timestamp"] is None


async def test_csv_reads_back_to_the_same_bits(store: ClickHouse) -> None:
    run = next(_numbers)
    floats = dict(enumerate([*ODD, 1 / 3]))
    await store_series(
        store, [SeriesData(1, run, 0, floats), SeriesData(2, run, 0, {3: 7.0}, kinds=2)]
    )
    await add_values(store, run, 4, {1: ("string", '"a, \\"b\\"\\n"')})
    query = ExportQuery(run, [lane_row(run, 0)], NAMES)
    (data,) = await files(store, await open_export(store, query), "csv")
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert list(rows[0]) == ["_step", "_timestamp", "_runtime", "epoch", "loss", "note"]
    read = [float(row["loss"]) for row in rows]
    assert [bits(v) for v in read if v == v] == [bits(v) for v in floats.values() if v == v]
    assert math.isnan(read[0])
    assert [row["epoch"] for row in rows] == ["", "", "", "7", "", "", "", "", ""]
    assert rows[1]["note"] == 'a, "b"\n'
    assert rows[1]["_timestamp"] == f"2023-11-14T22:13:21.{run:06d}Z"


async def test_a_long_table_has_a_row_per_point(store: ClickHouse) -> None:
    run = next(_numbers)
    await store_series(
        store,
        [
            SeriesData(1, run, 0, {0: 1.0, 1: math.nan}, {0: -0.0}),
            SeriesData(1, run, 1, {0: 2.0, 5: 3.0}),
        ],
    )
    await add_values(store, run, 4, {1: ("string", '"x"')})
    lanes = [lane_row(run, 0, rank=3), lane_row(run, 1, rank=1)]
    every = await table(store, ExportQuery(run, lanes, NAMES, by_lane=True, layout="long"))
    names = ("key", "_step", "_rank", "_lane", "value", "text")
    rows = [tuple(row[name] for name in names) for row in every.to_pylist()]
    assert [(*row[:4], bits(row[4]), row[5]) for row in rows] == [
        ("loss", 0, 1, 1, bits(2.0), None),
        ("loss", 0, 3, 0, bits(-0.0), None),
        ("loss", 1, 3, 0, bits(math.nan), None),
        ("loss", 5, 1, 1, bits(3.0), None),
        ("note", 1, 3, 0, None, '"x"'),
    ]
    assert None not in every["_timestamp"].to_pylist()
    latest = await table(store, ExportQuery(run, lanes, NAMES, layout="long"))
    assert latest.column_names == ["key", "_step", "_timestamp", "_runtime", "value", "text"]
    assert latest["value"].to_pylist()[0] == 2.0


@pytest.mark.parametrize("seed", seeds(10, smoke=3))
async def test_equals_brute_force_in_parts_of_any_size(
    store: ClickHouse, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(export, "_MAX_CELLS", int(rng.choice([3, 40, 1_000])))
    run = next(_numbers)
    lanes, series, ends = await random_run(store, rng, run)
    lo, hi = int(rng.integers(-60, 0)), int(rng.integers(20, 300))
    want: dict[int, dict[str, float]] = {}
    every: dict[tuple[int, int], dict[str, float]] = {}
    for lane in sorted(lanes, key=lambda lane: -lane.rank):
        for s in series:
            for step, v in s.points.items():
                if s.lane == lane.lane and lo <= step < hi:
                    every.setdefault((step, s.lane), {})[NAMES[s.key]] = v
                    if step < ends.get((run, s.lane), 2**62):
                        want.setdefault(step, {})[NAMES[s.key]] = v
    query = ExportQuery(run, lanes, NAMES, lo=lo, hi=hi)

    def cells(row: dict[str, Any]) -> dict[str, float]:
        return {key: v for key, v in row.items() if key[0] != "_" and v is not None}

    if want:
        wide = (await table(store, query)).to_pylist()
        assert [(row["_step"], cells(row)) for row in wide] == sorted(want.items())
        assert None not in [row["_timestamp"] for row in wide]
    if every:
        query = ExportQuery(run, lanes, NAMES, lo=lo, hi=hi, by_lane=True)
        rows = (await table(store, query)).to_pylist()
        order = {lane.lane: (lane.rank, lane.lane) for lane in lanes}
        wanted = sorted(every.items(), key=lambda item: (item[0][0], order[item[0][1]]))
        assert [((row["_step"], row["_lane"]), cells(row)) for row in rows] == wanted


async def test_values_alone_are_rows_too(
    store: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_MAX_CELLS", 8)
    run = next(_numbers)
    await add_values(store, run, 4, {step: ("string", f'"{step}"') for step in range(7)})
    query = ExportQuery(run, [lane_row(run, 0)], NAMES)
    assert len((await open_export(store, query)).parts) == 4
    found = await table(store, query)
    assert found["note"].to_pylist() == [str(step) for step in range(7)]


async def test_a_version_changes_with_every_commit(store: ClickHouse) -> None:
    run = next(_numbers)
    await store_series(store, [SeriesData(1, run, 0, {0: 1.0})])

    async def version_after(low: int) -> str:
        row = {"run": run, "lane": 0, "low": low, "ver": low}
        columns: dict[str, Any] = {name: np.array([value]) for name, value in row.items()}
        await store.insert("applied", {**columns, "writer": ["w"], "gaps": [[]], "dead": [[]]})
        return (await open_export(store, ExportQuery(run, [lane_row(run, 0)], NAMES))).version

    one = await version_after(1)
    assert await version_after(1) == one
    assert await version_after(2) != one
    assert (await open_export(store, ExportQuery(next(_numbers), [], NAMES))).parts == []
