"""A file stream request into batches: numbered, within limits, and to the generation that is meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.errors import Rejected
from penstock.wire import DEFAULT_LIMITS, SYSTEM_RANK, Batch, decode_batch
from penstock_compat.wandb.stream.translation import (
    Candidate,
    Request,
    Translated,
    UnknownProcess,
    translate,
)
from penstock_storage.catalog.runs.line_streams import LineStream
from penstock_storage.contracts.interface import RunRef

REF = RunRef("ana", "p", "r")
SECOND = 1_000_000


def request(*streams: LineStream, committed: int = 0, at: int = 10 * SECOND) -> Request:
    return Request(REF, [Candidate(stream, committed) for stream in streams], at)


def stream(generation: int = 1, **counts: Any) -> LineStream:
    return LineStream(1, "", generation, 0, **counts)


def post(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def history(offset: int, count: int, **row: Any) -> dict[str, Any]:
    content = [
        json.dumps({"_step": offset + n, "_timestamp": 1.5, "a": n, **row}) for n in range(count)
    ]
    return {"wandb-history.jsonl": {"offset": offset, "content": content}}


def batches(translated: Translated) -> list[Batch]:
    made = translated.made.batches
    decoded = [decode_batch(each.raw, DEFAULT_LIMITS) for each in made]
    assert [(each.writer, each.seq, each.decoded) for each in decoded] == [
        (each.writer, each.seq, each.decoded) for each in made
    ]
    return decoded


def test_nothing_to_store() -> None:
    for body in (b"", b"{}", post(uploaded=["x"]), post(files={})):
        assert not translate(body, request(stream()), DEFAULT_LIMITS).made.batches


def test_a_whole_request() -> None:
    files = {
        **history(0, 3),
        "wandb-events.jsonl": {"offset": 2, "content": ['{"_timestamp":1.0,"system.x":4}']},
        "wandb-summary.json": {"offset": 0, "content": ['{"a":2,"n":NaN}']},
        "output.log": {
            "offset": 7,
            "content": ["2026-11-23T04:58:44.576343 hello", "ERROR 2026-11-23T04:58:45 bad", "odd"],
        },
    }
    body = post(files=files, complete=True, exitcode=3)
    translated = translate(body, request(stream(generation=255)), DEFAULT_LIMITS)
    system, main = batches(translated)
    assert (system.writer, system.rank) == ("wandb-ff-system", SYSTEM_RANK)
    assert (main.writer, main.rank, main.entity) == ("wandb-ff", 0, "ana")
    assert main.acked == main.seq - 1
    assert main.writer_started == 10 * SECOND
    by_kind = {record["t"]: record for record in main.records}
    assert by_kind["state"] == {"t": "state", "state": "failed", "exit_code": 3}
    assert by_kind["summary"]["whole"] is True
    assert by_kind["summary"]["update"]["a"] == 2
    lines = [record for record in main.records if record["t"] == "console"]
    assert [(each["line"], each["stream"], each["text"]) for each in lines] == [
        (7, "stdout", "hello"), (8, "stderr", "bad"), (9, "stdout", "odd"),
    ]  # fmt: skip
    assert lines[0]["time"] == 1_795_409_924_576_343
    after = translated.stream
    assert (after.history, after.events, after.console) == (3, 3, 10)
    assert after.tail == {"_step": 2, "_timestamp": 1.5}
    assert after.last_seq == main.seq


def test_numbers_rise_with_time_and_never_fall_behind() -> None:
    def seq(given: LineStream, committed: int = 0, at: int = 10 * SECOND) -> int:
        asked = request(given, committed=committed, at=at)
        return batches(translate(post(files=history(0, 1)), asked, DEFAULT_LIMITS))[0].seq

    assert seq(stream(generation=0)) == 1_001
    assert seq(stream(generation=0), at=11 * SECOND) == 1_101
    assert seq(stream(generation=0, last_seq=5_000)) == 5_001
    assert seq(stream(generation=0, last_seq=5_000), committed=7_000) == 7_001
    assert seq(stream(generation=20 * SECOND)) == 1, "a clock that is behind"


def test_lines_belong_to_the_generation_that_they_go_on_with() -> None:
    old, new = stream(1, history=500, posted_at=400), stream(2, history=20, posted_at=10)

    def chosen(offset: int) -> int:
        body = post(files=history(offset, 1))
        asked = request(
            stream(2, history=new.history, posted_at=new.posted_at),
            stream(1, history=old.history, posted_at=old.posted_at),
        )
        return translate(body, asked, DEFAULT_LIMITS).stream.generation

    assert chosen(20) == 2
    assert chosen(500) == 1
    assert chosen(10) == 2, "sent again"
    assert chosen(400) == 1, "sent again"
    assert chosen(77) == 2, "neither: the newest"


def test_first_lines_of_another_process_are_not_those_in_hand() -> None:
    """The others are claimed, and not stored and counted yet."""
    body = post(files=history(0, 3))
    first = translate(body, request(stream(1)), DEFAULT_LIMITS).stream
    claimed = stream(1, posted_at=first.posted_at, posted_line=first.posted_line)
    again = translate(body, request(claimed), DEFAULT_LIMITS)
    assert again.stream.generation == 1
    with pytest.raises(UnknownProcess):
        translate(post(files=history(0, 3, b=1)), request(claimed), DEFAULT_LIMITS)


def lines_of(began: float, offset: int, count: int = 3, *, pause: float = 0.0) -> dict[str, Any]:
    """History lines of a process that began then; their rows are complete only after a pause."""
    content = []
    for n in range(offset, offset + count):
        at = began + 5.25 + n
        row = {"_step": n, "_timestamp": at, "_runtime": at - began + pause, "a": 1.0}
        content.append(json.dumps(row))
    return {"wandb-history.jsonl": {"offset": offset, "content": content}}


def taken(files: dict[str, Any], *streams: LineStream) -> LineStream:
    return translate(post(files=files), request(*streams), DEFAULT_LIMITS).stream


ONE, OTHER = 1_795_409_924.25, 1_795_409_954.75


def test_lines_belong_to_the_process_that_wrote_them() -> None:
    """Two scripts that begin with one id at the same time, each from its line 0 on."""
    first = taken(lines_of(ONE, 0), stream(1))
    assert first.history == 3
    assert first.origin == pytest.approx(ONE * 1e6, abs=2)
    with pytest.raises(UnknownProcess) as unknown:
        taken(lines_of(OTHER, 0), first)
    assert unknown.value.offset == 0
    second = taken(lines_of(OTHER, 0), stream(2, beside=True), first)
    assert (second.generation, second.history) == (2, 3)
    # Sent again, with a line more; then the next ones, whose number fits both.
    assert taken(lines_of(ONE, 0, 4), second, first) is first
    assert taken(lines_of(OTHER, 0, 4), second, first) is second
    assert first.history == second.history == 4
    assert taken(lines_of(ONE, 4, 2), second, first) is first
    assert taken(lines_of(OTHER, 4, 1), second, first) is second
    assert taken(lines_of(OTHER, 5, 1), second, first) is second


@pytest.mark.parametrize("pause", [0.004, 3.0, 7200.0])
def test_rows_that_are_complete_late_are_no_sign_of_another_process(pause: float) -> None:
    """As with `log(…, step=…)`: a row is complete when the next step begins."""
    alone = taken(lines_of(ONE, 0, 3), stream(1))
    assert taken(lines_of(ONE, 3, 3, pause=pause), alone) is alone
    assert taken(lines_of(ONE, 3, 3, pause=pause), alone) is alone, "sent again"
    assert taken(lines_of(ONE, 9, pause=pause), alone) is alone, "lines that never arrived"


def test_a_folder_that_is_synced_again_stays_in_one_generation() -> None:
    """Its console may come first, and its lines in as many requests as it likes: one attempt ends."""
    before = taken(lines_of(ONE, 0, 200), stream(1))
    for sizes in ([300], [200, 100], [1, 299], [250, 50]):
        now, at = stream(2), 0
        console = {"output.log": {"offset": 0, "content": ["hello"]}}
        assert taken(console, now, before) is now
        for size in sizes:
            assert taken(lines_of(ONE, at, size), now, before) is now
            at += size
        last = translate(post(complete=True, exitcode=0), request(now, before), DEFAULT_LIMITS)
        assert last.stream is now
        assert now.history == 300
        assert before.history == 200


def test_two_processes_that_resume_a_run_at_once() -> None:
    """Both continue at the count that they were told."""
    before, resumed = stream(1, history=2, posted_at=0), stream(5, history=9, posted_at=6)
    assert taken(lines_of(ONE, 9), resumed, before) is resumed
    with pytest.raises(UnknownProcess) as unknown:
        taken(lines_of(OTHER, 9), resumed, before)
    assert unknown.value.offset == 9
    own = stream(7, history=9, beside=True)
    assert taken(lines_of(OTHER, 9), own, resumed, before) is own
    # One of them is resumed once more, when both have as many lines.
    resumed.origin = 0
    assert taken(lines_of(OTHER, 12, pause=0.5), own, resumed, before) is own
    assert taken(lines_of(ONE + 900, 12), own, resumed, before) is resumed


def test_of_several_processes_none_replaces_the_summary_of_the_others() -> None:
    body = post(files={"wandb-summary.json": {"offset": 0, "content": ['{"a":1}']}})
    asked = request(stream(2, beside=True), stream(1))
    [batch] = batches(translate(body, asked, DEFAULT_LIMITS))
    assert batch.records[0]["whole"] is False
    assert batch.start.kind == "beside"


@pytest.mark.heavy
@pytest.mark.smoke
def test_many_records_become_several_batches() -> None:
    files = history(0, 45_000, text="x")
    made = batches(translate(post(files=files), request(stream()), DEFAULT_LIMITS))
    assert len(made) > 1
    assert [each.seq for each in made] == list(range(made[0].seq, made[0].seq + len(made)))
    assert sum(len(each.records) for each in made) == 45_000
    assert sum(each.points for each in made) == 45_000


def test_shared_processes_add_to_one_summary() -> None:
    asked = Request(REF, [Candidate(LineStream(1, "c1", 1, 2), 0)], SECOND, is_shared=True)
    body = post(files={"wandb-summary.json": {"offset": 0, "content": ['{"a":1}']}})
    [batch] = batches(translate(body, asked, DEFAULT_LIMITS))
    assert (batch.writer, batch.rank) == ("wandb-1-c1", 2)
    assert batch.records[0]["whole"] is False


@pytest.mark.parametrize(
    "body", [b"{", b"[]", post(files=[]), post(files={"wandb-history.jsonl": {"offset": -1}})]
)
def test_what_is_no_request(body: bytes) -> None:
    with pytest.raises(Rejected):
        translate(body, request(stream()), DEFAULT_LIMITS)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["{}", "[1]", '{"_step":1,"a":NaN}', '{"_step":"x","_type":7}', "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["offset", "content", "_step", "_timestamp", "a", "_type", ""]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
names = st.sampled_from(
    ["wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json", "output.log", "x"]
)
entries = anything | st.fixed_dictionaries(
    {
        "offset": st.integers(-1, 9) | st.sampled_from([2**52, 2**63, 2**70, True, 1.5]),
        "content": st.lists(anything.map(json.dumps) | anything, max_size=4),
    }
)


@sized(5_000)
@given(
    st.fixed_dictionaries(
        {"files": anything | st.dictionaries(names, entries, max_size=4)},
        optional={
            "complete": st.booleans(),
            "exitcode": anything | st.sampled_from([2**64, 2**31, -(2**70), -9]),
            "preempting": anything,
        },
    )
)
def test_whatever_comes_is_refused_or_can_be_stored(fields: dict[str, Any]) -> None:
    try:
        translated = translate(json.dumps(fields).encode(), request(stream()), DEFAULT_LIMITS)
    except Rejected:
        return
    batches(translated)
