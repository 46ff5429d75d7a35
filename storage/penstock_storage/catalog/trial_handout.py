"""Handing out trials, inside the caller's write transaction, under a lock on their sweeps.

A trial is given to one agent, with a lease that the agent's heartbeats renew. Once its run is in the
catalog it has begun, and stays where it is whatever becomes of the agent. One that has not begun
when its lease has run out is given to the next agent that asks, with the same run id. An agent that
asks again for want of an answer gets the same trial again.

Many agents are served at once: what they have is read, decided upon and written together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, bindparam, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import Rejected
from penstock_storage.catalog.lookups import chunks
from penstock_storage.catalog.sweep_tables import agents, sweeps, trials
from penstock_storage.catalog.tables import runs
from penstock_storage.sweep_rows import Beat, Draw, Handed, TrialRow

__all__ = ["OPEN", "OVER", "hand_out", "read_trials", "select_trials"]

OPEN = ("given", "running")
OVER = ("FINISHED", "CANCELED")
MAX_HANDED = 5
"""A trial that was handed out so often, and whose run never began, is given up."""

_SOME = 50
_CHANGING = ("state", "agent", "handed", "lease_until", "ended_at")
_write_trial = (
    update(trials)
    .where(trials.c.sweep == bindparam("of_sweep"), trials.c.index == bindparam("at_index"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGING})
)


def select_trials(project: int) -> Select[Any]:
    """Trials as `TrialRow` has them, with the runs of this project that try them."""
    return select(
        trials, runs.c.number.label("run_number"), runs.c.state.label("run_state")
    ).outerjoin(runs, (runs.c.project == project) & (runs.c.run == trials.c.run))


async def read_trials(connection: AsyncConnection, query: Select[Any]) -> list[TrialRow]:
    return [TrialRow(**row) for row in (await connection.execute(query)).mappings()]


async def hand_out(
    connection: AsyncConnection, asked: Sequence[tuple[Beat, Draw]], clock: Callable[[], int]
) -> list[Handed | Rejected]:
    """As `SweepCatalog.beat`."""
    known = await _lock(connection, sorted({beat.agent for beat, _ in asked}))
    now = clock()  # only now: whoever waited for the lock has not lost any of its lease
    desks: dict[int, _Desk] = {}
    for row in known.values():
        if row["number"] not in desks:
            desks[row["number"]] = _Desk(connection, row, now)
    for number, desk in desks.items():
        here = [row["agent"] for row in known.values() if row["number"] == number]
        beats = [
            (beat, draw, known[beat.agent]["agent"])
            for beat, draw in asked
            if beat.agent in known and known[beat.agent]["number"] == number
        ]
        await desk.serve(beats, here)
    return [
        desks[known[beat.agent]["number"]].answers[id(beat)]
        if beat.agent in known
        else Rejected("there is no such agent here", code="not_found", status=404)
        for beat, _ in asked
    ]


async def _lock(connection: AsyncConnection, names: Sequence[str]) -> dict[str, RowMapping]:
    """The sweeps of these agents, by agent; nobody else touches them until the transaction ends."""
    columns = ("number", "project", "sweep", "state", "drawn")
    wanted = select(agents.c.sweep).where(agents.c.agent.in_(names))
    lock = select(sweeps.c.number).where(sweeps.c.number.in_(wanted)).order_by(sweeps.c.number)
    await connection.execute(lock.with_for_update())
    query = (
        select(
            agents.c.agent.label("name"),
            agents.c.number.label("agent"),
            *(sweeps.c[name] for name in columns),
        )
        .join(sweeps, agents.c.sweep == sweeps.c.number)
        .where(agents.c.agent.in_(names))
    )
    return {row["name"]: row for row in (await connection.execute(query)).mappings()}


class _Desk:
    """The agents in front of one sweep, which nobody else touches meanwhile."""

    def __init__(self, connection: AsyncConnection, sweep: RowMapping, now: int) -> None:
        self._connection = connection
        self._sweep: int = sweep["number"]
        self._name: str = sweep["sweep"]
        self._state: str = sweep["state"]
        self._drawn: int = sweep["drawn"]
        self._now = now
        self._select = select_trials(sweep["project"]).where(trials.c.sweep == self._sweep)
        self._trials: dict[int, TrialRow] = {}
        self._changed: set[int] = set()
        self._new: set[int] = set()
        self.answers: dict[int, Handed] = {}

    async def serve(self, beats: Sequence[tuple[Beat, Draw, int]], here: Sequence[int]) -> None:
        """Answer each of these; `here` are their agents' numbers."""
        await self._read(self._select.where(trials.c.agent.in_(here), trials.c.state.in_(OPEN)))
        others = await self._others(beats)
        idle: list[tuple[Beat, Draw, int, TrialRow | None, list[str]]] = []
        for beat, draw, agent in beats:
            unheard, stops = self._hear(beat, agent, others)
            if beat.wants and not beat.alive:
                idle.append((beat, draw, agent, unheard, stops))
            else:
                self.answers[id(beat)] = Handed(self._state, None, tuple(stops))
        if idle:
            await self._serve_idle(idle)
        await self._write(here)

    async def _serve_idle(
        self, idle: Sequence[tuple[Beat, Draw, int, TrialRow | None, list[str]]]
    ) -> None:
        if self._state == "PENDING":
            self._state = "RUNNING"
        left_behind = await self._left_behind(len(idle)) if self._state == "RUNNING" else []
        given: dict[int, TrialRow | None] = {}
        for beat, draw, agent, unheard, _ in idle:
            trial = None
            if self._state == "RUNNING":
                if unheard is not None and self._trials[unheard.index].agent == agent:
                    trial = self._give(self._trials[unheard.index], agent, beat)
                elif left_behind:
                    trial = self._give(left_behind.pop(0), agent, beat)
                else:
                    trial = self._draw(draw, agent, beat)
            given[id(beat)] = trial
        may_leave = self._state in OVER
        if self._state == "RUNNING" and None in given.values():
            may_leave = await self._is_idle()
        for beat, _, _, _, stops in idle:
            trial = given[id(beat)]
            leaves = may_leave and trial is None
            self.answers[id(beat)] = Handed(self._state, trial, tuple(stops), leaves)

    def _hear(
        self, beat: Beat, agent: int, others: Mapping[str, tuple[int, bool]]
    ) -> tuple[TrialRow | None, list[str]]:
        """Take in what an agent says of its trials; returns the one that it never heard of, and the
        runs that it must stop."""
        unheard: TrialRow | None = None
        stops: list[str] = []
        mine = [
            trial for trial in self._trials.values() if trial.agent == agent and trial.state in OPEN
        ]
        for trial in mine:
            # One that runs by its state, and has no run, had it deleted.
            has_begun = trial.run_number is not None or trial.state == "running"
            if trial.run in beat.alive and trial.run not in beat.ended:
                state = "running" if has_begun else "given"
                self._change(trial, state=state, lease_until=self._now + beat.lease_us)
                if trial.stop or self._state == "CANCELED":
                    stops.append(trial.run)
            elif has_begun or trial.run in beat.ended or trial.handed >= MAX_HANDED:
                self._change(trial, state="ended", ended_at=self._now)
            elif beat.wants and unheard is None:
                unheard = trial
            else:
                self._change(trial, lease_until=0)
        for run in beat.alive - {trial.run for trial in mine}:
            owner, stop = others.get(run, (agent, False))
            if stop or owner != agent or self._state == "CANCELED":
                stops.append(run)
        return unheard, stops

    async def _others(self, beats: Sequence[tuple[Beat, Draw, int]]) -> dict[str, tuple[int, bool]]:
        """Of the runs that are alive with agents whose open trials they are not: whose they are, and
        whether they are to stop."""
        known = {trial.run for trial in self._trials.values()}
        alive = sorted({run for beat, _, _ in beats for run in beat.alive} - known)
        found: dict[str, tuple[int, bool]] = {
            trial.run: (trial.agent, trial.stop) for trial in self._trials.values()
        }
        for chunk in chunks(alive):
            query = select(trials.c.run, trials.c.agent, trials.c.stop).where(
                trials.c.sweep == self._sweep, trials.c.run.in_(chunk)
            )
            for row in await self._connection.execute(query):
                found[row.run] = (row.agent, row.stop)
        return found

    async def _left_behind(self, wanted: int) -> list[TrialRow]:
        """Trials whose lease has run out before their runs began."""
        query = self._select.where(trials.c.state == "given", trials.c.lease_until < self._now)
        await self._read(query.order_by(trials.c.lease_until).limit(wanted + _SOME))
        found: list[TrialRow] = []
        for trial in list(self._trials.values()):
            if trial.state != "given" or trial.lease_until >= self._now:
                continue
            if trial.run_number is not None:
                self._change(trial, state="running")
            elif trial.handed >= MAX_HANDED:
                self._change(trial, state="ended", ended_at=self._now)
            else:
                found.append(trial)
        return sorted(found, key=lambda trial: trial.lease_until)

    def _give(self, trial: TrialRow, agent: int, beat: Beat) -> TrialRow:
        lease = self._now + beat.lease_us
        return self._change(trial, agent=agent, handed=trial.handed + 1, lease_until=lease)

    def _draw(self, draw: Draw, agent: int, beat: Beat) -> TrialRow | None:
        drawn = None if beat.cap is not None and self._drawn >= beat.cap else draw(self._drawn)
        if drawn is None:
            return None
        trial = TrialRow(
            sweep=self._sweep,
            index=self._drawn,
            run=f"{self._name}-{self._drawn}",
            state="given",
            agent=agent,
            handed=1,
            lease_until=self._now + beat.lease_us,
            stop=False,
            parameters=drawn.parameters,
            point=drawn.point,
            value=None,
            rungs={},
            ended_at=0,
        )
        self._trials[trial.index] = trial
        self._new.add(trial.index)
        self._drawn += 1
        return trial

    async def _is_idle(self) -> bool:
        """Whether an agent may leave now that there is nothing more to draw: not while a trial may
        still come back. Where nothing goes on, the sweep is FINISHED."""
        await self._flush()
        query = (
            select(trials.c.state, func.count())
            .where(trials.c.sweep == self._sweep, trials.c.state.in_(OPEN))
            .group_by(trials.c.state)
        )
        open_ = {row[0]: row[1] for row in await self._connection.execute(query)}
        if not open_:
            self._state = "FINISHED"
        return "given" not in open_

    async def _read(self, query: Select[Any]) -> None:
        """What was decided here already wins over what is read."""
        for trial in await read_trials(self._connection, query):
            self._trials.setdefault(trial.index, trial)

    def _change(self, trial: TrialRow, **values: Any) -> TrialRow:
        changed = self._trials[trial.index] = replace(trial, **values)
        self._changed.add(trial.index)
        return changed

    async def _flush(self) -> None:
        if self._new:
            names = [column.name for column in trials.c]
            rows = [
                {name: getattr(self._trials[index], name) for name in names} for index in self._new
            ]
            await self._connection.execute(insert(trials), rows)
        changed = [self._trials[index] for index in sorted(self._changed - self._new)]
        if changed:
            rows = [
                {
                    "of_sweep": self._sweep,
                    "at_index": trial.index,
                    **{f"new_{name}": getattr(trial, name) for name in _CHANGING},
                }
                for trial in changed
            ]
            await self._connection.execute(_write_trial, rows)
        self._new.clear()
        self._changed.clear()

    async def _write(self, here: Sequence[int]) -> None:
        await self._flush()
        await self._connection.execute(
            update(agents).where(agents.c.number.in_(here)).values(heartbeat_at=self._now)
        )
        await self._connection.execute(
            update(sweeps)
            .where(sweeps.c.number == self._sweep)
            .values(state=self._state, drawn=self._drawn, heartbeat_at=self._now)
        )
