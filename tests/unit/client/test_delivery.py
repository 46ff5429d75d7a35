"""A spool's delivery: whatever happens in whatever order, what its docstring says always holds."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.fuzzing import sized

from penstock.errors import Broken
from penstock.shipper.cuts import Cut, CutLog
from penstock.shipper.delivery import Delivery
from penstock.shipper.mending import mend
from penstock.shipper.reader import SpoolReader
from penstock.shipper.rejects import Rejects
from penstock.shipper.replies import Reply
from penstock.shipper.report import Report
from penstock.spool.progress import Progress, load_progress, store_progress
from penstock.spool.record import Position, segment_name

SHARE = st.floats(0.0, 1.0)
"""Where between the least and the most that is possible."""


def made(progress: Progress | None = None, kept: Iterable[int] = ()) -> Delivery:
    return Delivery("r", progress or Progress(), now=0.0, kept=kept)


class DeliveryMachine(RuleBasedStateMachine):
    """One spool with a server whose store and queue are replaced, put back and slow. The model knows of
    each number what was said of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.delivery = made()
        self.now = 0.0
        self.store, self.queue, self.stored = "store-0", "queue-0", 0
        self.before = self.delivery.progress
        self.has_store_changed = False
        self.rejected: set[int] = set()
        self.dead: set[int] = set()
        self.released: set[int] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @property
    def progress(self) -> Progress:
        return self.delivery.progress

    def answer(self, committed: int | None) -> None:
        """Handle a reply as the sender does: announce what is lacking, then adopt the position."""
        self.now += 1.0
        reply = Reply(store=self.store, queue=self.queue, committed=committed)
        position = 0 if committed is None else committed
        if lacking := self.delivery.lacking(reply):
            assert set(lacking) <= self.released
            assert lacking.start == position + 1
            counted = self.progress.lost_batches
            self.delivery.lost(reply, points=10 * len(lacking))
            assert self.progress.lost_batches == max(counted, len(lacking))
            assert not self.delivery.lacking(reply)  # told once
        self.delivery.acknowledged(reply, self.now)

    @rule(count=st.integers(1, 3), dropped=st.integers(0, 2))
    def cut(self, count: int, dropped: int) -> None:
        self.delivery.cut_to(
            self.progress.cut + count, "running", dropped=dropped, replaced=dropped
        )
        assert not self.progress.done

    @precondition(lambda self: self.progress.queued < self.progress.cut)
    @rule()
    def send(self) -> None:
        seq = self.progress.queued + 1
        assert seq not in self.released
        self.delivery.queued_to(seq)

    @rule(share=SHARE)
    def the_store_goes_on(self, share: float) -> None:
        most = max(self.stored, self.progress.queued)
        self.stored += round(share * (most - self.stored))
        self.has_store_changed = self.stored < self.progress.acknowledged
        self.answer(self.stored)

    @rule(is_queue_empty=st.booleans())
    def the_queue_knows_no_position(self, is_queue_empty: bool) -> None:
        if is_queue_empty:
            self.queue += "x"
        self.answer(None)
        if is_queue_empty and self.before.queue:
            assert self.progress.queued == self.progress.committed

    @rule(share=SHARE, is_known=st.booleans())
    def another_store(self, share: float, is_known: bool) -> None:
        self.store += "x"
        self.stored = round(share * self.stored) if is_known else 0
        self.has_store_changed = True
        self.answer(self.stored if is_known else None)
        self.stored_again()

    @precondition(lambda self: self.stored > 0)
    @rule(share=SHARE)
    def an_older_copy_of_the_store(self, share: float) -> None:
        self.stored = int(share * (self.stored - 1))
        self.has_store_changed = True
        self.answer(self.stored)
        self.stored_again()

    def stored_again(self) -> None:
        """The server skips what was announced as lost; the rest is sent again."""
        assert self.progress.committed >= self.progress.released
        self.stored = max(self.stored, self.progress.released)

    @rule(share=SHARE)
    def release(self, share: float) -> None:
        held = self.progress.committed - self.progress.released
        self.delivery.released_to(self.progress.released + round(share * held))
        self.released |= set(range(1, self.progress.released + 1))

    @precondition(lambda self: self.progress.queued < self.progress.cut)
    @rule(is_taken=st.booleans())
    def refuse(self, is_taken: bool) -> None:
        """The number goes on as a void, or the server has another batch under it; either way it may come
        up again after the queue is lost."""
        seq = self.progress.queued + 1
        self.delivery.rejected(seq, f"refused {seq}")
        self.rejected |= {seq} - self.dead
        assert self.progress.refusal == f"refused {seq}"
        if is_taken:
            self.delivery.queued_to(seq)

    @precondition(lambda self: self.progress.cut > 0)
    @rule(share=SHARE)
    def a_dead_letter(self, share: float) -> None:
        seq = max(1, round(share * self.progress.cut))
        self.delivery.died(seq)
        self.dead |= {seq} - self.rejected

    @rule(data=st.data())
    def retry_what_is_kept(self, data: st.DataObject) -> None:
        if self.rejected:
            self.rejected = data.draw(st.sets(st.sampled_from(sorted(self.rejected))))
            self.delivery.cut_to(self.progress.cut + 1)
        self.delivery.retried(self.rejected | self.dead)

    @precondition(lambda self: self.progress.committed < self.progress.cut)
    @rule()
    def the_run_is_gone(self) -> None:
        self.delivery.send_again()
        seq = self.progress.queued + 1
        self.delivery.rejected(seq)
        self.delivery.written_off(seq)
        self.rejected |= {seq} - self.dead

    @rule(seconds=st.integers(0, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.delivery.stalled(self.now, 10.0)

    @rule(size=st.integers(0, 9), segments=st.integers(0, 3), problem=st.text(max_size=3))
    def damage(self, size: int, segments: int, problem: str) -> None:
        self.delivery.damaged(size, segments)
        self.delivery.has_problem(problem and "disk", problem)
        assert self.progress.problem == problem

    @rule()
    def end(self) -> None:
        self.delivery.ended_in(3)
        if self.delivery.is_all_acknowledged:
            self.delivery.finished(self.now)
            assert self.progress.is_stored(3)

    @rule()
    def go_on(self) -> None:
        self.delivery.continued()
        assert not self.progress.ended
        assert not self.progress.done

    @rule()
    def restart(self) -> None:
        store_progress(self.folder, self.progress)
        progress = load_progress(self.folder)
        assert progress == self.progress
        self.delivery = made(progress, self.rejected | self.dead)

    @rule()
    def do_what_is_impossible(self) -> None:
        now, delivery = self.progress, self.delivery
        tries: list[Callable[[], None]] = [
            lambda: delivery.queued_to(now.cut + 1),
            lambda: delivery.queued_to(now.committed - 1),
            lambda: delivery.cut_to(now.cut - 1),
            lambda: delivery.released_to(now.committed + 1),
            lambda: delivery.released_to(now.released - 1),
            lambda: delivery.written_off(now.committed - 1),
            lambda: delivery.written_off(now.cut + 1),
        ]
        if not now.ended or now.acknowledged < now.cut:
            tries.append(lambda: delivery.finished(1.0))
        for each in tries:
            with pytest.raises(Broken):
                each()
        assert delivery.progress is now

    @invariant()
    def each_batch_is_in_one_place(self) -> None:
        now = self.progress
        assert 0 <= now.released <= now.committed <= now.queued <= now.cut
        assert now.committed == max(now.acknowledged, now.released)
        assert not now.done or now.committed == now.cut

    @invariant()
    def each_verdict_counts_once(self) -> None:
        now = self.progress
        assert now.rejected == len(self.rejected)
        assert now.dead == sorted(self.dead)
        assert not self.rejected & self.dead
        known = self.rejected | self.dead
        assert {seq for seq in range(1, now.cut + 1) if self.delivery.has_verdict(seq)} == known

    @invariant()
    def what_only_grows_has_grown(self) -> None:
        now, before = self.progress, self.before
        if not self.has_store_changed:
            assert now.committed >= before.committed
        for name in (
            "cut", "released", "dropped", "replaced", "damaged_bytes", "missing_segments",
            "lost_batches", "lost_points",
        ):  # fmt: skip
            assert getattr(now, name) >= getattr(before, name), name
        assert now.lost_batches <= now.released
        assert set(before.dead) <= set(now.dead)
        self.before, self.has_store_changed = now, False


@pytest.mark.timeout(300)
def test_delivery_against_a_model(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    run_state_machine_as_test(DeliveryMachine, settings=sized(2_000))


def test_nobody_else_changes_it() -> None:
    delivery = made(Progress(queued=2, cut=3))
    with pytest.raises(FrozenInstanceError):
        delivery.progress.queued = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        delivery.progress = Progress()  # type: ignore[misc]
    before = delivery.progress
    delivery.died(2)
    assert before.dead == []


@pytest.mark.parametrize(
    "progress",
    [
        Progress(queued=1),
        Progress(committed=1, queued=1, cut=1),
        Progress(acknowledged=1, cut=1),
        Progress(acknowledged=2, committed=2, queued=1, cut=2),
        Progress(released=-1, cut=1),
        Progress(done=True, cut=1),
    ],
)
def test_an_impossible_state_is_refused(progress: Progress) -> None:
    with pytest.raises(Broken):
        made(progress)


def test_everything_is_sent_again_after_a_long_standstill() -> None:
    delivery = made()
    delivery.cut_to(3)
    delivery.queued_to(3)
    delivery.acknowledged(Reply(committed=1), 100.0)
    delivery.acknowledged(Reply(committed=1), 105.0)  # an answer alone is no progress
    delivery.stalled(110.0, 10.0)
    assert delivery.progress.queued == 3
    delivery.stalled(110.1, 10.0)
    assert delivery.progress.queued == 1


small = st.integers(-1, 7)
records = st.builds(
    Progress, queued=small, committed=small, acknowledged=small, cut=small, released=small,
    done=st.booleans(), ended=st.booleans(), rejected=st.integers(0, 2), dead=st.lists(small),
)  # fmt: skip


@given(stored=records, cuts=st.integers(0, 5), is_segment_there=st.booleans())
@sized(2_000)
def test_any_record_is_mended(stored: Progress, cuts: int, is_segment_there: bool) -> None:
    """Damaged, older than the cuts, or of a version that kept fewer numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store_progress(folder, stored)
        here = Position(1, 0)
        if cuts:
            CutLog(folder).append(*(Cut(seq, here, here, "mark") for seq in range(1, cuts + 1)))
        if is_segment_there:
            (folder / segment_name(1)).touch()
        reader = SpoolReader(folder)
        log, delivery = mend("r", reader, Rejects(folder))
        reader.close()
    progress = delivery.progress
    least = max(stored.cut, stored.queued, stored.committed, stored.released)
    assert progress.cut == log.last == max(cuts, least, 0)
    assert progress.committed >= stored.committed
    assert progress.released >= stored.released
    assert not progress.done or stored.done


def test_a_record_of_a_version_without_the_acknowledged_number_is_read(tmp_path: Path) -> None:
    """What it had committed and not released had been acknowledged."""
    fields = {"queued": 3, "committed": 2, "cut": 3, "queue": "q", "store": "s", "freed": 1}
    (tmp_path / "progress.json").write_text(json.dumps(fields))
    (tmp_path / segment_name(1)).touch()
    reader = SpoolReader(tmp_path)
    _, delivery = mend("r", reader, Rejects(tmp_path))
    reader.close()
    assert delivery.progress.acknowledged == 2
    delivery.acknowledged(Reply(store="s", queue="q", committed=1), 1.0)
    assert delivery.progress.queued == 1


def test_a_good_record_is_not_altered(tmp_path: Path) -> None:
    stored = Progress(
        queued=2, committed=2, acknowledged=1, cut=3, released=2, rejected=1, refusal="no", dead=[3],
        queue="q", store="s", state="running", lost_batches=1, lost_points=4, dropped=5,
    )  # fmt: skip
    store_progress(tmp_path, stored)
    here = Position(1, 0)
    CutLog(tmp_path).append(*(Cut(seq, here, here, "mark") for seq in (1, 2, 3)))
    (tmp_path / segment_name(1)).touch()
    reader = SpoolReader(tmp_path)
    _, delivery = mend("r", reader, Rejects(tmp_path))
    reader.close()
    assert delivery.progress == stored


def test_a_spool_that_was_done_before_its_last_cut_goes_on(tmp_path: Path) -> None:
    """The shipper ended between the cut and the record of it."""
    stored = Progress(queued=1, committed=1, acknowledged=1, cut=1, ended=True, done=True)
    store_progress(tmp_path, stored)
    here = Position(1, 0)
    CutLog(tmp_path).append(*(Cut(seq, here, here, "mark") for seq in (1, 2)))
    (tmp_path / segment_name(1)).touch()
    reader = SpoolReader(tmp_path)
    _, delivery = mend("r", reader, Rejects(tmp_path))
    reader.close()
    assert (delivery.progress.done, delivery.progress.cut) == (False, 2)


def test_a_problem_of_the_disk_that_has_passed_leaves_the_file_too(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    delivery = made()
    report = Report(folder, "r", delivery)
    report.keep(at_once=True)  # there is no folder yet
    assert delivery.progress.problem_code == "disk"
    folder.mkdir()
    for _ in range(2):
        report.keep(at_once=True)
    assert delivery.progress.problem == load_progress(folder).problem == ""


@pytest.mark.parametrize(
    ("fields", "reply"),
    [
        ({}, Reply()),
        (
            {"store": "s", "queue": "q", "committed": 3, "dead": [1, 2], "interval_s": 1},
            Reply("s", "q", 3, (1, 2), 1.0),
        ),
        ({"store": None, "committed": "3", "dead": 4, "interval_s": "1"}, Reply()),
        ({"dead": [1, "2", None, [3]]}, Reply(dead=(1,))),
    ],
)
def test_a_reply_is_checked(fields: dict[str, Any], reply: Reply) -> None:
    assert Reply.of(fields) == reply


def test_a_position_outside_the_spool_is_brought_inside() -> None:
    delivery = made(replace(Progress(), cut=2))
    delivery.acknowledged(Reply(committed=9), 1.0)
    assert delivery.progress.committed == 2
    delivery.acknowledged(Reply(committed=-9), 1.0)
    assert delivery.progress.committed == 0
