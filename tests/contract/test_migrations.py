"""Revisions of the catalog's schema: up with the data, beside code of the revision before, down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert, inspect, select, text, update
from support.catalogs import NewUrl, opened

from penstock.errors import Broken
from penstock_storage.catalog import SqlCatalog, migrations, schema
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.migrations import HEAD
from penstock_storage.catalog.tables import metadata
from penstock_storage.contracts.interface import RunChange, RunRef

ResultT = TypeVar("ResultT")
REF = RunRef("ana", "mnist", "r1")


def test_the_head_is_the_newest_revision() -> None:
    """It is written down, because asking for it takes Alembic."""
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == HEAD


@pytest.fixture
def new_url(new_empty_url: NewUrl) -> NewUrl:
    return new_empty_url


async def in_database(url: str, work: Callable[[Connection], ResultT]) -> ResultT:
    """Do this in one transaction."""
    database = Database(url)
    try:
        async with database.writing() as connection:
            return await connection.run_sync(work)
    finally:
        await database.close()


def tables_of(connection: Connection) -> dict[str, Table]:
    """The tables as they are now: what the code of that revision knew."""
    found = MetaData()
    found.reflect(connection)
    return dict(found.tables)


def fill(connection: Connection, tables: dict[str, Table], run: str, at: int) -> None:
    """A project and a run, as code of revision 0001 writes them."""
    if connection.scalar(select(tables["entities"].c.name)) is None:
        connection.execute(insert(tables["entities"]).values(name="ana", created_at=1))
        project = {"entity": "ana", "project": "mnist", "created_at": 1}
        connection.execute(insert(tables["projects"]).values(project))
    connection.execute(
        insert(tables["runs"]).values(
            project=1, run=run, name=run, state="running", group="", job_type="", tags='["t"]',
            notes="", config='{"lr":0.1}', summary="{}", info="{}", versions="{}",
            created_at=at, updated_at=at,
        )
    )  # fmt: skip


def first_revision(connection: Connection) -> dict[str, Table]:
    """Make a catalog as it was before Alembic, with one run; returns its tables."""
    schema.upgrade(connection)
    schema.downgrade(connection, "0001")
    connection.execute(text("DROP TABLE alembic_version"))
    connection.execute(text("DELETE FROM meta WHERE name = 'runs_with'"))
    tables = tables_of(connection)
    assert "tick" not in tables["runs"].c
    fill(connection, tables, "r1", 5)
    return tables


@asynccontextmanager
async def upgraded(url: str) -> AsyncIterator[SqlCatalog]:
    async with opened(url) as catalog:
        yield catalog


async def ticks(catalog: SqlCatalog, after: int) -> dict[str, int]:
    return {row.run: row.tick async for part in catalog.runs_since(1, after) for row in part}


async def test_the_revisions_make_what_the_code_expects(url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        schema.upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    assert await in_database(url, differences) == []


async def test_a_catalog_from_before_alembic_is_adopted_with_its_data(url: str) -> None:
    await in_database(url, first_revision)
    async with upgraded(url) as catalog:
        row = await catalog.run(REF)
        assert row is not None
        assert (row.number, row.config, row.tags, row.updated_at) == (1, {"lr": 0.1}, ("t",), 5)
        (project,) = await catalog.projects()
        assert (project.runs, project.created_at, project.updated_at) == (1, 1, 5)
        assert await ticks(catalog, -1) == {"r1": 1}
        # Numbers go on where they were.
        other = (await catalog.ensure_runs([RunRef("ana", "mnist", "r2")])).popitem()[1]
        assert other.number == 2
        await catalog.setup()
        assert (await catalog.ensure_runs([REF]))[REF] == row


async def test_code_of_the_revision_before_still_writes(url: str) -> None:
    before = await in_database(url, first_revision)
    async with upgraded(url) as catalog:

        def old_code(connection: Connection) -> None:
            fill(connection, before, "old", 9)
            runs = before["runs"]
            connection.execute(update(runs).where(runs.c.run == "r1").values(state="finished"))

        await in_database(url, old_code)
        # What it created has no tick, and is seen whatever tick was seen.
        assert await ticks(catalog, 1_000) == {"old": 0}
        row = await catalog.run(REF)
        assert row is not None
        assert row.state == "finished"
        await catalog.apply_changes([RunChange(1, "w1", 1, 0, "config", {"lr": 1})], 20)
        assert await ticks(catalog, 1) == {"r1": 2, "old": 0}
        await catalog.ensure_runs([RunRef("ana", "mnist", "new")])
        assert await ticks(catalog, 2) == {"old": 3, "new": 3}


async def test_the_head_can_be_taken_back_and_applied_again(url: str) -> None:
    async with upgraded(url) as catalog:
        run = (await catalog.ensure_runs([REF]))[REF]
        await catalog.apply_changes([RunChange(run.number, "w1", 1, 0, "config", {"lr": 1})], 20)
        await in_database(url, lambda connection: schema.downgrade(connection, "0001"))
        tables = await in_database(url, tables_of)
        assert "tick" not in tables["runs"].c
        await catalog.setup()
        again = await catalog.run(REF)
        assert again is not None
        assert (again.number, again.config) == (run.number, {"lr": 1})
        # A table that forgot how far it had counted would hand numbers out twice.
        await in_database(url, lambda connection: connection.execute(text("DELETE FROM runs")))
        assert (await catalog.ensure_runs([REF]))[REF].number > run.number


async def test_everything_can_be_taken_back(url: str) -> None:
    def up_and_down(connection: Connection) -> list[str]:
        schema.upgrade(connection)
        schema.downgrade(connection, "base")
        return inspect(connection).get_table_names()

    assert await in_database(url, up_and_down) == ["alembic_version"]


async def test_a_newer_revision_is_refused_unless_it_runs_with_this_code(url: str) -> None:
    async with upgraded(url) as catalog:
        newer = text("UPDATE alembic_version SET version_num = '9999'")
        await in_database(url, lambda connection: connection.execute(newer))
        with pytest.raises(Broken, match=r"revision 9999.*use the newer Penstock"):
            await catalog.setup()
        expanded = text(f"UPDATE meta SET value = '0001,{HEAD}' WHERE name = 'runs_with'")
        await in_database(url, lambda connection: connection.execute(expanded))
        await catalog.setup()
        await catalog.ensure_runs([REF])


@pytest.mark.heavy
@pytest.mark.smoke
async def test_several_upgrade_at_once(new_url: NewUrl) -> None:
    for is_new in (True, False):
        url = await new_url()
        if not is_new:
            await in_database(url, first_revision)
        catalogs = [SqlCatalog(url) for _ in range(4)]
        await asyncio.gather(*(catalog.setup() for catalog in catalogs))
        rows = await asyncio.gather(*(catalog.ensure_runs([REF]) for catalog in catalogs))
        assert len({row[REF].number for row in rows}) == 1
        for catalog in catalogs:
            await catalog.close()


async def test_runs_of_revision_0002_are_not_silent(url: str) -> None:
    def at_0002(connection: Connection) -> dict[str, Table]:
        schema.upgrade(connection)
        schema.downgrade(connection, "0002")
        tables = tables_of(connection)
        assert "silent" not in tables["runs"].c
        fill(connection, tables, "r1", 5)
        return tables

    before = await in_database(url, at_0002)
    async with upgraded(url) as catalog:
        assert set(await catalog.silent_runs(6)) == {REF}
        # Code of that revision goes on writing.
        await in_database(url, lambda connection: fill(connection, before, "old", 9))
        assert set(await catalog.mark_crashed([1, 2], 10, 11)) == {
            REF,
            RunRef("ana", "mnist", "old"),
        }
        assert await catalog.touch_runs([1], 12) == [REF]
        await in_database(url, lambda connection: schema.downgrade(connection, "0002"))
        await catalog.setup()
        row = await catalog.run(REF)
        assert row is not None
        assert row.state == "running"
