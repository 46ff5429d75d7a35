"""Handing out trials, inside the caller's write transaction, under a lock on their sweeps.

A trial is given to one agent, with a lease that the agent's heartbeats renew. Once its run is in the
catalog it has started and stays with the agent, whatever happens to that agent. A trial whose lease
expires before its run starts goes to the next agent that asks, with the same run id. An agent that
repeats a request because it got no answer gets the same trial again.

The heartbeats of many agents are read, decided and written in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, bindparam, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.sweeps.sweep_tables import agents, sweeps, trials
from penstock_storage.catalog.tables import runs
from penstock_storage.contracts.sweep_rows import AgentHeartbeat, Draw, TrialAssignment, TrialRow

__all__ = ["OPEN", "OVER", "hand_out", "read_trials", "select_trials"]

OPEN = ("given", "running")
OVER = ("FINISHED", "CANCELED")
MAX_HANDOUTS = 5
"""A trial handed out this many times whose run never started is abandoned."""

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
    connection: AsyncConnection,
    asked: Sequence[tuple[AgentHeartbeat, Draw]],
    clock: Callable[[], int],
) -> list[TrialAssignment | Rejected]:
    """As `SweepCatalog.heartbeat`."""
    known = await _lock(connection, sorted({heartbeat.agent for heartbeat, _ in asked}))
    now = clock()  # only now, so that waiting for the lock shortens no lease
    assigners: dict[int, TrialAssigner] = {}
    for row in known.values():
        if row["number"] not in assigners:
            assigners[row["number"]] = TrialAssigner(connection, row, now)
    for number, assigner in assigners.items():
        present = [row["agent"] for row in known.values() if row["number"] == number]
        heartbeats = [
            (heartbeat, draw, known[heartbeat.agent]["agent"])
            for heartbeat, draw in asked
            if heartbeat.agent in known and known[heartbeat.agent]["number"] == number
        ]
        await assigner.assign(heartbeats, present)
    return [
        assigners[known[heartbeat.agent]["number"]].answers[id(heartbeat)]
        if heartbeat.agent in known
        else Rejected("there is no such agent here", code=ErrorCode.NOT_FOUND)
        for heartbeat, _ in asked
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


class TrialAssigner:
    """Assigns one sweep's trials to its agents; the caller's transaction has locked the sweep."""

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
        self.answers: dict[int, TrialAssignment] = {}

    async def assign(
        self, heartbeats: Sequence[tuple[AgentHeartbeat, Draw, int]], present: Sequence[int]
    ) -> None:
        """Answer each of these; `present` are their agents' numbers."""
        await self._read(self._select.where(trials.c.agent.in_(present), trials.c.state.in_(OPEN)))
        owners = await self._owners(heartbeats)
        idle: list[tuple[AgentHeartbeat, Draw, int, TrialRow | None, list[str]]] = []
        for heartbeat, draw, agent in heartbeats:
            undelivered, stops = self._record(heartbeat, agent, owners)
            if heartbeat.wants and not heartbeat.alive:
                idle.append((heartbeat, draw, agent, undelivered, stops))
            else:
                self.answers[id(heartbeat)] = TrialAssignment(self._state, None, tuple(stops))
        if idle:
            await self._assign_idle(idle)
        await self._write(present)

    async def _assign_idle(
        self, idle: Sequence[tuple[AgentHeartbeat, Draw, int, TrialRow | None, list[str]]]
    ) -> None:
        if self._state == "PENDING":
            self._state = "RUNNING"
        abandoned = await self._abandoned(len(idle)) if self._state == "RUNNING" else []
        given: dict[int, TrialRow | None] = {}
        for heartbeat, draw, agent, undelivered, _ in idle:
            trial = None
            if self._state == "RUNNING":
                if undelivered is not None and self._trials[undelivered.index].agent == agent:
                    trial = self._assign(self._trials[undelivered.index], agent, heartbeat)
                elif abandoned:
                    trial = self._assign(abandoned.pop(0), agent, heartbeat)
                else:
                    trial = self._draw(draw, agent, heartbeat)
            given[id(heartbeat)] = trial
        may_leave = self._state in OVER
        if self._state == "RUNNING" and None in given.values():
            may_leave = await self._is_idle()
        for heartbeat, _, _, _, stops in idle:
            trial = given[id(heartbeat)]
            leaves = may_leave and trial is None
            self.answers[id(heartbeat)] = TrialAssignment(self._state, trial, tuple(stops), leaves)

    def _record(
        self, heartbeat: AgentHeartbeat, agent: int, owners: Mapping[str, tuple[int, bool]]
    ) -> tuple[TrialRow | None, list[str]]:
        """Record an agent's heartbeat; returns the trial that never reached it, and the runs that it
        must stop."""
        undelivered: TrialRow | None = None
        stops: list[str] = []
        mine = [
            trial for trial in self._trials.values() if trial.agent == agent and trial.state in OPEN
        ]
        for trial in mine:
            # State running without a run: the run was deleted.
            has_begun = trial.run_number is not None or trial.state == "running"
            if trial.run in heartbeat.alive and trial.run not in heartbeat.ended:
                state = "running" if has_begun else "given"
                self._change(trial, state=state, lease_until=self._now + heartbeat.lease_us)
                if trial.stop or self._state == "CANCELED":
                    stops.append(trial.run)
            elif has_begun or trial.run in heartbeat.ended or trial.handed >= MAX_HANDOUTS:
                self._change(trial, state="ended", ended_at=self._now)
            elif heartbeat.wants and undelivered is None:
                undelivered = trial
            else:
                self._change(trial, lease_until=0)
        for run in heartbeat.alive - {trial.run for trial in mine}:
            owner, stop = owners.get(run, (agent, False))
            if stop or owner != agent or self._state == "CANCELED":
                stops.append(run)
        return undelivered, stops

    async def _owners(
        self, heartbeats: Sequence[tuple[AgentHeartbeat, Draw, int]]
    ) -> dict[str, tuple[int, bool]]:
        """The owner and the stop flag of each run that agents report alive, also of runs that are
        not among their open trials."""
        known = {trial.run for trial in self._trials.values()}
        alive = sorted({run for heartbeat, _, _ in heartbeats for run in heartbeat.alive} - known)
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

    async def _abandoned(self, wanted: int) -> list[TrialRow]:
        """Trials whose lease expired before their runs started."""
        query = self._select.where(trials.c.state == "given", trials.c.lease_until < self._now)
        await self._read(query.order_by(trials.c.lease_until).limit(wanted + _SOME))
        found: list[TrialRow] = []
        for trial in list(self._trials.values()):
            if trial.state != "given" or trial.lease_until >= self._now:
                continue
            if trial.run_number is not None:
                self._change(trial, state="running")
            elif trial.handed >= MAX_HANDOUTS:
                self._change(trial, state="ended", ended_at=self._now)
            else:
                found.append(trial)
        return sorted(found, key=lambda trial: trial.lease_until)

    def _assign(self, trial: TrialRow, agent: int, heartbeat: AgentHeartbeat) -> TrialRow:
        lease = self._now + heartbeat.lease_us
        return self._change(trial, agent=agent, handed=trial.handed + 1, lease_until=lease)

    def _draw(self, draw: Draw, agent: int, heartbeat: AgentHeartbeat) -> TrialRow | None:
        drawn = (
            None
            if heartbeat.cap is not None and self._drawn >= heartbeat.cap
            else draw(self._drawn)
        )
        if drawn is None:
            return None
        trial = TrialRow(
            sweep=self._sweep,
            index=self._drawn,
            run=f"{self._name}-{self._drawn}",
            state="given",
            agent=agent,
            handed=1,
            lease_until=self._now + heartbeat.lease_us,
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
        """Whether an agent may exit once nothing is left to draw: not while a trial may still come
        back. If no trial is open, the sweep is FINISHED."""
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
        """Decisions already made here win over rows read."""
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

    async def _write(self, present: Sequence[int]) -> None:
        await self._flush()
        await self._connection.execute(
            update(agents).where(agents.c.number.in_(present)).values(heartbeat_at=self._now)
        )
        await self._connection.execute(
            update(sweeps)
            .where(sweeps.c.number == self._sweep)
            .values(state=self._state, drawn=self._drawn, heartbeat_at=self._now)
        )
