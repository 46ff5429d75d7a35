"""What the catalog of sweeps promises, tried on SQLite and PostgreSQL, also by several at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack

import pytest
from support.catalogs import opened

from penstock.errors import Rejected
from penstock_storage.catalog import SqlCatalog, Sweeps
from penstock_storage.contracts.interface import RunChange, RunRef
from penstock_storage.contracts.sweep_rows import (
    AgentHeartbeat,
    Drawn,
    Lesson,
    NewSweep,
    SweepRow,
    TrialAssignment,
)

LEASE = 1_000


def count_up(index: int) -> Drawn:
    return Drawn({"n": index}, {"n": index / 1_000_000})


class Bench:
    """A sweep, and agents that speak for themselves."""

    def __init__(self, catalog: SqlCatalog, sweeps: Sweeps, row: SweepRow) -> None:
        self.catalog = catalog
        self.sweeps = sweeps
        self.row = row

    async def agent(self, name: str) -> str:
        return (await self.sweeps.add_agent(self.row.number, name, "host", 1)).agent

    async def heartbeat(
        self,
        agent: str,
        *,
        now: int = 0,
        alive: Iterable[str] = (),
        ended: Iterable[str] = (),
        wants: bool = True,
        end: int | None = None,
        cap: int | None = None,
    ) -> TrialAssignment:
        heartbeat = AgentHeartbeat(agent, frozenset(alive), frozenset(ended), wants, LEASE, cap)
        draw = count_up if end is None else lambda n: count_up(n) if n < end else None
        (handed,) = await self.sweeps.heartbeat([(heartbeat, draw)], lambda: now)
        if isinstance(handed, Rejected):
            raise handed
        return handed

    async def begin(self, run: str, state: str = "running") -> int:
        """The run of a trial is there."""
        ref = RunRef(self.row.entity, self.row.project, run)
        number = (await self.catalog.ensure_runs([ref]))[ref].number
        change = RunChange(number, "w1", 1, 0, "state", {"state": state})
        await self.catalog.apply_changes([change], 5)
        return number

    async def state(self) -> str:
        row = await self.sweeps.by_number(self.row.number)
        assert row is not None
        return row.state


@pytest.fixture
async def bench(catalog: SqlCatalog) -> Bench:
    sweeps = Sweeps(catalog.database)
    row = await sweeps.create(NewSweep("ana", "mnist", "s1", "first", "yaml", "minimize"), 7)
    return Bench(catalog, sweeps, row)


def run_of(handed: TrialAssignment) -> str:
    assert handed.trial is not None
    return handed.trial.run


async def test_a_sweep_is_found_again(bench: Bench) -> None:
    row = bench.row
    assert (row.entity, row.project, row.sweep, row.state, row.drawn) == (
        "ana", "mnist", "s1", "PENDING", 0,
    )  # fmt: skip
    assert await bench.sweeps.find("ana", "mnist", "s1") == row
    assert await bench.sweeps.find("ana", "cifar", "s1") is None
    second = await bench.sweeps.create(NewSweep("ana", "mnist", "s2", "", "y", ""), 8)
    assert await bench.sweeps.of_project("ana", "mnist") == [second, row]
    assert await bench.sweeps.of_project("ana", "nothing") == []


async def test_trials_come_in_order_once_each(bench: Bench) -> None:
    a, b = await bench.agent("a"), await bench.agent("b")
    assert run_of(await bench.heartbeat(a)) == "s1-0"
    assert run_of(await bench.heartbeat(b)) == "s1-1"
    assert await bench.state() == "RUNNING"
    handed = await bench.heartbeat(a, ended=["s1-0"])
    assert handed.trial is not None
    assert (handed.trial.index, handed.trial.parameters) == (2, {"n": 2})
    assert (handed.trial.point, handed.trial.handed) == ({"n": 2e-6}, 1)


async def test_who_did_not_hear_the_answer_gets_the_same_again(bench: Bench) -> None:
    a = await bench.agent("a")
    assert [run_of(await bench.heartbeat(a)) for _ in range(3)] == ["s1-0"] * 3
    # Once its run was there it was heard of: it has ended if the agent does not have it.
    await bench.begin("s1-0")
    assert run_of(await bench.heartbeat(a)) == "s1-1"


async def test_a_trial_that_never_begins_is_given_up(bench: Bench) -> None:
    a = await bench.agent("a")
    runs = [run_of(await bench.heartbeat(a)) for _ in range(6)]
    assert runs == ["s1-0"] * 5 + ["s1-1"]


async def test_an_agent_with_a_run_gets_no_other(bench: Bench) -> None:
    a = await bench.agent("a")
    await bench.heartbeat(a)
    for now in (100, 900, 1_800, 2_700):
        handed = await bench.heartbeat(a, now=now, alive=["s1-0"])
        assert (handed.trial, handed.stops, handed.exit) == (None, (), False)
    # Its lease was renewed each time.
    b = await bench.agent("b")
    assert run_of(await bench.heartbeat(b, now=3_600)) == "s1-1"


async def test_a_trial_of_a_dead_agent_goes_to_the_next_with_the_same_run(bench: Bench) -> None:
    a, b, c = [await bench.agent(name) for name in "abc"]
    await bench.heartbeat(a, now=0)
    assert run_of(await bench.heartbeat(b, now=LEASE)) == "s1-1"
    again = await bench.heartbeat(c, now=LEASE + 1)
    assert again.trial is not None
    assert (again.trial.run, again.trial.index, again.trial.handed) == ("s1-0", 0, 2)
    assert again.trial.parameters == {"n": 0}
    # Who had it before is told to leave it.
    assert (await bench.heartbeat(a, now=LEASE + 2, alive=["s1-0"])).stops == ("s1-0",)


async def test_a_run_that_has_begun_stays_where_it_is(bench: Bench) -> None:
    a, b = await bench.agent("a"), await bench.agent("b")
    await bench.heartbeat(a, now=0)
    await bench.begin("s1-0")
    assert run_of(await bench.heartbeat(b, now=LEASE * 9)) == "s1-1"


async def test_an_agent_that_leaves_gives_back_what_it_has_not_begun(bench: Bench) -> None:
    a, b = await bench.agent("a"), await bench.agent("b")
    await bench.heartbeat(a, now=1)
    assert (await bench.heartbeat(a, now=2, wants=False)).trial is None
    assert run_of(await bench.heartbeat(b, now=3)) == "s1-0"


async def test_the_end_of_a_search(bench: Bench) -> None:
    a, b = await bench.agent("a"), await bench.agent("b")
    await bench.heartbeat(a, end=2)
    await bench.heartbeat(b, end=2)
    await bench.begin("s1-0")
    # b may yet die before its run begins: a waits for that.
    handed = await bench.heartbeat(a, ended=["s1-0"], end=2)
    assert (handed.trial, handed.exit, await bench.state()) == (None, False, "RUNNING")
    await bench.begin("s1-1")
    await bench.heartbeat(b, alive=["s1-1"], end=2)
    assert (await bench.heartbeat(a, end=2)).exit
    assert await bench.state() == "RUNNING"
    assert (await bench.heartbeat(b, ended=["s1-1"], end=2)).exit
    assert await bench.state() == "FINISHED"


async def test_a_cap(bench: Bench) -> None:
    a = await bench.agent("a")
    await bench.heartbeat(a, cap=1)
    handed = await bench.heartbeat(a, ended=["s1-0"], cap=1)
    assert (handed.trial, handed.exit, handed.state) == (None, True, "FINISHED")


async def test_many_agents_are_served_at_once(bench: Bench) -> None:
    """In one transaction, as if they had come one after the other."""
    names = [await bench.agent(f"a{n}") for n in range(5)]

    async def together(now: int, ended: dict[str, str], *names: str) -> list[str]:
        heartbeats = [
            AgentHeartbeat(
                name, frozenset(), frozenset({ended[name]} if name in ended else ()), True, LEASE
            )
            for name in names
        ]
        found = await bench.sweeps.heartbeat(
            [(heartbeat, count_up) for heartbeat in heartbeats], lambda: now
        )
        return [run_of(each) for each in found if isinstance(each, TrialAssignment)]

    assert await together(0, {}, *names[:4]) == [f"s1-{n}" for n in range(4)]
    # Two were never heard of again; one is new.
    ended = {name: f"s1-{n}" for n, name in enumerate(names[:2])}
    found = await together(LEASE + 1, ended, names[0], names[1], names[4])
    assert found == ["s1-2", "s1-3", "s1-4"]
    unknown = AgentHeartbeat("nobody", frozenset(), frozenset(), True, LEASE)
    (refused,) = await bench.sweeps.heartbeat([(unknown, count_up)], lambda: 0)
    assert isinstance(refused, Rejected)


async def test_paused_stopped_canceled(bench: Bench) -> None:
    a, b = await bench.agent("a"), await bench.agent("b")
    number = bench.row.number
    await bench.heartbeat(a)
    await bench.sweeps.change(number, 8, state="PAUSED")
    handed = await bench.heartbeat(b)
    assert (handed.trial, handed.exit, handed.state) == (None, False, "PAUSED")
    assert (await bench.heartbeat(a, alive=["s1-0"])).stops == ()
    await bench.sweeps.change(number, 9, state="RUNNING")
    assert run_of(await bench.heartbeat(b)) == "s1-1"
    await bench.sweeps.change(number, 10, state="FINISHED")
    assert (await bench.heartbeat(a, alive=["s1-0"])).stops == ()
    assert (await bench.heartbeat(b, ended=["s1-1"])).exit
    await bench.sweeps.change(number, 11, state="CANCELED")
    assert (await bench.heartbeat(a, alive=["s1-0"])).stops == ("s1-0",)
    with pytest.raises(Rejected, match="it cannot go on"):
        await bench.sweeps.change(number, 12, state="RUNNING")
    assert await bench.state() == "CANCELED"


async def test_deleted_runs_and_projects(bench: Bench) -> None:
    a = await bench.agent("a")
    await bench.heartbeat(a)
    run = await bench.begin("s1-0")
    await bench.heartbeat(a, alive=["s1-0"])
    await bench.catalog.delete_runs([run], 9)
    # It has begun, and is not tried again.
    assert run_of(await bench.heartbeat(a)) == "s1-1"
    await bench.catalog.delete_project(bench.row.project_number, 10)
    assert await bench.sweeps.by_number(bench.row.number) is None
    with pytest.raises(Rejected):
        await bench.heartbeat(a)
    again = await bench.sweeps.create(NewSweep("ana", "mnist", "s9", "", "y", ""), 11)
    assert await bench.sweeps.of_project("ana", "mnist") == [again]


async def test_prior_runs_are_kept_in_order_and_go_with_run_and_project(bench: Bench) -> None:
    sweep, project = bench.row.number, bench.row.project_number
    other = await bench.sweeps.create(NewSweep("ana", "mnist", "s2", "", "yaml", ""), 8)
    runs = [await bench.begin(name) for name in ("a", "b", "c")]
    config = RunChange(runs[1], "w2", 1, 0, "config", {"x": 2**70, "nested": {"y": [1]}})
    await bench.catalog.apply_changes([config], 6)
    assert await bench.sweeps.prior_runs(sweep) == []
    await asyncio.gather(
        bench.sweeps.add_prior_runs(sweep, runs[:2]),
        bench.sweeps.add_prior_runs(other.number, runs),
    )
    await bench.sweeps.add_prior_runs(sweep, [runs[2], runs[0]])
    await bench.sweeps.add_prior_runs(sweep, [])
    found = await bench.sweeps.prior_runs(sweep)
    assert [each.number for each in found] == runs
    assert found[1].config == {"x": 2**70, "nested": {"y": [1]}}
    await bench.catalog.delete_runs([runs[0]], 9)
    assert [each.number for each in await bench.sweeps.prior_runs(sweep)] == runs[1:]
    await bench.catalog.delete_project(project, 10)
    assert await bench.sweeps.prior_runs(sweep) == []
    assert await bench.sweeps.prior_runs(other.number) == []


async def test_unknown_agents(bench: Bench) -> None:
    with pytest.raises(Rejected) as refused:
        await bench.heartbeat("nobody")
    assert refused.value.status == 404


async def test_what_is_learned(bench: Bench) -> None:
    a = await bench.agent("a")
    for index in range(3):
        await bench.heartbeat(a, ended=[f"s1-{index - 1}"])
        await bench.begin(f"s1-{index}", "finished")
    number = bench.row.number
    (first, *_) = found = await bench.sweeps.unsettled(number)
    assert [(trial.run, trial.run_state) for trial in found] == [
        (f"s1-{n}", "finished") for n in range(3)
    ]
    assert (first.value, first.rungs) == (None, {})
    lessons = [Lesson(0, "settled", 0.5, {"3": 0.7}, False), Lesson(1, "settled", 0.25, {}, False)]
    await bench.sweeps.learn(number, lessons, False, 9)
    count = (await bench.sweeps.count([number]))[number]
    assert (count.runs, count.open, count.best, count.best_run) == (3, 1, 0.25, "s1-1")
    assert await bench.sweeps.rungs(number) == [{"3": 0.7}]
    assert [trial.index for trial in await bench.sweeps.unsettled(number)] == [2]
    await bench.sweeps.learn(number, [Lesson(2, "running", 1.0, {}, True)], True, 9)
    assert (await bench.heartbeat(a, alive=["s1-2"])).stops == ("s1-2",)
    await bench.sweeps.learn(number, [Lesson(2, "settled", 1.0, {}, False)], True, 10)
    assert await bench.state() == "FINISHED"
    trials = await bench.sweeps.trials(number, 0, 10)
    assert [(trial.index, trial.value, trial.stop) for trial in trials] == [
        (1, 0.25, False), (2, 1.0, True),
    ]  # fmt: skip


async def test_the_best_and_the_latest_are_known(bench: Bench) -> None:
    a, number = await bench.agent("a"), bench.row.number
    for index in range(20):
        await bench.heartbeat(a, ended=[f"s1-{index - 1}"])
    values = [Lesson(n, "settled", float(abs(n - 5)), {}, False) for n in range(19)]
    await bench.sweeps.learn(number, values, False, 9)
    known = await bench.sweeps.known(number, best=3, latest=4)
    assert [trial.index for trial in known] == [4, 5, 6, 16, 17, 18, 19]


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
async def test_many_at_once_get_each_trial_once(bench: Bench, url: str) -> None:
    """Several processes' catalogs, twenty agents, some of which never say a word again."""
    trials, given, dead = 150, Counter[str](), set[str]()
    names = [await bench.agent(f"a{n}") for n in range(20)]
    async with AsyncExitStack() as stack:
        others = [Sweeps((await stack.enter_async_context(opened(url))).database) for _ in range(3)]

        async def work(at: int) -> None:
            sweeps, had, rounds = others[at % 3], frozenset[str](), 0
            while True:
                heartbeat = AgentHeartbeat(names[at], frozenset(), had, True, LEASE, trials)
                (handed,) = await sweeps.heartbeat([(heartbeat, count_up)], lambda: 0)
                assert isinstance(handed, TrialAssignment)
                if handed.trial is None:
                    return
                given[handed.trial.run] += 1
                rounds += 1
                if at < 5 and rounds == 2:
                    dead.add(handed.trial.run)
                    return  # dies, with a trial in its hands
                had = frozenset({handed.trial.run})

        await asyncio.gather(*map(work, range(20)))
        assert given == Counter({f"s1-{n}": 1 for n in range(trials)})
        # What the dead had goes to others, nothing else does.
        late = await bench.agent("late")
        left = []
        had: list[str] = []
        while trial := (await bench.heartbeat(late, now=LEASE + 1, ended=had, end=trials)).trial:
            left.append(trial.run)
            had = [trial.run]
        assert dead
        assert sorted(left) == sorted(dead)
        assert await bench.state() == "FINISHED"
