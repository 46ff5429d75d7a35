"""Entries of the queue: what is written is read again, by this release and from earlier ones."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any, cast

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from support.memory_worker import KEYS, MemoryPipe
from support.redis import memory_redis

from penstock.wire import DEFAULT_LIMITS, DecodedSize
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.queue import scripts
from penstock_common.queue.entries import (
    FIELDS,
    LAYOUT,
    REQUIRED,
    Entry,
    decode,
    encode,
    pending_field,
    writer_of,
)
from penstock_common.queue.redis_keys import shard_of
from penstock_ingest.append import Appender
from penstock_workers.shards.queue import Budget, Queue, Selection

TEXT = st.text(max_size=50)
NUMBER = st.integers(0, 2**53)
MAGIC = b"\x28\xb5\x2f\xfd"


def entries(raw: st.SearchStrategy[bytes]) -> st.SearchStrategy[Entry]:
    return st.builds(
        Entry, st.integers(0, 15), st.just(b"1764-2"), TEXT, NUMBER, raw, NUMBER,
        st.booleans(), st.booleans(), NUMBER, NUMBER, NUMBER, TEXT,
    )  # fmt: skip


ANYTHING = st.binary(max_size=200)
PLAIN = ANYTHING.filter(lambda raw: not raw.startswith(MAGIC))


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with memory_redis() as client:
        yield client


def stored(entry: Entry, layout: int = LAYOUT) -> dict[bytes, bytes]:
    """The fields as Redis returns them."""

    def text(value: Any) -> bytes:
        return value if isinstance(value, bytes) else str(value).encode()

    return {text(name): text(value) for name, value in encode(entry, layout).items()}


@given(entries(ANYTHING))
def test_what_is_written_is_read_again(entry: Entry) -> None:
    assert decode(entry.shard, entry.id, stored(entry)) == entry
    # A later release may say more.
    assert decode(entry.shard, entry.id, {**stored(entry), b"later": b"\xff"}) == entry


def measured(entry: Entry, size: int) -> Entry:
    """The entry as the first layout returns it, whose batch has this many bytes once decoded."""
    elements = min(size, DEFAULT_LIMITS.elements)
    return replace(entry, began=0, is_dropped=False, decoded=size, elements=elements)


@given(entries(PLAIN), st.sampled_from(["plain", "size stated", "size not stated"]))
def test_entries_of_the_layouts_before_are_measured(entry: Entry, form: str) -> None:
    size = len(entry.raw)
    if form != "plain":
        compressor = zstandard.ZstdCompressor(write_content_size=form == "size stated")
        entry = replace(entry, raw=compressor.compress(entry.raw))
    assert decode(entry.shard, entry.id, stored(entry, layout=2)) == replace(entry, began=0)
    assert decode(entry.shard, entry.id, stored(entry, layout=1)) == measured(entry, size)


@given(entries(ANYTHING.map(lambda rest: MAGIC + rest)))
def test_what_only_looks_compressed_is_measured_too(entry: Entry) -> None:
    found = decode(entry.shard, entry.id, stored(entry, layout=1))
    assert 0 <= found.elements <= DEFAULT_LIMITS.elements
    assert found == measured(entry, found.decoded)


def test_entries_as_they_lie_in_queues() -> None:
    raw = zstandard.ZstdCompressor().compress(bytes(DEFAULT_LIMITS.elements + 1))
    first = {b"w": b"e/p/r/\xc3\xa9", b"s": b"7", b"b": raw, b"t": b"5"}
    entry = Entry(3, b"9-1", "e/p/r/é", 7, raw, 5)
    size = DEFAULT_LIMITS.elements + 1
    assert decode(3, b"9-1", first) == replace(entry, decoded=size, elements=size - 1)
    sized = {**first, b"n": b"10", b"e": b"2"}
    assert decode(3, b"9-1", sized) == replace(entry, decoded=10, elements=2)
    assert decode(3, b"9-1", {**sized, b"a": b"4"}).began == 4
    moved = {b"r": b"1", b"d": b"1", b"reason": b"\xff no"}
    found = decode(3, b"9-1", {**sized, **moved})
    assert (found.is_replay, found.is_dropped, found.reason) == (True, True, "\ufffd no")
    assert (writer_of(first), pending_field(first)) == ("e/p/r/é", "7/e/p/r/é".encode())
    for name in REQUIRED:
        with pytest.raises(KeyError):
            decode(3, b"9-1", {each: value for each, value in sized.items() if each != name})


def test_every_field_is_declared_once_and_read() -> None:
    names = [field.name for field in FIELDS.values()]
    assert len(set(names)) == len(names)
    assert FIELDS.keys() == {field.name for field in fields(Entry)} - {"shard", "id"}
    assert {field.since for field in FIELDS.values()} == {*range(1, LAYOUT + 1)}
    assert {name.encode() for name in names[:4]} == REQUIRED
    assert all(field.meaning for field in FIELDS.values())


def test_the_scripts_name_no_field_themselves() -> None:
    source = inspect.getsource(scripts)
    used = set(re.findall(r"'\$(\w+)'", source))
    assert used == FIELDS.keys()
    prefix = {"p"}  # of the ids of parked entries
    assert set(re.findall(r"'([a-z])'", source)) == prefix
    for name in scripts.__all__:
        assert "$" not in getattr(scripts, name)


async def test_the_append_script_writes_what_is_read(redis: Redis) -> None:
    appender = Appender(cast("Any", MemoryPipe(redis)), KEYS, GatewayMetrics())
    shard = shard_of("e/p/r")
    size = DecodedSize(9, 2)
    now = time.time_ns() // 1000
    await appender.append("e", "p", "r", "w", 1, b"one", size, 60_000_000)
    await appender.append("e", "p", "r", "w", 2, b"two", size)
    await appender.append("e", "p", "r", "w", 3, b"three")
    await appender.append_rows("e", "p", "r", b"rows", size, key="", digest="")
    lying: Any = await redis.xrange(KEYS.stream(shard))
    found = [(entry_id, raw, decode(shard, entry_id, raw)) for entry_id, raw in lying]
    for layout, (entry_id, raw, entry) in zip((3, 2, 1, 2), found, strict=True):
        assert entry.received == pytest.approx(now, abs=60_000_000)
        # The script for reading knows their order.
        assert [*raw.items()] == [*stored(entry, layout).items()], entry_id
    entries = [entry for *_, entry in found]
    assert [(each.writer, each.seq, each.raw) for each in entries[:3]] == [
        ("e/p/r/w", 1, b"one"),
        ("e/p/r/w", 2, b"two"),
        ("e/p/r/w", 3, b"three"),
    ]
    assert [(each.decoded, each.elements) for each in entries] == [(9, 2), (9, 2), (5, 5), (9, 2)]
    assert entries[0].began == entries[0].received - 60_000_000
    assert (entries[3].seq, entries[3].raw) == (1, b"rows")
    queue = Queue(redis, KEYS)
    assert await queue.read([Selection(shard)], Budget(10, 2**20, 2**20, 2**20)) == entries
