"""Sweeps in a SQL database: the `SweepCatalog` protocol over SQLAlchemy Core."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import (
    CursorResult,
    Select,
    String,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.names.handout import add_projects
from penstock_storage.catalog.names.lookups import find_projects
from penstock_storage.catalog.sweeps.sweep_tables import agents, sweeps, trials
from penstock_storage.catalog.sweeps.trial_handout import (
    OPEN,
    OVER,
    hand_out,
    read_trials,
    select_trials,
)
from penstock_storage.catalog.tables import meta, projects, runs
from penstock_storage.contracts.sweep_rows import (
    AgentHeartbeat,
    AgentRow,
    Draw,
    Lesson,
    NewSweep,
    PriorRun,
    SweepCount,
    SweepRow,
    TrialAssignment,
    TrialRow,
)

__all__ = ["Sweeps", "delete_sweeps"]

_PRIOR = "prior-runs:"
"""Few sweeps have prior runs, and they are only ever looked up by the sweep: rows of `meta`."""

_select_sweeps = select(
    sweeps.c.number,
    projects.c.entity,
    projects.c.project,
    projects.c.number.label("project_number"),
    *(sweeps.c[name] for name in ("sweep", "name", "state", "source", "goal", "drawn")),
    *(sweeps.c[name] for name in ("created_at", "updated_at", "heartbeat_at")),
).join(projects, sweeps.c.project == projects.c.number)


class Sweeps:
    """A `SweepCatalog` in the catalog's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewSweep, now: int) -> SweepRow:
        async with self._database.writing() as connection:
            place = (new.entity, new.project)
            await add_projects(self._database, connection, [place], now)
            found = await find_projects(connection, [place])
            row = {
                "project": found[place],
                "sweep": new.sweep,
                "name": new.name,
                "state": "PENDING",
                "source": new.source,
                "goal": new.goal,
                "drawn": 0,
                "created_at": now,
                "updated_at": now,
                "heartbeat_at": 0,
            }
            made = await connection.execute(insert(sweeps).values(row))
            return await _sweep(connection, _key(made))

    async def change(
        self,
        sweep: int,
        now: int,
        *,
        state: str | None = None,
        name: str | None = None,
        source: str | None = None,
        goal: str | None = None,
    ) -> SweepRow:
        given = {"state": state, "name": name, "source": source, "goal": goal}
        values = {column: value for column, value in given.items() if value is not None}
        async with self._database.writing() as connection:
            lock = select(sweeps.c.state).where(sweeps.c.number == sweep).with_for_update()
            present = await connection.scalar(lock)
            if state is not None and present in OVER and state not in OVER:
                raise Rejected(
                    f"this sweep is {present}: it cannot go on", code=ErrorCode.SWEEP_OVER
                )
            await connection.execute(
                update(sweeps).where(sweeps.c.number == sweep).values(**values, updated_at=now)
            )
            return await _sweep(connection, sweep)

    async def find(self, entity: str, project: str, sweep: str) -> SweepRow | None:
        return await self._one(
            _select_sweeps.where(
                projects.c.entity == entity, projects.c.project == project, sweeps.c.sweep == sweep
            )
        )

    async def by_number(self, sweep: int) -> SweepRow | None:
        return await self._one(_select_sweeps.where(sweeps.c.number == sweep))

    async def of_project(self, entity: str, project: str) -> list[SweepRow]:
        query = _select_sweeps.where(projects.c.entity == entity, projects.c.project == project)
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(sweeps.c.number.desc()))
            return [SweepRow(**row) for row in found.mappings()]

    async def count(self, numbers: Collection[int]) -> dict[int, SweepCount]:
        found: dict[int, SweepCount] = {}
        async with self._database.reading() as connection:
            for chunk in chunks(sorted(numbers)):
                for row in await connection.execute(_counts(chunk)):
                    found[row.sweep] = SweepCount(row.runs, row.open, row.best)
            for sweep, count in found.items():
                if count.best is not None:
                    query = (
                        select(trials.c.run)
                        .where(trials.c.sweep == sweep, trials.c.value == count.best)
                        .order_by(trials.c.index)
                        .limit(1)
                    )
                    run = await connection.scalar(query)
                    found[sweep] = SweepCount(count.runs, count.open, count.best, run)
        return found

    async def add_agent(self, sweep: int, agent: str, host: str, now: int) -> AgentRow:
        row: dict[str, Any] = {
            "agent": agent,
            "sweep": sweep,
            "host": host.replace("\0", ""),
            "created_at": now,
            "heartbeat_at": now,
        }
        async with self._database.writing() as connection:
            made = await connection.execute(insert(agents).values(row))
        return AgentRow(_key(made), agent, sweep, row["host"], now, now)

    async def agent(self, agent: str) -> AgentRow | None:
        async with self._database.reading() as connection:
            query = select(agents).where(agents.c.agent == agent)
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else AgentRow(**row)

    async def agents(self, sweep: int) -> list[AgentRow]:
        query = select(agents).where(agents.c.sweep == sweep).order_by(agents.c.number)
        async with self._database.reading() as connection:
            return [AgentRow(**row) for row in (await connection.execute(query)).mappings()]

    async def trials_of(self, agent: int, sweep: int) -> list[TrialRow]:
        query = (await self._trials(sweep)).where(trials.c.agent == agent)
        async with self._database.reading() as connection:
            return await read_trials(connection, query.order_by(trials.c.index))

    async def heartbeat(
        self, asked: Sequence[tuple[AgentHeartbeat, Draw]], clock: Callable[[], int]
    ) -> list[TrialAssignment | Rejected]:
        async with self._database.writing() as connection:
            return await hand_out(connection, asked, clock)

    async def trials(self, sweep: int, after: int, limit: int) -> list[TrialRow]:
        query = (await self._trials(sweep)).where(trials.c.index > after)
        async with self._database.reading() as connection:
            return await read_trials(connection, query.order_by(trials.c.index).limit(limit))

    async def unsettled(self, sweep: int) -> list[TrialRow]:
        query = (await self._trials(sweep)).where(trials.c.state.in_([*OPEN, "ended"]))
        async with self._database.reading() as connection:
            return await read_trials(connection, query.order_by(trials.c.index))

    async def known(self, sweep: int, best: int, latest: int) -> list[TrialRow]:
        row = await self.by_number(sweep)
        if row is None:
            return []
        query = select_trials(row.project_number).where(trials.c.sweep == sweep)
        value = trials.c.value
        order = value.desc() if row.goal == "maximize" else value.asc()
        async with self._database.reading() as connection:
            newest = query.order_by(trials.c.index.desc()).limit(latest)
            found = await read_trials(connection, newest)
            if len(found) == latest:
                query = query.where(value.is_not(None)).order_by(order).limit(best)
                found += await read_trials(connection, query)
        rows = {trial.index: trial for trial in found}
        return [rows[index] for index in sorted(rows)]

    async def add_prior_runs(self, sweep: int, numbers: Sequence[int]) -> None:
        name = f"{_PRIOR}{sweep}"
        async with self._database.writing() as connection:
            await connection.execute(
                self._database.insert_missing(meta), {"name": name, "value": "[]"}
            )
            query = select(meta.c.value).where(meta.c.name == name).with_for_update()
            kept = json.loads(await connection.scalar(query) or "[]")
            text = json.dumps(list(dict.fromkeys([*kept, *numbers])), separators=(",", ":"))
            await connection.execute(update(meta).where(meta.c.name == name).values(value=text))

    async def prior_runs(self, sweep: int) -> list[PriorRun]:
        query = select(meta.c.value).where(meta.c.name == f"{_PRIOR}{sweep}")
        found: dict[int, PriorRun] = {}
        async with self._database.reading() as connection:
            numbers = json.loads(await connection.scalar(query) or "[]")
            for chunk in chunks(numbers):
                chosen = select(runs.c.number, runs.c.config).where(runs.c.number.in_(chunk))
                for number, config in await connection.execute(chosen):
                    found[number] = PriorRun(number, config if isinstance(config, dict) else {})
        return [found[number] for number in numbers if number in found]

    async def rungs(self, sweep: int) -> list[dict[str, float]]:
        query = select(trials.c.rungs).where(trials.c.sweep == sweep, trials.c.state != "given")
        async with self._database.reading() as connection:
            return [rungs for (rungs,) in await connection.execute(query) if rungs]

    async def learn(self, sweep: int, lessons: Sequence[Lesson], done: bool, now: int) -> None:
        async with self._database.writing() as connection:
            lock = select(sweeps.c.state).where(sweeps.c.number == sweep).with_for_update()
            state = await connection.scalar(lock)
            for lesson in lessons:
                await connection.execute(_lesson(sweep, lesson, now))
            if done and state == "RUNNING":
                going_on = select(func.count()).where(
                    trials.c.sweep == sweep, trials.c.state.in_(OPEN)
                )
                if not await connection.scalar(going_on):
                    await connection.execute(
                        update(sweeps).where(sweeps.c.number == sweep).values(state="FINISHED")
                    )

    async def _trials(self, sweep: int) -> Select[Any]:
        row = await self.by_number(sweep)
        return select_trials(row.project_number if row else 0).where(trials.c.sweep == sweep)

    async def _one(self, query: Select[Any]) -> SweepRow | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else SweepRow(**row)


def _key(made: CursorResult[Any]) -> int:
    """The number of the row that was inserted."""
    assert made.inserted_primary_key is not None  # noqa: S101
    return int(made.inserted_primary_key[0])


async def delete_sweeps(connection: AsyncConnection, project: int) -> None:
    """Delete all sweeps of a project; requests of their agents are then refused."""
    mine = select(sweeps.c.number).where(sweeps.c.project == project)
    priors = select(literal(_PRIOR) + cast(sweeps.c.number, String)).where(
        sweeps.c.project == project
    )
    await connection.execute(delete(meta).where(meta.c.name.in_(priors)))
    for table in (trials, agents):
        await connection.execute(delete(table).where(table.c.sweep.in_(mine)))
    await connection.execute(delete(sweeps).where(sweeps.c.project == project))


async def _sweep(connection: AsyncConnection, number: int) -> SweepRow:
    query = _select_sweeps.where(sweeps.c.number == number)
    return SweepRow(**(await connection.execute(query)).mappings().one())


def _counts(numbers: Sequence[int]) -> Select[Any]:
    value = trials.c.value
    best = case((sweeps.c.goal == "maximize", func.max(value)), else_=func.min(value))
    return (
        select(
            trials.c.sweep,
            func.count().label("runs"),
            func.sum(case((trials.c.state.in_(OPEN), 1), else_=0)).label("open"),
            best.label("best"),
        )
        .join(sweeps, trials.c.sweep == sweeps.c.number)
        .where(trials.c.sweep.in_(numbers))
        .group_by(trials.c.sweep, sweeps.c.goal)
    )


def _lesson(sweep: int, lesson: Lesson, now: int) -> Any:
    """Nobody learns a trial back: what has ended stays so, and a stop is not taken back."""
    values: dict[str, Any] = {"value": lesson.value, "rungs": lesson.rungs}
    if lesson.stop:
        values["stop"] = True
    statement = update(trials).where(trials.c.sweep == sweep, trials.c.index == lesson.index)
    match lesson.state:
        case "ended":
            open_ = trials.c.state.in_(OPEN)
            values["ended_at"] = case((open_, now), else_=trials.c.ended_at)
            values["state"] = case((open_, "ended"), else_=trials.c.state)
        case "settled":
            values["ended_at"] = case((trials.c.ended_at == 0, now), else_=trials.c.ended_at)
            values["state"] = "settled"
        case "running":
            values["state"] = case((trials.c.state == "given", "running"), else_=trials.c.state)
        case _:
            pass
    return statement.values(**values)
