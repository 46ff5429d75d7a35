"""What the worker keeps, against models that are plain dictionaries and sets: committed numbers over
repeats, gaps, restarts; and folds over deliveries in any order, grouped in any way."""

from __future__ import annotations

import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.fuzzing import sized

from penstock.wire import Frame
from penstock_workers.batches.committed import CommittedSeqs
from penstock_workers.batches.fold import ResolvedFrame, fold
from penstock_workers.batches.series import SeriesIndex

HIGHEST = 40


class AppliedMachine(RuleBasedStateMachine):
    """One writer's set: the model is the plain set of the numbers that count as stored."""

    def __init__(self) -> None:
        super().__init__()
        self.committed = CommittedSeqs(3)
        self.model: set[int] = set()

    @rule(seq=st.integers(1, HIGHEST))
    def add(self, seq: int) -> None:
        self.committed.add(seq)
        self.model.add(seq)

    @rule(seq=st.integers(2, HIGHEST), data=st.data())
    def add_with_what_was_freed(self, seq: int, data: st.DataObject) -> None:
        acked = data.draw(st.integers(0, seq - 1))
        self.committed.add(seq, released=acked)
        self.model |= {seq, *range(1, acked + 1)}

    @rule(seqs=st.lists(st.integers(1, HIGHEST), max_size=8))
    def add_again_in_any_order(self, seqs: list[int]) -> None:
        for seq in (*seqs, *reversed(seqs)):
            self.add(seq)

    @rule()
    def restart(self) -> None:
        """A new owner of the shard starts from the row that is stored."""
        held = self.committed
        low, gaps, dead = held.low, sorted(held.gaps), sorted(held.dead)
        self.committed = CommittedSeqs(held.lane, low, gaps, dead)

    @rule()
    def restart_from_a_row_that_was_not_tidy(self) -> None:
        """An older program may have left numbers at or below the mark among the gaps."""
        held = self.committed
        self.committed = CommittedSeqs(held.lane, held.low, [*held.gaps, *range(1, held.low + 1)])

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        found = {seq for seq in range(1, HIGHEST + 2) if seq in self.committed}
        assert found == self.model
        assert 0 in self.committed  # below the first number nothing is ever missing
        assert self.committed.lane == 3

    @invariant()
    def the_mark_is_the_first_hole(self) -> None:
        hole = next(seq for seq in range(1, HIGHEST + 2) if seq not in self.model)
        assert self.committed.low == hole - 1
        assert self.committed.gaps == {seq for seq in self.model if seq > hole}


@pytest.mark.timeout(300)
def test_applied_set_against_a_plain_set() -> None:
    run_state_machine_as_test(AppliedMachine, settings=sized(300))


KEYS = ("a", "b", "c")
Name = tuple[int, int, int, int]  # (key, run, lane, step)
_NANS = (0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8DEADBEEF0000, 0x7FF0000000000001)
_VALUES = st.one_of(
    st.sampled_from((*_NANS, 0x7FF0000000000000, 0xFFF0000000000000, 0, 1 << 63)),
    st.integers(0, 2**64 - 1),
)
"""Values as bits: every NaN is to come back as it went in."""


@st.composite
def rows_of_a_frame(draw: st.DrawFn) -> tuple[list[str], list[int], list[list[int]]]:
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True))
    steps = draw(st.lists(st.integers(-4, 8), min_size=1, max_size=5))
    columns = st.lists(_VALUES, min_size=len(steps), max_size=len(steps))
    return keys, steps, [draw(columns) for _ in keys]


class FoldMachine(RuleBasedStateMachine):
    """Batches are made, delivered again and again in any order, and committed in groups; what the
    store keeps of them (per point the greatest seq, as its tables do) is compared with a
    dictionary in which the newest (seq, row) won."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[int, int, int, list[Any]]] = []
        self.waiting: list[int] = []
        self.delivered: set[int] = set()
        self.committed: dict[tuple[int, int], CommittedSeqs] = {}
        self.table = SeriesIndex()
        self.store: dict[Name, tuple[int, int]] = {}
        self.last: dict[tuple[int, int, int], tuple[int, int]] = {}

    @rule(
        run=st.integers(1, 2),
        lane=st.integers(0, 1),
        frames=st.lists(rows_of_a_frame(), min_size=1, max_size=3),
        is_held=st.booleans(),
    )
    def log(self, run: int, lane: int, frames: list[Any], is_held: bool) -> None:
        seq = 1 + sum(1 for each in self.batches if each[:2] == (run, lane))
        self.batches.append((run, lane, seq, frames))
        if not is_held:
            self.waiting.append(len(self.batches) - 1)

    @rule(seed=st.integers(0, 2**32))
    def deliver_some_again(self, seed: int) -> None:
        if self.batches:
            rng = random.Random(seed)
            self.waiting += rng.choices(range(len(self.batches)), k=rng.randrange(1, 6))
            rng.shuffle(self.waiting)

    @rule()
    def restart(self) -> None:
        """The worker dies after it stored something and before it took note of it."""
        self.table = SeriesIndex()
        self.committed = {
            name: CommittedSeqs(held.lane, held.low, held.gaps)
            for name, held in self.committed.items()
        }

    @rule(most=st.integers(1, 6), is_forgotten=st.booleans())
    def commit(self, most: int, is_forgotten: bool) -> None:
        """Commit a group; `is_forgotten`: its points are stored, but not that they are, so that it
        comes again."""
        group, rest = self.waiting[:most], self.waiting[most:]
        taken, before = (
            [],
            {name: (held.low, set(held.gaps)) for name, held in self.committed.items()},
        )
        for index in group:
            run, lane, seq, _ = self.batches[index]
            held = self.committed.setdefault((run, lane), CommittedSeqs(lane))
            if seq not in held:
                held.add(seq)
                taken.append(index)
        self.waiting = rest
        if is_forgotten:
            self.committed = {
                name: CommittedSeqs(held.lane, *before.get(name, (0, set())))
                for name, held in self.committed.items()
            }
            self.waiting = [*rest, *group]
        self.delivered.update(taken)
        self._store(taken)

    def _store(self, taken: list[int]) -> None:
        pieces = []
        for index in taken:
            run, lane, seq, frames = self.batches[index]
            row = 0
            for keys, steps, columns in frames:
                values = b"".join(struct.pack(f"<{len(steps)}Q", *column) for column in columns)
                packed = struct.pack(f"<{len(steps)}q", *steps)
                frame = Frame(keys, packed, packed, values)
                series = self.table.of_frame(run, lane, tuple(keys))
                if series is None:
                    numbers = [KEYS.index(key) for key in keys]
                    series = self.table.add_frame(run, lane, tuple(keys), numbers, shard=0)
                pieces.append(ResolvedFrame(frame, series, run, lane, seq, row))
                row += len(steps)
        if not pieces:
            return
        folded = fold(pieces, self.table)
        columns = [folded.points[name] for name in ("key", "run", "lane", "step", "seq")]
        bits = folded.points["v"].view(np.uint64)
        names = []
        for *name, seq, value in zip(*(c.tolist() for c in (*columns, bits)), strict=True):
            names.append(tuple(name))
            held = self.store.get(tuple(name))
            if held is None or seq >= held[0]:
                self.store[tuple(name)] = (seq, value)
        assert names == sorted(set(names))  # as the table is ordered, each once
        ends = folded.series
        found = [ends["key"], ends["run"], ends["lane"], ends["last"][0]]
        last = np.asarray(ends["last"][1]).view(np.uint64)
        for key, run, lane, version, value in zip(
            *(c.tolist() for c in (*found, last)), strict=True
        ):
            self.last[key, run, lane] = max(
                self.last.get((key, run, lane), (-1, 0)), (version, value)
            )

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        model: dict[Name, tuple[tuple[int, int], int]] = {}
        last: dict[tuple[int, int, int], tuple[int, int]] = {}
        for index in sorted(self.delivered):
            run, lane, seq, frames = self.batches[index]
            row = 0
            for keys, steps, columns in frames:
                for key, column in zip(keys, columns, strict=True):
                    series = (KEYS.index(key), run, lane)
                    for at, (step, value) in enumerate(zip(steps, column, strict=True)):
                        order = (seq, row + at)
                        if (*series, step) not in model or order >= model[*series, step][0]:
                            model[*series, step] = (order, value)
                        version = seq << 32 | (row + at)
                        last[series] = max(last.get(series, (-1, 0)), (version, value))
                row += len(steps)
        assert self.store == {name: (order[0], value) for name, (order, value) in model.items()}
        assert self.last == last


@pytest.mark.timeout(300)
def test_folds_against_a_dictionary() -> None:
    run_state_machine_as_test(FoldMachine, settings=sized(300))


@sized(1_000)
@given(st.lists(rows_of_a_frame(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_how_a_commit_is_grouped_changes_nothing(frames: list[Any], rng: random.Random) -> None:
    """All batches in one fold, or one fold each, in any order."""

    def stored(groups: list[list[int]]) -> dict[Name, tuple[int, int]]:
        machine = FoldMachine()
        machine.batches = [(1, 0, seq, [frame]) for seq, frame in enumerate(frames, 1)]
        for group in groups:
            machine._store(group)
        return machine.store

    order = list(range(len(frames)))
    rng.shuffle(order)
    assert stored([order]) == stored([[each] for each in range(len(frames))])
    assert stored([[each] for each in order]) == stored([order])
