"""Whatever a door answers 2xx, the worker's decoder and fold take: hostile data, and honest data that
is large. Nothing honest is refused for its size or for how well it compresses."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from support.fuzzing import cases, kept, or_refused, source
from support.spools import new_writer

from penstock.errors import Rejected
from penstock.shipper.batches import content_of
from penstock.shipper.columns import BatchLimits
from penstock.shipper.cuts import Cut
from penstock.shipper.gather import ALL_SEGMENTS, gather
from penstock.shipper.reader import SpoolReader
from penstock.shipper.rejects import Rejects
from penstock.spool.root import spools_in
from penstock.wire import (
    DEFAULT_LIMITS,
    RULES,
    SYSTEM_RANK,
    Batch,
    decode_batches,
    decode_stored,
    encode_batch,
    join_batches,
    problem_of,
    split_body,
)
from penstock.wire.records import is_run_change, known_records
from penstock_compat.wandb.stream.translation import Candidate, Request, translate
from penstock_ingest.rows import batches_from_json
from penstock_storage.catalog.runs.changes import apply_change
from penstock_storage.catalog.runs.line_streams import LineStream
from penstock_storage.contracts.interface import RunChange, RunRef
from penstock_workers.batches.records import change_of, value_of

MANY = 100_001
REF = RunRef("local", "p", "r")


def take(raw: bytes) -> Batch:
    """What the worker makes of a batch that was accepted; everything in it is folded."""
    batch = decode_stored(raw, DEFAULT_LIMITS)
    row: dict[str, Any] = {
        "config": {}, "summary": {}, "info": {}, "heard": {}, "tags": [], "silent": False,
    }  # fmt: skip
    assert all(problem_of(record) is None for record in batch.records)
    for index, record in enumerate(known_records(batch.records)):
        if record["t"] == "value" or record["t"] == "alert":
            orjson.loads(value_of(record)[3])
        elif is_run_change(record):
            change: RunChange = change_of(1, "w", batch.seq, index, record)
            apply_change(row, change)
    json.dumps(row)
    return batch


def by_rows(body: dict[str, Any] | bytes) -> list[Batch]:
    raw = body if isinstance(body, bytes) else orjson.dumps({"project": "p", "run": "r", **body})
    made = or_refused(batches_from_json, raw, DEFAULT_LIMITS) or []
    return [take(each.raw) for each in made]


def by_file_stream(lines: list[Any], **files: Any) -> list[Batch]:
    content = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    named = {"wandb-history.jsonl": {"offset": 0, "content": content}, **files}
    body = json.dumps({"files": named}).encode()
    asked = Request(REF, [Candidate(LineStream(1, "", 1, 0), 0)], 10**7)
    translated = or_refused(translate, body, asked, DEFAULT_LIMITS)
    return [] if translated is None else [take(each.raw) for each in translated.made.batches]


def summary(value: dict[str, Any]) -> dict[str, Any]:
    return {"wandb-summary.json": {"offset": 0, "content": [json.dumps(value)]}}


def merged(batches: list[Batch], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for batch in batches:
        for record in batch.records:
            if record["t"] == kind:
                found |= record.get("update", record)
    return found


def notices(batches: list[Batch]) -> list[str]:
    return [name for name in merged(batches, "run") if name.startswith("notice")]


def keys_of(batches: list[Batch]) -> set[str]:
    return {key for batch in batches for frame in batch.frames for key in frame.keys}


@pytest.mark.heavy
@pytest.mark.parametrize("part", ["config", "summary"])
def test_rows_large_and_honest(part: str) -> None:
    [batch] = made = by_rows(
        {part: {"classes": [0] * MANY, "b": {f"k{i}": i for i in range(MANY)}}}
    )
    assert len(merged(made, part)["classes"]) == len(merged(made, part)["b"]) == MANY
    assert not notices(made)
    assert batch.decoded.elements > 2 * MANY
    made = by_rows({part: {"huge": [0] * 600_000, "long": "y" * 2_000_000, "good": 1}})
    assert merged(made, part).keys() == {"long", "good"}
    assert sorted(notices(made)) == [f"notice {part}.huge", f"notice {part}.long"]
    made = by_rows({part: {f"k{i}": i for i in range(300_000)}})
    assert len(merged(made, part)) == 300_000 or notices(made)


@pytest.mark.smoke
@pytest.mark.heavy
def test_rows_of_every_width() -> None:
    made = by_rows({"rows": [{"step": i, f"k{i}": 1.5} for i in range(10_001)]})
    assert sum(batch.points for batch in made) == 10_001
    made = by_rows({"rows": [{"step": 1, "deep": {f"k{i}": {"x": i} for i in range(20_001)}}]})
    assert len(keys_of(made)) == 20_001
    made = by_rows({"rows": [{"step": i, "a": 1} for i in range(MANY)]})
    assert sum(batch.points for batch in made) == MANY
    made = by_rows(
        {"rows": [{"step": 0, "list": [1.5] * MANY, "object": {"_type": "x", "v": [0] * MANY}}]}
    )
    assert [len(record["json"]) > MANY for batch in made for record in batch.records] == [True] * 2
    made = by_rows(
        {"rows": [{"step": i, "note": "x"} for i in range(50_000)], "tags": ["t"] * 20_000}
    )
    assert sum(record["t"] == "value" for batch in made for record in batch.records) == 50_000


def test_file_stream_of_constant_data() -> None:
    constant = {f"k{j}": 1.0 for j in range(200)}
    made = by_file_stream([{"_step": i, "_timestamp": 1.5, **constant} for i in range(1_000)])
    assert sum(batch.points for batch in made) == 200_000
    made = by_file_stream(
        [{"_step": i, "_timestamp": 1.5, "prompt": "p" * 4_096} for i in range(100)]
    )
    assert sum(len(batch.records) for batch in made) == 100
    made = by_file_stream([], **{"output.log": {"offset": 0, "content": ["=" * 100_000]}})
    assert made[0].records[0]["text"] == "=" * 100_000


@pytest.mark.heavy
def test_file_stream_large_and_honest() -> None:
    made = by_file_stream(
        [{"_step": 1, "list": list(range(MANY)), "text": "x" * 2_000_000}],
        **summary({"list": list(range(MANY)), "a": 1, "huge": [0] * 600_000}),
    )
    texts = {
        record["key"]: record["json"]
        for batch in made
        for record in batch.records
        if record["t"] == "value"
    }
    assert len(json.loads(texts["list"])) == MANY
    assert len(json.loads(texts["text"])) == 2_000_000
    assert merged(made, "summary").keys() == {"list", "a"}
    assert notices(made) == ["notice summary.huge"]
    made = by_file_stream([{"_step": 1, f"{'k' * 400}{i}": 1.0} for i in range(20_000)])
    assert len(keys_of(made)) == 20_000
    wide = {f"k{i}": float(i) for i in range(600_000)}
    assert len(keys_of(by_file_stream([wide]))) == 600_000


def test_what_is_nested_too_deep_costs_itself_alone() -> None:
    deep = "[" * 300 + "]" * 300
    made = by_file_stream([f'{{"_step":1,"a":1,"deep":{deep}}}'], **summary({"a": 1}))
    assert keys_of(made) == {"a"}
    assert notices(made) == ["notice deep"]


def odd(rng: random.Random, depth: int = 0) -> Any:
    match rng.randrange(12 if depth < 4 else 6):
        case 0:
            return rng.choice((0, -1, 2**53, 2**63 - 1, 2**64 - 1, -(2**63), 10**30, 1e308))
        case 1:
            return rng.choice((float("nan"), float("inf"), None, True, 0.1))
        case 2 | 3:
            return rng.choice(("", "x", "\0", "é😀", "k" * 600, "y" * (2**20 + 1), "\ud800", "NaN"))
        case 4:
            return [0] * rng.choice((0, 1, 1_000))
        case 5:
            return {"_type": rng.choice(("histogram", "x" * 5_000, 5, None)), "v": 1}
        case 6 | 7 | 8:
            return [odd(rng, depth + 1) for _ in range(rng.randrange(4))]
        case _:
            names = ("", "a", "b.c", "_step", "_timestamp", "\n", "k" * 600, "{}", "\ud800")
            return {rng.choice(names): odd(rng, depth + 1) for _ in range(rng.randrange(4))}


@pytest.mark.timeout(300)
def test_hostile_values_at_every_door() -> None:
    rng = source("accepted")
    for _ in range(cases(5_000)):
        row = {
            "_step": rng.choice((1, odd(rng))),
            "_timestamp": rng.choice((1.5, odd(rng))),
            "a": odd(rng),
        }
        files = summary({"a": odd(rng), "b": odd(rng)})
        with kept("accepted", repr((row, files)).encode(errors="replace")):
            by_file_stream([row, odd(rng)], **files)
            body = {
                "project": "p", "run": "r", "config": {"a": odd(rng)}, "tags": rng.choice((["a"], odd(rng))),
                "rows": [{"step": 1, "a": odd(rng)}],
            }  # fmt: skip
            by_rows(json.dumps(body).encode())


@pytest.mark.timeout(300)
def test_hostile_values_by_the_client(tmp_path: Path) -> None:
    """Whatever a script logs, the door takes the batches that its shipper makes."""
    rng = source("client")
    writer = new_writer(tmp_path)
    kinds = ("run", "config", "summary", "define_metric", "alert", "value", "console", "newer")
    for step in range(count := cases(5_000)):
        writer.log({"a": odd(rng), "loss": 0.5}, step=step)
        fields = {rng.choice(("name", "update", "time", "tags", "x")): odd(rng) for _ in range(3)}
        with contextlib.suppress(Exception):  # what no spool can hold is told where it is logged
            writer.append_record({"t": rng.choice(kinds), **fields})
    writer.close()
    reader = SpoolReader(writer_folder(tmp_path))
    at, points = reader.first(), 0
    while True:
        found = gather(reader, at, BatchLimits(size_bytes=2**20), complete_to=ALL_SEGMENTS)
        cut = Cut(1, at, found.end, rules=RULES)
        frames, records = content_of(cut, found, Rejects(reader.folder))
        raw = encode_batch(Batch("p", "r", "w", 1, frames=frames, records=records), compress=True)
        batch = decode_batches(split_body(join_batches([raw])))[0]
        take(raw)
        points += sum("loss" in frame.keys and frame.rows for frame in batch.frames)
        at = found.end
        if found.ended:
            break
    reader.close()
    assert points == count


def writer_folder(root: Path) -> Path:
    [folder] = spools_in(root)
    return folder


def batch_of(size: int) -> Batch:
    text = {"t": "console", "line": 0, "stream": "stdout", "time": 0, "text": "=" * 2**20}
    return Batch("p", "r", "w", 1, records=[text] * (size // 2**20))


def test_honest_batches_of_any_ratio_are_taken() -> None:
    raw = encode_batch(batch_of(60 * 2**20), compress=True)
    assert 60 * 2**20 / len(raw) > 5_000
    [batch] = decode_batches(split_body(join_batches([raw])))
    assert take(raw).decoded.bytes == batch.decoded.bytes > 60 * 2**20


def test_many_small_frames_are_not_more_than_one_large_one() -> None:
    raw = encode_batch(batch_of(60 * 2**20), compress=True)
    small = encode_batch(batch_of(2**20))
    assert or_refused(decode_batches, [raw, raw]) is None
    assert or_refused(decode_batches, [small] * 65) is None
    assert or_refused(decode_batches, [small] * 60) is not None
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(2**24))
    assert or_refused(decode_batches, [raw, silent]) is None
    wide = encode_batch(
        Batch("p", "r", "w", 1, records=[{"t": "config", "update": {"a": [0] * 400_000}}])
    )
    assert or_refused(decode_batches, [wide, wide]) is not None
    assert or_refused(decode_batches, [wide, wide, wide]) is None
    for count in (2, 3, 9):
        with pytest.raises(Rejected) as error:
            decode_batches([wide] * count, replace(DEFAULT_LIMITS, elements=400_100))
        assert (error.value.status, error.value.code) == (413, "too_many_elements")


def test_the_system_lane_is_packed_as_well() -> None:
    events = {
        "wandb-events.jsonl": {
            "offset": 0,
            "content": [json.dumps({"_timestamp": 1.0, "gpu": "x" * 2_000_000})],
        }
    }
    made = by_file_stream([], **events)
    assert made[0].rank == SYSTEM_RANK
