"""What a run shows after attempts, edits, processes beside each other, late syncs, repeats, wiped queues and
restarted workers in any order: compared with a model that knows only the rules."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from support.catalogs import new_catalog_file
from support.fuzzing import cases, source
from support.memory_worker import KEYS, Bench, Worker, running_bench

from penstock.wire import Batch, Frame, Start, decode_batch, encode_batch
from penstock_storage.charts.attempts import attempt_ends
from penstock_storage.contracts.interface import RunChange, RunRef

REF = RunRef("e", "p", "r")
APART_US = 10_000_000_000
"""Between the starts of two processes: far more than a test takes."""
FIELDS = ("lr", "depth", "x")


@dataclass
class Sent:
    """A batch: rows by step, changes of the config, and whether it was logged long after its writer began."""

    seq: int
    raw: bytes
    steps: list[int]
    update: dict[str, int]
    late_by_us: int = 0


@dataclass
class Process:
    """A process that logs to the run. `began` is the server's time; its own clock is off."""

    name: str
    rank: int
    start: Start
    began: int
    clock_us: int
    is_outlived: bool = False
    waiting: list[Sent] = field(default_factory=list)
    """On its machine."""
    heard: list[Sent] = field(default_factory=list)
    lane: int = -1

    @property
    def order(self) -> tuple[int, int]:
        return self.began, self.lane

    @property
    def replaces(self) -> bool:
        return self.start.kind != "beside" and not self.is_outlived

    @property
    def first_step(self) -> int | None:
        return min((step for sent in self.heard for step in sent.steps), default=None)


@dataclass
class Model:
    """The rules, as docs/guarantees.md has them."""

    processes: list[Process] = field(default_factory=list)
    config: dict[str, int] = field(default_factory=dict)
    owners: dict[str, tuple[str, int]] = field(default_factory=dict)

    def hear(self, process: Process, sent: Sent) -> None:
        """The server stores a batch, perhaps again."""
        is_again = any(each.seq == sent.seq for each in process.heard)
        if process.lane < 0:
            process.lane = max((each.lane for each in self.processes), default=-1) + 1
        newer = self._newest(process)
        is_late = newer is not None
        if not is_again:
            process.heard.append(sent)
        if newer is not None and not is_again:
            newer.is_outlived |= process.began + sent.late_by_us > newer.began + 10_000_000
        for name, value in sent.update.items():
            owner, seq = self.owners.get(name, ("", -1))
            if name not in self.owners:
                wins = True
            elif owner == process.name:
                wins = sent.seq > seq
            else:
                wins = not is_late and not is_again
            if wins:
                self.config[name], self.owners[name] = value, (process.name, sent.seq)

    def edit(self, update: dict[str, int]) -> None:
        for name, value in update.items():
            self.config[name], self.owners[name] = value, ("", 0)

    def _newest(self, process: Process) -> Process | None:
        """The attempt that replaces this one, if there is one."""
        newer = [
            each
            for each in self.processes
            if each.rank == process.rank and each.replaces and each.lane >= 0
            and each.order > process.order
        ]  # fmt: skip
        return max(newer, key=lambda each: each.order, default=None)

    def shown(self) -> dict[tuple[int, int], str]:
        """Whose row counts at each (rank, step)."""
        found: dict[tuple[int, int], str] = {}
        order = sorted(
            self.processes, key=lambda each: (not each.replaces, [-n for n in each.order])
        )
        for process in reversed(order):  # later ones in the loop win
            for step in {step for sent in process.heard for step in sent.steps}:
                if not any(self._hides(other, process, step) for other in self.processes):
                    found[process.rank, step] = process.name
        return found

    @staticmethod
    def _hides(other: Process, process: Process, step: int) -> bool:
        first = other.first_step
        if first is None or not other.replaces or other.rank != process.rank:
            return False
        since = other.start.step if other.start.kind == "resume" else first
        return other.order > process.order and step >= since


class Machine:
    """Does at random what may happen, to the real parts and to the model."""

    def __init__(self, bench: Bench, worker: Worker, rng: random.Random) -> None:
        self.bench, self.worker, self.rng = bench, worker, rng
        self.model = Model()
        self.now_us = 0

    async def act(self) -> None:
        acts = [self.begin, self.begin, self.log, self.log, self.log, self.sync, self.sync, self.sync,
                self.edit, self.repeat, self.wipe, self.restart]  # fmt: skip
        await self.rng.choice(acts)()

    async def begin(self) -> None:
        if len(self.model.processes) >= 6:
            return
        self.now_us += APART_US
        kind = self.rng.choice(["", "", "resume", "resume", "beside"])
        step = self.rng.randrange(40) if kind == "resume" else 0
        name = f"w{len(self.model.processes)}"
        clock_us = self.rng.choice([0, 0, APART_US * 9, -APART_US * 9])
        rank = self.rng.choice([0, 0, 1])
        self.model.processes.append(Process(name, rank, Start(kind, step), self.now_us, clock_us))

    async def log(self) -> None:
        if not self.model.processes:
            return
        process = self.rng.choice(self.model.processes)
        seq = len(process.heard) + len(process.waiting) + 1
        first = self.rng.randrange(40)
        steps = list(range(first, first + self.rng.randrange(1, 12)))
        names = self.rng.sample(FIELDS, self.rng.randrange(3))
        update = {name: self.rng.randrange(1_000_000) for name in names}
        late_by_us = self.rng.choice([0, 0, self.now_us - process.began + APART_US // 2])
        started = 10 * APART_US + process.began + process.clock_us
        frame = Frame(
            ["a"],
            np.array(steps, "<i8").tobytes(),
            np.full(len(steps), started + late_by_us, "<i8").tobytes(),
            np.full(len(steps), 1.0, "<f8").tobytes(),
        )
        records = [{"t": "config", "update": update}] if update else []
        batch = Batch(
            project="p", run="r", writer=process.name, seq=seq, writer_started=started,
            rank=process.rank, frames=[frame], records=records, start=process.start,
        )  # fmt: skip
        process.waiting.append(Sent(seq, encode_batch(batch), steps, update, late_by_us))

    async def sync(self) -> None:
        """A machine sends what waits there."""
        behind = [process for process in self.model.processes if process.waiting]
        if not behind:
            return
        process = self.rng.choice(behind)
        for _ in range(self.rng.randrange(1, len(process.waiting) + 1)):
            await self._deliver(process, process.waiting.pop(0))

    async def edit(self) -> None:
        row = await self.bench.catalog.run(REF)
        if row is None:
            return
        update = {self.rng.choice(FIELDS): self.rng.randrange(1_000_000)}
        await self.bench.catalog.apply_changes([RunChange.edit(row.number, "config", update)], 1)
        self.model.edit(update)

    async def repeat(self) -> None:
        """A batch comes again, though the store has it."""
        known = [(each, sent) for each in self.model.processes for sent in each.heard]
        if known:
            await self._deliver(*self.rng.choice(known))

    async def wipe(self) -> None:
        """The queue loses everything, and with it what it knew of committed numbers."""
        redis = self.bench.redis
        epochs = {name: await redis.get(name) for name in map(KEYS.epoch, range(16))}
        await redis.flushall()
        # Epochs follow from the time, which has moved on by more than this test takes.
        await redis.mset({name: epoch for name, epoch in epochs.items() if epoch is not None})
        await self.restart()

    async def restart(self) -> None:
        self.worker = await self.bench.new_worker(f"n{self.rng.random()}")

    async def _deliver(self, process: Process, sent: Sent) -> None:
        age_us = 100 * APART_US - process.began
        size = decode_batch(sent.raw).decoded
        await self.bench.appender.append(*REF, process.name, sent.seq, sent.raw, size, age_us)
        await self.worker.commit()
        self.model.hear(process, sent)

    async def check(self) -> None:
        row = await self.bench.catalog.run(REF)
        if row is None:
            return
        assert row.config == self.model.config
        assert await self._shown(row.number) == self.model.shown()

    async def _shown(self, run: int) -> dict[tuple[int, int], str]:
        """What a reader makes of the store."""
        lanes = await self.bench.catalog.lanes([run])
        points = await self.bench.points.query("SELECT lane, step FROM penstock.points FINAL")
        stored = list(zip(map(int, points["lane"]), map(int, points["step"]), strict=True))
        firsts: dict[tuple[int, int], int] = {}
        for lane, step in stored:
            firsts[run, lane] = min(step, firsts.get((run, lane), step))
        ends = attempt_ends(lanes, firsts)
        found: dict[tuple[int, int], str] = {}
        for each in sorted(lanes, key=lambda lane: lane.precedence(), reverse=True):
            for lane, step in stored:
                if lane == each.lane and step < ends.get((run, lane), 2**62):
                    found[each.rank, step] = each.writer
        return found


@pytest.mark.parametrize("case", range(cases(1_000, fewest=5)))
async def test_a_run_shows_what_the_rules_say(case: int, tmp_path: Path) -> None:
    rng = source(f"hearing {case}")
    async with running_bench(await new_catalog_file(tmp_path / "catalog.db")) as bench:
        machine = Machine(bench, await bench.new_worker(), rng)
        for _ in range(40):
            await machine.act()
            await machine.check()
