"""Decoding never raises anything but `Rejected`, never takes much more memory than it was sent, and
undoes encoding; every batch that version 1 ever wrote is read for ever."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import CORPUS, cases, corpus, kept, or_refused, sized, source
from support.hostile import Hostile

from penstock.wire import (
    DEFAULT_LIMITS,
    MAX_STEP,
    Batch,
    Frame,
    Limits,
    decode_batch,
    encode_batch,
    join_batches,
    split_body,
)

KNOWN = corpus("wire")
GOLDEN = {path.name: path.read_bytes() for path in sorted((CORPUS / "golden").glob("v1-*"))}


def decode(raw: bytes) -> Batch | None:
    """The batch; None if it was refused as it should be."""
    return or_refused(decode_batch, raw)


@pytest.mark.parametrize("name", KNOWN)
def test_what_was_found_before(name: str) -> None:
    batch = decode(KNOWN[name])
    assert (batch is None) == (not name.startswith("good"))


@pytest.mark.timeout(300)
def test_hostile_bytes_are_refused_or_read() -> None:
    rng = source("wire")
    hostile, known = Hostile(rng), [*KNOWN.values(), *GOLDEN.values()]
    read = 0
    for _ in range(count := cases(200_000)):
        raw = hostile.case(known)
        with kept("wire", raw):
            batch = decode(raw)
            if batch is not None:
                read += 1
                # What is read can be said again, and says the same.
                assert encode_batch(decode_batch(again := encode_batch(batch))) == again
    # Cases that are nearly right are the ones that find something: many are quite right.
    assert count // 10 < read < count


@pytest.mark.timeout(300)
def test_hostile_bodies_are_refused_or_split() -> None:
    rng = source("body")
    hostile = Hostile(rng)
    for _ in range(cases(20_000)):
        body = bytearray(join_batches(hostile.batch() for _ in range(rng.randrange(4))))
        if body and rng.random() < 0.7:
            at = rng.randrange(len(body))
            body[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(6))
        with kept("body", bytes(body)):
            raws = or_refused(split_body, bytes(body))
            if raws is not None:
                assert join_batches(raws) == body


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\\"),
    min_size=1,
    max_size=30,
).filter(lambda name: name == name.strip() and name not in (".", ".."))
keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
whole = st.integers(0, 2**63 - 1)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=20)
)
json_values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


json_texts = st.text().map(json.dumps) | st.lists(st.integers()).map(json.dumps)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    named = draw(st.lists(keys, min_size=1, max_size=4, unique=True))
    rows = draw(st.integers(1, 6))
    steps = draw(st.lists(st.integers(1 - MAX_STEP, MAX_STEP - 1), min_size=rows, max_size=rows))
    times = draw(st.binary(min_size=8 * rows, max_size=8 * rows))
    size = 8 * rows * len(named)
    values = draw(st.binary(min_size=size, max_size=size))  # every NaN there is
    ints = draw(st.none() | st.binary(min_size=len(named), max_size=len(named)))
    return Frame(named, struct.pack(f"<{rows}q", *steps), times, values, ints)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    step = st.integers(1 - MAX_STEP, MAX_STEP - 1)
    made: st.SearchStrategy[dict[str, Any]] = st.one_of(
        st.fixed_dictionaries(
            {"t": st.sampled_from(["config", "summary"]), "update": st.dictionaries(keys, json_values)}
        ),
        st.fixed_dictionaries(
            {
                "t": st.just("value"), "key": keys, "step": step, "time": whole,
                "kind": st.text(), "json": json_texts,
            }
        ),
        st.fixed_dictionaries(
            {
                "t": st.just("console"), "line": whole, "time": whole, "stream": st.text(),
                "text": st.text(),
            }
        ),
        st.fixed_dictionaries(
            {"t": st.just("state"), "state": st.sampled_from(["running", "finished", "crashed"])}
        ),
        st.fixed_dictionaries({"t": st.just("run"), "name": st.text()}),
        st.fixed_dictionaries({"t": st.just("alert"), "time": st.integers(0, MAX_STEP - 1)}),
    )  # fmt: skip
    return draw(made)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    seq = draw(st.integers(1, 2**32 - 1))
    return Batch(
        project=draw(names),
        run=draw(names),
        writer=draw(names),
        seq=seq,
        writer_started=draw(whole),
        entity=draw(st.none() | names),
        rank=draw(st.integers(0, 2**31 - 1)),
        acked=draw(st.integers(0, seq - 1)),
        sent_at=draw(whole),
        frames=draw(st.lists(frames(), max_size=3)),
        records=draw(st.lists(records(), max_size=3)),
        client=draw(st.dictionaries(st.text(), plain, max_size=3)),
    )


@pytest.mark.timeout(300)
@sized(2_000)
@given(batches(), st.booleans())
def test_decode_undoes_encode(batch: Batch, compress: bool) -> None:
    raw = encode_batch(batch, compress=compress)
    found = decode_batch(raw, DEFAULT_LIMITS)
    # As bytes: NaN is not equal to itself, but its bytes are.
    assert encode_batch(found) == encode_batch(batch)
    assert found.frames == batch.frames


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes_of_version_1_are_read_for_ever(name: str) -> None:
    batch = decode_batch(GOLDEN[name])
    assert (batch.project, batch.run, batch.writer, batch.seq) == ("vision", "a1b2c3d4", "w-7", 3)
    if name.startswith("v1-least"):
        assert batch == Batch(project="vision", run="a1b2c3d4", writer="w-7", seq=3)
        return
    assert (batch.entity, batch.rank, batch.acked) == ("team", 5, 2)
    assert (batch.writer_started, batch.sent_at) == (1_700_000_000_000_000, 1_700_000_001_000_000)
    first, second = batch.frames
    assert first.keys == ["loss", "train/acc", "損失"]
    assert struct.unpack("<3q", first.steps) == (-1, 0, 2**53 - 1)
    assert struct.unpack("<3q", first.times) == (10, 20, 30)
    values = struct.unpack("<9d", first.values)
    assert values[:2] == (0.5, -0.0)
    assert math.isnan(values[2])
    assert values[3:] == (math.inf, -math.inf, 5e-324, 1.0, 2.0, 3.0)
    assert struct.pack("<d", values[2]) == b"\x01\x00\x00\x00\x00\x00\xf8\x7f"
    assert first.ints == b"\x00\x00\x01"
    assert second == Frame(["epoch"], struct.pack("<q", 7), struct.pack("<q", 40), bytes(8))
    assert [record["t"] for record in batch.records] == [
        "run", "config", "summary", "state", "value", "console", "define_metric", "alert",
    ]  # fmt: skip
    assert batch.records[1]["update"] == {"lr": 0.1, "model": {"depth": 3, "name": None}}
    assert batch.client == {"version": "0.1.0", "retries": 1, "dropped": 0, "spool_bytes": 4096}


def greedy() -> dict[str, bytes]:
    """Bodies whose objects would be many times as large as they are."""
    many = 300_000
    good = msgpack.packb({"v": 1, "project": "p", "run": "r", "writer": "w", "seq": 1})
    column = struct.pack("<q", 1)
    wide = {"keys": [f"{i:x}" for i in range(20_000)], "steps": column, "times": column}
    return {
        "empty maps": b"\xdd" + struct.pack(">I", 15) + (b"\xdc\x4e\x20" + b"\x80" * 20_000) * 15,
        "empty lists": b"\xdd" + struct.pack(">I", 15) + (b"\xdc\x4e\x20" + b"\x90" * 20_000) * 15,
        "maps of one": b"\xdc\xff\xff" + b"\x81\xa1a\xc0" * 0xFFFF,
        "deep maps": b"\x81\xa1a" * 900 + b"\xc0",
        "short strings": b"\xdd" + struct.pack(">I", 15) + (b"\xdc\x4e\x20" + b"\xa1\xc2" * 20_000) * 15,
        "wide characters": b"\xdd" + struct.pack(">I", 3)
        + (b"\xdc\x4e\x20" + b"\xa4\xf0\x9f\x98\x80" * 20_000) * 3,
        "one wide string": good[:-1] + b"\xdb" + struct.pack(">I", 4 * many) + b"\xf0\x9f\x98\x80" * many,
        "zeros in a name": msgpack.packb({"v": 1, "project": "\x00" * many}),
        "a long list as a name": msgpack.packb({"v": 1, "project": [1.5] * 20_000}),
        "small frames": msgpack.packb(
            {"v": 1, "project": "p", "run": "r", "writer": "w", "seq": 1,
             "frames": [{"keys": ["a"], "steps": column, "times": column, "values": column}] * 9_000}
        ),
        "many records": msgpack.packb(
            {"v": 1, "project": "p", "run": "r", "writer": "w", "seq": 1,
             "records": [{"t": "run"}] * 60_000}
        ),
        "many keys": msgpack.packb(
            {"v": 1, "project": "p", "run": "r", "writer": "w", "seq": 1,
             "frames": [{**wide, "values": column * 20_000}]}
        ),
        "bytes": msgpack.packb({"v": 1, "project": "p", "x": bytes(8 * many)}),
        "many rows": msgpack.packb(
            {"v": 1, "project": "p", "run": "r", "writer": "w", "seq": 1,
             "frames": [{"keys": ["a"], "steps": column * many, "times": column * many,
                         "values": column * many}]}
        ),
    }  # fmt: skip


# An element (an entry of a map or list) may take so many bytes as a Python object; their number is
# limited however large the body is.
ELEMENT_BYTES = 128
FEW_ELEMENTS = Limits(elements=50_000)


@pytest.mark.parametrize("limits", [DEFAULT_LIMITS, FEW_ELEMENTS], ids=["default", "few"])
@pytest.mark.parametrize("name", greedy())
def test_decoding_takes_little_memory(name: str, limits: Limits) -> None:
    raw = greedy()[name]
    tracemalloc.start()
    try:
        or_refused(decode_batch, raw, limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    elements = min(limits.elements, len(raw))
    assert peak < 8 * len(raw) + ELEMENT_BYTES * elements + 2**16, f"{peak / len(raw):.1f} times"


@pytest.mark.timeout(300)
def test_hostile_batches_take_little_memory() -> None:
    hostile = Hostile(source("memory"))
    for _ in range(cases(2_000)):
        raw = hostile.case(list(GOLDEN.values()))
        tracemalloc.start()
        try:
            decode(raw)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        with kept("wire", raw):
            assert peak < 8 * len(raw) + 2**18
