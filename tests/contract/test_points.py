"""What every point store promises, tried on the real store process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.store import StoreHandle, running_store, until_running

from penstock.errors import Broken, Transient
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.contracts.interface import Columns

TEXTS = ["", "'", "a'b\\c", "\n\t\r\0\b\f", '"`', "é漢🦆", "{x:UInt8}", "\\n", "x" * 100_000]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoreHandle]:
    async with running_store(tmp_path_factory.mktemp("store"), memory_bytes=2**30) as handle:
        client = handle.client()
        await client.setup()
        await client.close()
        yield handle


@pytest.fixture
async def points(store: StoreHandle) -> AsyncIterator[ClickHouse]:
    client = store.client()
    yield client
    await client.close()


def rows_of(run: int, rows: int, *, key: int = 1, seq: int = 1) -> Columns:
    return {
        "key": np.full(rows, key, np.uint32),
        "run": np.full(rows, run, np.uint32),
        "lane": np.zeros(rows, np.uint16),
        "step": np.arange(rows, dtype=np.int64),
        "v": np.arange(rows, dtype=np.float64) / 7,
        "seq": np.full(rows, seq, np.uint32),
    }


async def count(points: ClickHouse, run: int) -> int:
    answer = await points.query(
        "SELECT count() AS n FROM penstock.points FINAL WHERE run = {run:UInt32}", {"run": run}
    )
    return int(answer["n"][0])


async def test_setup_can_be_repeated_and_keeps_the_id(points: ClickHouse) -> None:
    before = await points.store_id()
    await points.setup()
    assert await points.store_id() == before
    assert len(before) >= 16


async def test_numbers_come_back_bit_by_bit(points: ClickHouse) -> None:
    columns = rows_of(10, 7)
    odd = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1]
    columns["v"] = np.array(odd)
    columns["step"] = np.array([-(2**53), -1, 0, 1, 2**31, 2**53, 2**62])
    await points.insert("points", columns)
    answer = await points.query("SELECT step, v FROM penstock.points WHERE run = 10 ORDER BY step")
    assert answer["step"].tolist() == columns["step"].tolist()  # type: ignore[union-attr]
    assert answer["v"].tobytes() == columns["v"].tobytes()  # type: ignore[union-attr]


async def test_a_greater_seq_replaces_whatever_came_first(points: ClickHouse) -> None:
    newer, older = rows_of(11, 5, seq=9), rows_of(11, 5, seq=8)
    older["v"] = np.zeros(5)
    await points.insert("points", newer)
    await points.insert("points", older)
    await points.insert("points", newer)
    answer = await points.query("SELECT v FROM penstock.points FINAL WHERE run = 11 ORDER BY step")
    assert answer["v"].tolist() == newer["v"].tolist()  # type: ignore[union-attr]


async def test_every_table_takes_its_columns(points: ClickHouse) -> None:
    n = len(TEXTS)
    numbers = np.arange(n)
    ids: Columns = {"run": np.full(n, 12, np.uint32), "lane": np.zeros(n, np.uint16)}
    seq = np.ones(n, np.uint32)
    await points.insert(
        "values",
        {**ids, "key": numbers, "step": numbers, "kind": ["string"] * n, "json": TEXTS, "seq": seq},
    )
    await points.insert(
        "applied",
        {
            **ids, "writer": TEXTS, "low": numbers, "gaps": [list(range(k)) for k in range(n)],
            "dead": [[2**32 - 1]] * n, "ver": seq,
        },
    )  # fmt: skip
    last = (np.arange(n, dtype=np.uint64) << np.uint64(40), np.full(n, math.nan))
    await points.insert(
        "series",
        {
            **ids, "key": numbers, "first_step": -numbers, "last_step": numbers, "last": last,
            "kinds": np.ones(n, np.uint8), "tiered": np.full(n, -(2**63)),
        },
    )  # fmt: skip
    values = await points.query(
        "SELECT kind, json FROM penstock.values FINAL WHERE run = 12 ORDER BY key"
    )
    assert values == {"kind": ["string"] * n, "json": TEXTS}
    applied = await points.query(
        "SELECT writer, gaps, dead FROM penstock.applied FINAL WHERE run = 12 ORDER BY low"
    )
    assert applied["writer"] == TEXTS
    assert applied["gaps"] == [list(range(k)) for k in range(n)]
    assert applied["dead"] == [[2**32 - 1]] * n
    series = await points.query("SELECT * FROM penstock.series FINAL WHERE run = 12 ORDER BY key")
    assert isinstance(series["last"], tuple)
    assert series["last"][0].tolist() == last[0].tolist()
    assert np.isnan(series["last"][1]).all()
    assert series["first_step"].tolist() == (-numbers).tolist()  # type: ignore[union-attr]


async def test_parameters_arrive_as_they_are(points: ClickHouse) -> None:
    params: dict[str, Any] = {
        "text": "\\'\"\n\t\0é",
        "texts": TEXTS[:-1],
        "number": -(2**63),
        "numbers": np.array([0, 2**32 - 1], np.uint32),
        "floats": [0.1, math.inf, -math.inf],
        "nan": math.nan,
        "none": [],
    }
    answer = await points.query(
        "SELECT {text:String} AS text, {texts:Array(String)} AS texts, {number:Int64} AS number,"
        " {numbers:Array(UInt32)} AS numbers, {floats:Array(Float64)} AS floats,"
        " {nan:Float64} AS nan, {none:Array(UInt32)} AS none",
        params,
    )
    assert answer["text"] == [params["text"]]
    assert answer["texts"] == [params["texts"]]
    assert answer["number"].tolist() == [params["number"]]  # type: ignore[union-attr]
    assert answer["numbers"] == [[0, 2**32 - 1]]
    assert answer["floats"] == [params["floats"]]
    assert np.isnan(answer["nan"]).all()
    assert answer["none"] == [[]]


async def test_parameters_may_be_long_lists(points: ClickHouse) -> None:
    runs = list(range(50_000))
    answer = await points.query("SELECT length({runs:Array(UInt32)}) AS n", {"runs": runs})
    assert answer["n"].tolist() == [50_000]  # type: ignore[union-attr]


async def test_an_answer_without_rows_has_its_columns(points: ClickHouse) -> None:
    answer = await points.query(
        "SELECT key, v, [1::UInt8] AS a, last FROM penstock.points, penstock.series"
        " WHERE points.run = {run:UInt32} SETTINGS max_threads = 1",
        {"run": 404},
    )
    assert [*answer] == ["key", "v", "a", "last"]
    assert [len(column) for column in answer.values()] == [0, 0, 0, 2]
    assert answer["key"].dtype == np.uint32  # type: ignore[union-attr]


async def test_types_that_queries_give(points: ClickHouse) -> None:
    answer = await points.query(
        "SELECT if(number = 1, NULL, number) AS n, if(number = 1, NULL, 'x') AS s,"
        " ['a', 'b'] AS texts, (number, 'x', 1.5) AS t, number = 1 AS b,"
        " toLowCardinality(toString(number % 2)) AS low FROM numbers(3)"
    )
    assert plain(answer["n"])[::2] == [0, 2]
    assert math.isnan(plain(answer["n"])[1])
    assert answer["s"] == ["x", None, "x"]
    assert answer["texts"] == [["a", "b"]] * 3
    assert answer["t"] == [(n, "x", 1.5) for n in range(3)]
    assert plain(answer["b"]) == [0, 1, 0]
    assert answer["low"] == ["0", "1", "0"]
    with pytest.raises(Broken, match="Date"):
        await points.query("SELECT today() AS d")


def plain(column: Any) -> list[Any]:
    return list(column.tolist())


async def test_a_million_rows_are_one_part(points: ClickHouse) -> None:
    await points.insert("points", rows_of(20, 1_000_000))
    assert await count(points, 20) == 1_000_000
    sums = await points.query("SELECT sum(v) AS s FROM penstock.points WHERE run = 20")
    assert sums["s"][0] == pytest.approx(np.arange(1_000_000).sum() / 7)


async def test_more_rows_than_one_part_holds_are_refused(points: ClickHouse) -> None:
    with pytest.raises(ValueError, match="1048449"):
        await points.insert("points", rows_of(24, 1_048_450))
    assert await count(points, 24) == 0


async def test_a_stream_is_never_whole_in_memory(points: ClickHouse) -> None:
    blocks, total = 0, 0
    async for block in points.stream("SELECT number AS n, number * 1.5 AS v FROM numbers(5000000)"):
        numbers = block["n"]
        assert isinstance(numbers, np.ndarray)
        assert len(numbers) <= 200_000
        assert numbers[0] == total
        blocks, total = blocks + 1, total + len(numbers)
    assert (total, blocks > 20) == (5_000_000, True)


async def test_a_stream_may_be_left_and_the_store_goes_on(points: ClickHouse) -> None:
    for _ in range(20):  # more than the store has seats for readers
        async for block in points.stream("SELECT number AS n FROM numbers(1000000000)"):
            assert len(block["n"]) > 0
            break
    answer = await asyncio.wait_for(points.query("SELECT 1 AS x"), 20)
    assert plain(answer["x"]) == [1]


async def test_an_error_after_the_first_rows_is_raised(points: ClickHouse) -> None:
    sql = "SELECT throwIf(number = 4000000) AS x FROM numbers(5000000) SETTINGS max_threads = 1"
    blocks = points.stream(sql)
    assert len((await anext(blocks))["x"]) > 0
    with pytest.raises(Broken, match="FUNCTION_THROW_IF"):
        _ = [block async for block in blocks]
    with pytest.raises(Broken, match="FUNCTION_THROW_IF"):
        await points.query(sql)


async def test_a_failed_statement_leaves_nothing_for_the_next(points: ClickHouse) -> None:
    failing = "SELECT throwIf(number = 200000) AS x FROM numbers(300000)"
    for sql in (failing, f"{failing} FORMAT JSON"):
        for _ in range(10):
            with pytest.raises(Broken):
                await points.query(sql)
            answer = await points.query("SELECT 1 AS x")
            assert plain(answer["x"]) == [1]


@pytest.mark.parametrize("sql", ["SELECT * FROM penstock.nope", "SELECT (", "DROP TABLE nope.nope"])
async def test_a_refused_statement_is_broken_and_says_why(points: ClickHouse, sql: str) -> None:
    with pytest.raises(Broken, match=r"Code: \d+\. DB::Exception"):
        await points.query(sql)
    with pytest.raises(Broken, match=r"Code: \d+\. DB::Exception"):
        await points.execute(sql)


async def test_too_much_memory_is_transient_and_the_store_lives_on(
    points: ClickHouse, store: StoreHandle
) -> None:
    with pytest.raises(Transient, match="MEMORY_LIMIT_EXCEEDED"):
        await points.query("SELECT length(groupArray(number)) AS n FROM numbers(1000000000)")
    await points.insert("points", rows_of(21, 10))
    assert await count(points, 21) == 10
    assert store.process.returncode is None


async def test_a_statement_that_takes_too_long_is_transient(store: StoreHandle) -> None:
    client = store.client(timeout_s=1)
    try:
        with pytest.raises(Transient):
            await client.query("SELECT count() AS n FROM numbers(1000000000000) WHERE number % 7")
        assert plain((await client.query("SELECT 1 AS x"))["x"]) == [1]
    finally:
        await client.close()


async def test_a_cancelled_query_stops_in_the_store(points: ClickHouse) -> None:
    slow = "SELECT count() AS n FROM numbers(1000000000000) WHERE sipHash64(number) = 3"
    tasks = [asyncio.create_task(points.query(slow)) for _ in range(2)]
    async with asyncio.timeout(20):
        await until_running(points, "sipHash64(number)", 2)
        for task in tasks:
            task.cancel()
        await until_running(points, "sipHash64(number)", 0)
    assert [type(e) for e in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2


async def test_reads_and_inserts_do_not_wait_for_each_other(points: ClickHouse) -> None:
    slow = [
        asyncio.create_task(
            points.query(
                "SELECT count() AS n FROM numbers(100000000000) WHERE sipHash64(number) = 3"
                " SETTINGS max_threads = 1"
            )
        )
        for _ in range(3)
    ]
    async with asyncio.timeout(40):
        for n in range(5):
            await points.insert("points", rows_of(22, 10_000, seq=n))
        assert await count(points, 22) == 10_000
    assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_concurrent_reads_see_whole_inserts(points: ClickHouse) -> None:
    async def insert() -> None:
        for n in range(8):
            await points.insert("points", rows_of(23, 50_000, key=n))

    seen: list[int] = []
    writer = asyncio.create_task(insert())
    while not writer.done():
        seen.append(await count(points, 23))
    await writer
    assert {n % 50_000 for n in seen} == {0}
    assert await count(points, 23) == 400_000


async def test_a_wrong_token_is_refused(store: StoreHandle) -> None:
    for token, match in (("wrong", "516"), ("", "194")):
        client = ClickHouse(store.url, token=token)
        try:
            with pytest.raises(Broken, match=match):
                await client.query("SELECT 1")
            await client.ping()
        finally:
            await client.close()


async def test_nobody_there_is_transient(tmp_path: Path) -> None:
    for url in (f"unix://{tmp_path}/none.sock", "http://127.0.0.1:1"):
        client = ClickHouse(url)
        try:
            for work in (client.ping(), client.query("SELECT 1"), client.store_id()):
                with pytest.raises(Transient):
                    await work
            with pytest.raises(Transient):
                await client.insert("points", rows_of(1, 1))
        finally:
            await client.close()


async def test_the_clock_only_goes_forward_and_an_id_can_be_renewed(points: ClickHouse) -> None:
    assert (await points.id_and_clock())[1] == 0
    for at in (5, 10**16, 7):
        await points.set_clock(at)
    assert await points.id_and_clock() == (await points.store_id(), 10**16)
    first = await points.store_id()
    renewed = await points.renew_id()
    assert renewed != first
    assert await points.store_id() == renewed
    await points.setup()
    assert await points.store_id() == renewed


async def test_a_store_from_before_batches_had_a_table_gets_it(points: ClickHouse) -> None:
    await points.execute("DROP TABLE penstock.batches SYNC")
    await points.setup()
    found = await points.query("SELECT count() AS n FROM penstock.batches")
    assert int(found["n"][0]) == 0
