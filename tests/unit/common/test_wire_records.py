"""Records as they are declared: the manual's table, and that the check and the cut agree."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.errors import Rejected
from penstock.wire import (
    Batch,
    Fitter,
    Frame,
    Room,
    Start,
    batch_digest,
    decode_batch,
    decode_stored,
    encode_batch,
    fit_all,
    fit_key,
    problem_of,
)
from penstock.wire.field_types import MAX_DEPTH, MAX_TEXT_CHARS
from penstock.wire.records import RECORDS

MANUAL = Path(__file__).parents[3] / "docs" / "wire.md"
GOOD: dict[str, dict[str, Any]] = {
    "run": {"name": "a", "tags": ["x"], "wandb": {"desc": {}}, "later": [1]},
    "config": {"update": {"lr": 0.1, "deep": {"a": [None, True]}}},
    "summary": {"update": {}, "whole": True},
    "state": {"state": "finished", "exit_code": 0},
    "rank_state": {"state": "crashed", "exit_code": None},
    "value": {"key": "a", "step": -1, "time": 1, "kind": "list", "json": "[1,2.5]"},
    "console": {"line": 1, "stream": "stdout", "time": 0, "text": "x"},
    "define_metric": {"name": "a", "step_metric": "b", "summary": "max", "hidden": True},
    "alert": {"time": 5, "title": "t", "text": "", "level": "WARN"},
}


def table() -> list[str]:
    """The rows of the manual's table of records."""
    rows = []
    for kind, fields in RECORDS.items():
        for name, field in fields.items():
            needed = "yes" if field.required else ""
            rows.append(f"| `{kind}` | `{name}` | {field.type.words} | {needed} |")
    return rows


def rows_below(heading: str) -> list[str]:
    """The rows of the first table behind this text, without its head."""
    lines = MANUAL.read_text().partition(heading)[2].splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    return list(takewhile(lambda line: line.startswith("|"), lines[start + 2 :]))


def names_in(cells: list[str]) -> list[str]:
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_the_manual_shows_the_declaration_and_nothing_else() -> None:
    assert rows_below("Their fields, as") == table()


def test_the_manual_names_each_kind_of_record_and_real_fields_only() -> None:
    rows = [row.strip("|").split(" | ") for row in rows_below("## Records")]
    assert sorted(names_in([row[0] for row in rows])) == sorted(RECORDS)
    for kinds, meaning in rows:
        fields = {name for kind in names_in([kinds]) for name in RECORDS[kind]}
        assert set(names_in([meaning])) <= fields


def test_the_manual_names_the_fields_of_batches_and_frames() -> None:
    frame = Frame(["a"], bytes(8), bytes(8), bytes(8), b"\x01")
    full = Batch(
        "p",
        "r",
        "w",
        1,
        entity="e",
        frames=[frame],
        client={"version": "1"},
        start=Start("resume", 7),
    )
    sent = msgpack.unpackb(encode_batch(full))
    assert sorted(names_in([row.split(" | ")[0] for row in rows_below("## Batch")])) == sorted(sent)
    frames = [row.split(" | ")[0] for row in rows_below("## Frame")]
    assert sorted(names_in(frames)) == sorted(sent["frames"][0]) == sorted(Frame._fields)


@pytest.mark.parametrize("kind", RECORDS)
def test_a_good_record_stays_as_it_is(kind: str) -> None:
    record = {"t": kind, **GOOD[kind]}
    assert problem_of(record) is None
    fitter = Fitter()
    assert fitter.record(record, Room(10_000, 1_000)) == record
    assert not list(fitter.notices())


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(),
    st.text(max_size=5), st.binary(max_size=3), st.just("x" * (MAX_TEXT_CHARS + 1)),
    st.just("\udcff"), st.just("\0"), st.just("1e400"), st.just('"\\ud800"'), st.just("{}"),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)
deep = st.integers(1, 400).map(lambda levels: json.loads("[" * levels + "]" * levels))


@st.composite
def odd_records(draw: st.DrawFn) -> Any:
    """A good record of which something is not as it should be."""
    kind = draw(st.sampled_from([*RECORDS, "newer"]))
    record = {"t": kind, **GOOD.get(kind, {"a": 1})}
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from([*RECORDS.get(kind, {}), "more", "t"]))
        if draw(st.booleans()):
            record[name] = draw(anything | deep)
        else:
            record.pop(name, None)
    return record


@sized(5_000)
@given(odd_records())
def test_what_is_cut_passes_the_check_and_what_passes_is_not_cut(record: Any) -> None:
    fitter = Fitter()
    fitted = fitter.record(record, Room(9 * 2**20, 500_000))
    notices = list(fitter.notices())
    if problem_of(record) is None and not _has_surrogates(record):
        assert _same(fitted, record)
        assert not notices
    kept = [each for each in (fitted, *notices) if each is not None]
    raw = encode_batch(Batch("p", "r", "w", 1, records=kept))
    assert _same(decode_batch(raw).records, kept)
    same = Fitter()
    same.record(record, Room(9 * 2**20, 500_000))
    assert list(same.notices()) == notices


def _same(one: Any, other: Any) -> bool:
    """Also where NaN is in it."""
    return repr(one) == repr(other)


def _has_surrogates(record: Any) -> bool:
    return "\\ud" in repr(record)


@sized(5_000)
@given(odd_records())
def test_what_was_queued_before_is_mended(record: Any) -> None:
    """A worker never meets a field of another type than it expects, whatever an older door took."""
    try:
        raw = encode_batch(Batch("p", "r", "w", 1, records=[record]))
        msgpack.unpackb(raw)
    except (ValueError, RecursionError):
        return  # no door ever took it
    batch = decode_stored(raw)
    assert all(each["t"] in RECORDS and problem_of(each) is None for each in batch.records)


def test_what_is_wrong_costs_itself_alone() -> None:
    config = {
        "good": 1,
        "bytes": b"x",
        "long": "y" * (MAX_TEXT_CHARS + 5),
        "classes": [0] * 100_001,
    }
    deeper: Any = "leaf"
    for _ in range(MAX_DEPTH + 1):
        deeper = [deeper]
    records = [
        {"t": "config", "update": {**config, "deep": deeper}},
        {"t": "run", "name": 5, "notes": "\udcff", "tags": ["a", 7, None], "host": ["x"]},
        {"t": "value", "key": "k\n", "step": 1, "time": 1, "kind": "list", "json": "[1"},
    ]
    _, kept = fit_all([], records, Room(12 * 2**20, 900_000))
    fitted, run, notice = kept
    assert fitted["update"].keys() == {"good", "long", "classes"}
    assert len(fitted["update"]["classes"]) == 100_001
    assert len(fitted["update"]["long"]) == MAX_TEXT_CHARS
    assert run == {"t": "run", "name": "5", "notes": "?", "tags": ["a", "7"]}
    assert notice["t"] == "run"
    assert {name.removeprefix("notice ") for name in notice if name != "t"} == {
        "config.bytes", "config.long", "config.deep", "run.host", "k ",
    }  # fmt: skip


def test_kinds_that_are_not_known_are_let_in_and_skipped() -> None:
    raw = encode_batch(
        Batch("p", "r", "w", 1, records=[{"t": "newer", "a": 1}, {"t": "run", "name": "x", "z": 1}])
    )
    assert decode_batch(raw).records[0] == {"t": "newer", "a": 1}
    first, notice = decode_stored(raw).records
    assert first == {"t": "run", "name": "x", "z": 1}
    assert "notice record newer" in notice
    assert batch_digest(raw) == batch_digest(raw)


@pytest.mark.parametrize(
    "record",
    [
        {"t": "run", "name": 5},
        {"t": "run", "tags": "x"},
        {"t": "run", "wandb": [1]},
        {"t": "state", "state": "finished", "exit_code": "0"},
        {"t": "alert", "time": 1, "title": {"a": 1}},
        {"t": "define_metric", "name": ["a"]},
        {"t": "value", "key": "a", "step": 1, "time": 1, "kind": "list", "json": "[NaN]"},
        {"t": "console", "line": 1, "stream": 1, "time": 1, "text": "x"},
        {"t": "config", "update": {"a": b"x"}},
    ],
)
def test_ill_typed_records_are_refused_at_the_door(record: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match=r"records\[0\]"):
        decode_batch(encode_batch(Batch("p", "r", "w", 1, records=[record])))


@sized(5_000)
@given(st.text())
def test_any_key_becomes_one_that_can_name_a_metric(key: str) -> None:
    value = {"t": "value", "key": fit_key(key), "step": 0, "time": 0, "kind": "", "json": "1"}
    assert problem_of(value) is None
    assert fit_key(fit_key(key)) == fit_key(key)


def test_a_kind_that_is_no_word_is_no_record() -> None:
    for kind in ("x" * 2**20, "x" * 5_000, 7, None, ["run"], b"run"):
        fitter = Fitter()
        assert fitter.record({"t": kind, "a": 1}, Room(2**20, 100)) is None
        assert problem_of({"t": kind, "a": 1}) is not None
        assert list(fitter.notices())
