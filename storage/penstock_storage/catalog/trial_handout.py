"""Handing out a sweep's trials, inside the caller's write transaction, under a lock on the sweep.

A trial is given to one agent, with a lease that the agent's heartbeats renew. Once its run is in the
catalog it has begun, and stays where it is whatever becomes of the agent. One that has not begun
when its lease has run out is given to the next agent that asks, with the same run id. An agent that
asks again for want of an answer gets the same trial again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import Rejected
from penstock_storage.catalog.sweep_tables import agents, sweeps, trials
from penstock_storage.catalog.tables import runs
from penstock_storage.sweep_rows import Beat, Draw, Handed, TrialRow

__all__ = ["OPEN", "OVER", "hand_out", "read_trials", "select_trials", "trial_row"]

OPEN = ("given", "running")
OVER = ("FINISHED", "CANCELED")
MOST_HANDED = 5
"""A trial that was handed out so often, and whose run never began, is given up."""

_SOME = 20


def select_trials(project: int) -> Select[Any]:
    """Rows for `trial_row`: trials with the runs of this project that try them."""
    return select(
        trials, runs.c.number.label("run_number"), runs.c.state.label("run_state")
    ).outerjoin(runs, (runs.c.project == project) & (runs.c.run == trials.c.run))


def trial_row(row: RowMapping) -> TrialRow:
    return TrialRow(**row)


async def read_trials(connection: AsyncConnection, query: Select[Any]) -> list[TrialRow]:
    return [trial_row(row) for row in (await connection.execute(query)).mappings()]


async def hand_out(connection: AsyncConnection, beat: Beat, draw: Draw, cap: int | None) -> Handed:
    """As `SweepCatalog.beat`."""
    return await (await _Desk.open(connection, beat)).serve(draw, cap)


class _Desk:
    """One agent in front of one sweep, which nobody else touches meanwhile."""

    def __init__(
        self, connection: AsyncConnection, beat: Beat, agent: int, sweep: RowMapping
    ) -> None:
        self._connection = connection
        self._beat = beat
        self._agent = agent
        self._sweep: int = sweep["number"]
        self._name: str = sweep["sweep"]
        self._state: str = sweep["state"]
        self._drawn: int = sweep["drawn"]
        self._select = select_trials(sweep["project"])

    @classmethod
    async def open(cls, connection: AsyncConnection, beat: Beat) -> _Desk:
        columns = ("number", "project", "sweep", "state", "drawn")
        query = (
            select(agents.c.number.label("agent"), *(sweeps.c[name] for name in columns))
            .join(sweeps, agents.c.sweep == sweeps.c.number)
            .where(agents.c.agent == beat.agent)
            .with_for_update(of=sweeps)
        )
        found = (await connection.execute(query)).mappings().first()
        if found is None:
            raise Rejected("there is no such agent here", code="not_found", status=404)
        return cls(connection, beat, found["agent"], found)

    async def serve(self, draw: Draw, cap: int | None) -> Handed:
        beat = self._beat
        await self._connection.execute(
            update(agents).where(agents.c.number == self._agent).values(heartbeat_at=beat.now)
        )
        again, stops = await self._hear()
        if beat.wants and not beat.alive and self._state == "PENDING":
            self._state = "RUNNING"
        trial, leaves = None, False
        if beat.wants and not beat.alive:
            if self._state in OVER:
                leaves = True
            elif self._state == "RUNNING":
                trial = await self._give(again or await self._left_behind())
                if trial is None:
                    trial = await self._draw(draw, cap)
                if trial is None:
                    leaves = await self._is_idle()
        await self._connection.execute(
            update(sweeps)
            .where(sweeps.c.number == self._sweep)
            .values(state=self._state, drawn=self._drawn, heartbeat_at=beat.now)
        )
        return Handed(self._state, trial, tuple(stops), leaves)

    async def _hear(self) -> tuple[TrialRow | None, list[str]]:
        """Write down what the agent says of its trials; returns the one that it never heard of, and
        the runs that it must stop."""
        beat = self._beat
        mine = await read_trials(
            self._connection,
            self._select.where(trials.c.agent == self._agent, trials.c.state.in_(OPEN)),
        )
        unheard: TrialRow | None = None
        stops: list[str] = []
        for trial in mine:
            has_begun = trial.run_number is not None
            if trial.run in beat.alive and trial.run not in beat.ended:
                state = "running" if has_begun else "given"
                await self._write(trial, state=state, lease_until=beat.now + beat.lease_us)
                if trial.stop or self._state == "CANCELED":
                    stops.append(trial.run)
            elif has_begun or trial.run in beat.ended or trial.handed >= MOST_HANDED:
                await self._write(trial, state="ended", ended_at=beat.now)
            elif beat.wants and unheard is None:
                unheard = trial
            else:
                await self._write(trial, lease_until=0)
        stops += await self._not_mine(beat.alive - {trial.run for trial in mine})
        return unheard, stops

    async def _not_mine(self, alive: frozenset[str]) -> list[str]:
        """Those of these runs that are another agent's by now, or are to stop."""
        if not alive:
            return []
        query = select(trials.c.run, trials.c.agent, trials.c.stop).where(
            trials.c.sweep == self._sweep, trials.c.run.in_(sorted(alive))
        )
        return [
            row.run
            for row in await self._connection.execute(query)
            if row.stop or row.agent != self._agent or self._state == "CANCELED"
        ]

    async def _left_behind(self) -> TrialRow | None:
        """A trial whose lease has run out before its run began."""
        overdue = self._select.where(
            trials.c.sweep == self._sweep,
            trials.c.state == "given",
            trials.c.lease_until < self._beat.now,
        ).order_by(trials.c.lease_until)
        while some := await read_trials(self._connection, overdue.limit(_SOME)):
            for trial in some:
                if trial.run_number is not None:
                    await self._write(trial, state="running")
                elif trial.handed >= MOST_HANDED:
                    await self._write(trial, state="ended", ended_at=self._beat.now)
                else:
                    return trial
        return None

    async def _give(self, trial: TrialRow | None) -> TrialRow | None:
        if trial is None:
            return None
        lease = self._beat.now + self._beat.lease_us
        handed = trial.handed + 1
        await self._write(trial, agent=self._agent, handed=handed, lease_until=lease)
        return replace(trial, agent=self._agent, handed=handed, lease_until=lease)

    async def _draw(self, draw: Draw, cap: int | None) -> TrialRow | None:
        drawn = None if cap is not None and self._drawn >= cap else draw(self._drawn)
        if drawn is None:
            return None
        trial = TrialRow(
            sweep=self._sweep,
            index=self._drawn,
            run=f"{self._name}-{self._drawn}",
            state="given",
            agent=self._agent,
            handed=1,
            lease_until=self._beat.now + self._beat.lease_us,
            stop=False,
            parameters=drawn.parameters,
            point=drawn.point,
            value=None,
            rungs={},
            ended_at=0,
        )
        row = {column.name: getattr(trial, column.name) for column in trials.c}
        await self._connection.execute(insert(trials).values(row))
        self._drawn += 1
        return trial

    async def _is_idle(self) -> bool:
        """Whether an agent may leave now that there is nothing more to draw: not while a trial may
        still come back. Where nothing goes on, the sweep is FINISHED."""
        query = (
            select(trials.c.state, func.count())
            .where(trials.c.sweep == self._sweep, trials.c.state.in_(OPEN))
            .group_by(trials.c.state)
        )
        open_ = {row[0]: row[1] for row in await self._connection.execute(query)}
        if not open_:
            self._state = "FINISHED"
        return "given" not in open_

    async def _write(self, trial: TrialRow, **values: Any) -> None:
        await self._connection.execute(
            update(trials)
            .where(trials.c.sweep == self._sweep, trials.c.index == trial.index)
            .values(**values)
        )
