"""Line streams: generations of a run, what each has counted, ranks of the clients that share a run."""

from __future__ import annotations

import asyncio

import pytest

from penstock.errors import Rejected
from penstock_common.process.bounds import Bounds
from penstock_storage.catalog import SqlCatalog
from penstock_storage.catalog.runs.line_streams import LineStream, LineStreams
from penstock_storage.contracts.interface import RunRef

REF = RunRef("ana", "mnist", "r1")


async def made(catalog: SqlCatalog) -> tuple[LineStreams, int]:
    run = (await catalog.ensure_runs([REF]))[REF].number
    return LineStreams(catalog.database), run


async def test_a_generation_begins_empty_and_the_newest_comes_first(catalog: SqlCatalog) -> None:
    streams, run = await made(catalog)
    assert await streams.of_client(run, "") == []
    first = await streams.begin(run, "", 100)
    second = await streams.begin(run, "", 200)
    assert first == LineStream(run, "", 100, 0)
    assert first.is_untouched
    assert await streams.of_client(run, "") == [second, first]


async def test_counts_go_forward_only(catalog: SqlCatalog) -> None:
    streams, run = await made(catalog)
    stream = await streams.begin(run, "", 100)
    stream.history, stream.last_seq, stream.tail = 10, 7, {"_step": 9}
    stream.events, stream.console, stream.posted_at, stream.posted_line = 3, 4, 5, 2**32
    assert await streams.claim(stream)
    await streams.advance(stream)
    assert await streams.of_client(run, "") == [stream]
    behind = LineStream(run, "", 100, 0, history=5, last_seq=2, tail={"_step": 4}, posted_at=2)
    await streams.advance(behind)
    [found] = await streams.of_client(run, "")
    assert (found.history, found.events, found.console, found.last_seq) == (10, 3, 4, 7)
    assert found.tail == {"_step": 9}
    assert (found.posted_at, found.posted_line) == (5, 2**32), "as it was claimed"


async def test_numbers_are_taken_once(catalog: SqlCatalog) -> None:
    streams, run = await made(catalog)
    stream = await streams.begin(run, "", 100)
    stream.last_seq = 7
    assert sorted(await asyncio.gather(*(streams.claim(stream) for _ in range(3)))) == [
        False, False, True,
    ]  # fmt: skip
    [found] = await streams.of_client(run, "")
    assert (found.last_seq, found.history) == (7, 0)
    stream.last_seq = 6
    assert not await streams.claim(stream)


async def test_a_rewound_generation_begins_with_counts(catalog: SqlCatalog) -> None:
    streams, run = await made(catalog)
    start = LineStream(run, "", 0, 0, history=4, events=2, console=1, tail={"_step": 3})
    await streams.begin(run, "", 300, start=start)
    [found] = await streams.of_client(run, "")
    assert (found.generation, found.history, found.tail) == (300, 4, {"_step": 3})
    assert found.is_untouched


async def test_clients_that_share_a_run_get_ranks_once(catalog: SqlCatalog) -> None:
    streams, run = await made(catalog)
    begun = await asyncio.gather(*(streams.begin(run, f"c{n}", 100 + n) for n in range(5)))
    assert sorted(stream.rank for stream in begun) == [0, 1, 2, 3, 4]
    again = await streams.begin(run, "c3", 500)
    assert again.rank == begun[3].rank


async def test_the_same_generation_twice_is_one(catalog: SqlCatalog) -> None:
    streams, run = await made(catalog)
    await asyncio.gather(*(streams.begin(run, "", 100) for _ in range(3)))
    assert len(await streams.of_client(run, "")) == 1


async def test_a_run_has_no_more_generations_than_writers(catalog: SqlCatalog) -> None:
    _, run = await made(catalog)
    streams = LineStreams(catalog.database, Bounds(writers_per_run=2))
    first = await streams.begin(run, "a", 100)
    await streams.begin(run, "b", 100)
    with pytest.raises(Rejected, match="run ana/mnist/r1 has as many writers") as refused:
        await streams.begin(run, "a", 200)
    assert (refused.value.status, refused.value.code) == (422, "too_many_writers")
    assert await streams.of_client(run, "a") == [first]
    assert await streams.of_client(run, "c") == []
