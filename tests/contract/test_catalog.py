"""What every catalog promises, tried on SQLite and PostgreSQL, also by several processes at once."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from support.catalogs import NewUrl, opened
from support.postgres import Postgres, why_no_postgres
from support.run_texts import field_of

from penstock.errors import Broken, Transient
from penstock_storage.catalog import SqlCatalog
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import ApiKey, RunChange, RunRef

REF = RunRef("ana", "mnist", "r1")


async def new_run(catalog: Catalog, run: str = "r1") -> int:
    ref = RunRef("ana", "mnist", run)
    return (await catalog.ensure_runs([ref]))[ref].number


async def test_a_new_run_is_running_and_named_after_its_id(catalog: Catalog) -> None:
    row = (await catalog.ensure_runs([REF, REF]))[REF]
    assert (row.entity, row.project, row.run, row.name) == ("ana", "mnist", "r1", "r1")
    assert (row.state, row.created_at, row.config, row.tags) == ("running", 1_000, {}, ())
    assert await catalog.run(REF) == row
    assert await catalog.run_rows([row.number]) == {row.number: row}
    assert await catalog.run(RunRef("ana", "mnist", "r2")) is None


async def test_numbers_are_handed_out_once(catalog: Catalog, url: str) -> None:
    refs = [RunRef(f"e{n % 3}", f"p{n % 7}", f"r{n}") for n in range(5_000)]
    first = await catalog.ensure_runs(refs)
    assert len({row.number for row in first.values()}) == len(refs)
    project = first[refs[0]].project_number
    keys = await catalog.ensure_keys(project, [f"k{n}" for n in range(5_000)])
    assert len(set(keys.values())) == 5_000
    async with opened(url) as other:
        assert await other.ensure_runs(refs[::-1]) == first
        assert await other.ensure_keys(project, [*keys, "new"]) | keys != keys
        assert await other.keys(project) | keys == await catalog.keys(project)


async def test_keys_belong_to_a_project(catalog: Catalog) -> None:
    refs = [RunRef("ana", project, "r") for project in ("a", "b")]
    a, b = (row.project_number for row in (await catalog.ensure_runs(refs)).values())
    in_a = await catalog.ensure_keys(a, ["loss"])
    in_b = await catalog.ensure_keys(b, ["loss"])
    assert in_a["loss"] != in_b["loss"]
    assert await catalog.key_numbers(a, ["loss", "nothing"]) == in_a
    assert await catalog.keys(b) == in_b


async def test_the_lanes_of_each_run_count_from_zero(catalog: Catalog) -> None:
    one, two = await new_run(catalog, "r1"), await new_run(catalog, "r2")
    given = await catalog.ensure_lanes([(one, "w1", 0, 5), (one, "w2", 1, 4), (two, "w1", 0, 3)])
    assert given == {(one, "w1"): 0, (one, "w2"): 1, (two, "w1"): 0}
    assert await catalog.ensure_lanes([(one, "w3", 0, 9), (one, "w1", 0, 5)]) == {
        (one, "w3"): 2,
        (one, "w1"): 0,
    }
    rows = await catalog.lanes([one, two])
    assert [(row.run, row.rank, row.started, row.lane) for row in rows] == [
        (one, 0, 5, 0),
        (one, 0, 9, 2),
        (one, 1, 4, 1),
        (two, 0, 3, 0),
    ]


async def test_changes_merge_and_the_newest_wins(catalog: Catalog) -> None:
    run = await new_run(catalog)
    newer = RunChange(run, "w2", 1, 0, "config", {"lr": 0.2, "nan": math.nan, "nul": "\0é"})
    older = RunChange(run, "w1", 9, 0, "config", {"lr": 0.1, "depth": 3})
    state = RunChange(run, "w2", 3, 0, "state", {"state": "finished", "exit_code": 0})
    await catalog.apply_changes([older], 4_000)
    await catalog.apply_changes([newer, state], 5_000)
    await catalog.apply_changes([older, newer], 6_000)  # again
    row = await catalog.run(REF)
    assert row is not None
    assert (row.config["lr"], row.config["depth"], row.config["nul"]) == (0.2, 3, "\0é")
    assert math.isnan(row.config["nan"])
    assert (row.state, row.info, row.updated_at) == ("finished", {"exit_code": 0}, 6_000)


async def test_text_loses_its_nuls_in_every_database(catalog: Catalog) -> None:
    run = await new_run(catalog)
    given = {"name": "a\0b", "notes": "\0", "group": "g\0", "tags": ["t\0"], "host": "h\0"}
    await catalog.apply_changes([RunChange(run, "w1", 1, 0, "run", given)], 2_000)
    row = await catalog.run(REF)
    assert row is not None
    assert (row.name, row.notes, row.group) == ("ab", "", "g")
    assert (row.tags, row.info["host"]) == (("t\0",), "h\0")  # JSON keeps them


async def test_changes_are_applied_all_or_none(catalog: Catalog) -> None:
    run = await new_run(catalog)
    change = RunChange(run, "w1", 1, 0, "config", {"lr": 1})
    with pytest.raises(Broken, match="no runs"):
        await catalog.apply_changes([change, RunChange(run + 1, "w1", 1, 0, "config", {})], 2_000)
    row = await catalog.run(REF)
    assert row is not None
    assert (row.config, row.updated_at) == ({}, 1_000)


async def test_touching_moves_runs_and_projects_forward_only(catalog: Catalog) -> None:
    run = await new_run(catalog)
    await new_run(catalog, "r2")
    await catalog.touch_runs([run], 9_000)
    await catalog.touch_runs([run], 8_000)
    await catalog.touch_runs([], 8_000)
    row = await catalog.run(REF)
    assert row is not None
    assert row.updated_at == 9_000
    (project,) = await catalog.projects("ana")
    assert (project.project, project.runs, project.updated_at) == ("mnist", 2, 9_000)
    assert await catalog.projects() == [project]
    assert await catalog.projects("bob") == []


async def changed(catalog: Catalog, project: int, tick: int) -> dict[str, int]:
    """The ticks of the runs that changed since, by id."""
    found: dict[str, int] = {}
    async for part in catalog.runs_since(project, tick):
        assert not found.keys() & {row.run for row in part}
        found |= {row.run: row.tick for row in part}
    return found


async def test_changes_are_numbered_and_read_once(catalog: Catalog) -> None:
    refs = [RunRef("ana", "mnist", f"r{n}") for n in range(3)]
    rows = await catalog.ensure_runs(refs)
    one, two, three = (rows[ref].number for ref in refs)
    project = rows[refs[0]].project_number
    assert await changed(catalog, project, -1) == {"r0": 1, "r1": 1, "r2": 1}
    assert await changed(catalog, project, 1) == {}
    config = RunChange(two, "w1", 1, 0, "config", {"nan": math.nan})
    await catalog.apply_changes([config], 2_000)
    assert await changed(catalog, project, 1) == {"r1": 2}
    # Data came in, or a late copy of a change: `updated_at` may differ, so it counts as a change.
    await catalog.touch_runs([one, three], 3_000)
    await catalog.touch_runs([one], 2_000)
    assert await changed(catalog, project, 2) == {"r0": 3, "r2": 3}
    await new_run(catalog, "r9")
    assert await changed(catalog, project, 3) == {"r9": 4}
    # Other projects count for themselves.
    other = (await catalog.ensure_runs([RunRef("ana", "other", "x")])).popitem()[1]
    assert await changed(catalog, other.project_number, -1) == {"x": 1}
    (row,) = [row async for part in catalog.runs_since(project, 3) for row in part]
    names = ("run", "name", "state", "tags", "config")
    assert [field_of(row, name) for name in names] == ["r9", "r9", "running", "[]", "{}"]
    assert row.run == "r9"


@pytest.mark.heavy
@pytest.mark.smoke
async def test_who_saw_a_tick_saw_every_change_before_it(catalog: Catalog, url: str) -> None:
    """Writers in several processes' places, and a reader that goes on from the highest tick."""
    refs = [RunRef("ana", "mnist", f"r{n}") for n in range(40)]
    rows = await catalog.ensure_runs(refs)
    numbers = [rows[ref].number for ref in refs]
    project = rows[refs[0]].project_number
    known: dict[int, str] = {}
    done = asyncio.Event()

    async def write(me: int) -> None:
        async with opened(url) as own:
            for n in range(25):
                some = numbers[(me * 7 + n) % 40 :: 3]
                values = {f"w{me}": n}
                await own.apply_changes(
                    [RunChange(r, f"w{me}", n, 0, "config", values) for r in some], n
                )
                await own.touch_runs(numbers[n : n + 5], 1_000_000 + me * 100 + n)
                await own.ensure_runs([RunRef("ana", "mnist", f"new{me}-{n}")])

    async def read() -> None:
        tick = -1
        while True:
            was_done = done.is_set()
            highest = tick
            async for part in catalog.runs_since(project, tick):
                known.update((row.number, field_of(row, "config")) for row in part)
                highest = max(highest, *(row.tick for row in part))
            tick = highest
            if was_done:
                return

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        await asyncio.gather(*(write(me) for me in range(3)))
        done.set()
        await reading
    every = [number for _, number in (await catalog.newest_runs(project, 1_000, 0))[0]]
    assert len(every) == 40 + 3 * 25
    expected = {row.number: row.config for row in (await catalog.run_rows(every)).values()}
    assert {number: json.loads(config) for number, config in known.items()} == expected


async def test_reading_many_runs(catalog: Catalog) -> None:
    refs = [RunRef("ana", "mnist", f"r{n:04d}") for n in range(5_003)]
    rows = await catalog.ensure_runs(refs)
    project = rows[refs[0]].project_number
    numbers = [rows[ref].number for ref in refs]
    assert await catalog.run_rows([*numbers, 99_999]) == {row.number: row for row in rows.values()}
    names = [ref.run for ref in refs]
    assert await catalog.run_numbers(project, [*names, "nobody"]) == dict(
        zip(names, numbers, strict=True)
    )
    assert await catalog.project_number("ana", "mnist") == project
    assert await catalog.project_number("ana", "nothing") is None
    assert len(await changed(catalog, project, -1)) == 5_003
    newest = [(1_000, number) for number in sorted(numbers, reverse=True)]
    assert await catalog.newest_runs(project, 10, 5_000) == (newest[5_000:], 5_003)
    assert await catalog.newest_runs(project, 7, 2, newest[9]) == (newest[12:19], 5_003)
    assert await catalog.newest_runs(project + 1, 7, 0) == ([], 0)


async def test_api_keys(catalog: Catalog) -> None:
    key = ApiKey("abc", "ana", frozenset({"read", "write"}), b"\x00\xff", revoked=True)
    await catalog.add_api_key(key, "laptop")
    assert await catalog.api_key("abc") == key
    assert await catalog.api_key("abd") is None
    with pytest.raises(Broken):
        await catalog.add_api_key(key, "again")


async def test_a_newer_schema_is_refused(catalog: Catalog, url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE meta SET value = '999'"))
    await engine.dispose()
    with pytest.raises(Broken, match="999"):
        await catalog.setup()


async def test_an_unreachable_database_is_transient(tmp_path: Path) -> None:
    urls = [f"sqlite+aiosqlite:///{tmp_path}/missing/catalog.db"]
    if why_no_postgres() is None:
        urls.append("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    for url in urls:
        with pytest.raises(Transient):
            async with opened(url):
                pass
    # The driver's thread for the failed connection ends by itself, and needs this loop to do so.
    async with asyncio.timeout(10):
        while any("_connection_worker" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0.01)


async def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    """Which is mended at the next start, and is no batch's fault."""
    (tmp_path / "catalog.db").write_bytes(b"not a database" * 1_000)
    with pytest.raises(Transient) as error:
        async with opened(f"sqlite+aiosqlite:///{tmp_path}/catalog.db"):
            pass
    assert error.value.code == "catalog_damaged"


async def test_restored_names_keep_their_numbers(catalog: Catalog, new_url: NewUrl) -> None:
    run = await new_run(catalog)
    row = await catalog.run(REF)
    assert row is not None
    await catalog.ensure_keys(row.project_number, ["loss", "a/b"])
    await catalog.ensure_lanes([(run, "w:1", -3, 7)])
    names = await catalog.all_names()
    async with opened(await new_url()) as restored:
        # Numbers above those that the lost catalog gave to anything still known.
        await restored.restore_names([*names, ("key", 700, row.project_number, "late")])
        await restored.restore_names(names)
        assert set(names) < set(await restored.all_names())
        assert await restored.ensure_keys(row.project_number, ["loss"]) == {
            "loss": (await catalog.keys(row.project_number))["loss"]
        }
        assert await restored.lanes([run]) == await catalog.lanes([run])
        assert (await restored.ensure_keys(row.project_number, ["new"]))["new"] > 700


@pytest.mark.parametrize(
    "conflict",
    [
        ("project", 1, 0, "ana/other"),
        ("project", 9, 0, "ana/mnist"),
        ("run", 1, 1, "r9"),
        ("run", 9, 1, "r1"),
        ("key", 1, 1, "acc"),
        ("lane", 0, 1, "0:0:other"),
        ("run", 9, 77, "of a lost project"),
    ],
)
async def test_conflicting_names_are_refused_and_nothing_is_restored(
    catalog: Catalog, conflict: tuple[str, int, int, str]
) -> None:
    run = await new_run(catalog)
    await catalog.ensure_keys(1, ["loss"])
    await catalog.ensure_lanes([(run, "w", 0, 0)])
    before = await catalog.all_names()
    with pytest.raises(Broken):
        await catalog.restore_names([("key", 5, 1, "fine"), conflict])
    assert await catalog.all_names() == before


WRITER = """
import asyncio, json, sys
from penstock_storage.catalog import SqlCatalog
from penstock_storage.contracts.interface import RunChange, RunRef

async def main(url, me):
    catalog = SqlCatalog(url)
    await catalog.setup()
    runs, keys, lanes = {}, {}, {}
    for n in range(30):
        refs = [RunRef("e", "p", f"r{n}-{i}") for i in range(5)]
        rows = await catalog.ensure_runs(refs)
        runs |= {ref.run: row.number for ref, row in rows.items()}
        project = rows[refs[0]].project_number
        keys |= await catalog.ensure_keys(project, [f"k{n}-{i}" for i in range(5)])
        first = rows[refs[0]].number
        given = await catalog.ensure_lanes([(first, f"w{me}", me, me), (first, "shared", 0, 0)])
        lanes |= {f"{run} {writer}": lane for (run, writer), lane in given.items()}
        await catalog.apply_changes(
            [RunChange(first, f"w{me}", n, 0, "config", {f"c{me}": n, "all": [me, n]})], n
        )
    await catalog.close()
    print(json.dumps([runs, keys, lanes]))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.heavy
@pytest.mark.smoke
async def test_several_processes_write_at_once(catalog: Catalog, url: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, url, str(me)),
            stdout=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )
        for me in range(4)
    ]
    answers = [json.loads((await process.communicate())[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    # Everyone was told the same numbers, and no two names share one.
    assert answers[1:] != []
    for runs, keys, _ in answers:
        assert (runs, keys) == (answers[0][0], answers[0][1])
        assert len(set(runs.values())) == len(runs) == 150
        assert len(set(keys.values())) == len(keys) == 150
    lanes = {name: lane for _, _, given in answers for name, lane in given.items()}
    for number in {name.split()[0] for name in lanes}:
        of_run = sorted(lane for name, lane in lanes.items() if name.split()[0] == number)
        assert of_run == [0, 1, 2, 3, 4]
    row = await catalog.run(RunRef("e", "p", "r7-0"))
    assert row is not None
    (me, n) = row.config.pop("all")  # of the one that was heard last
    assert (me in range(4), n) == (True, 7)
    assert row.config == {"c0": 7, "c1": 7, "c2": 7, "c3": 7}


async def test_a_silent_run_is_crashed_until_it_is_heard_of(catalog: Catalog) -> None:
    refs = [RunRef("ana", "p", name) for name in ("silent", "loud", "done", "leaving")]
    rows = await catalog.ensure_runs(refs)
    silent, loud, done, leaving = (rows[ref].number for ref in refs)
    await catalog.apply_changes(
        [
            RunChange(done, "w1", 1, 0, "state", {"state": "finished"}),
            RunChange(leaving, "w1", 1, 0, "state", {"state": "preempting"}),
        ],
        1_000,
    )
    now = max(row.updated_at for row in rows.values()) + 10**9
    assert await catalog.touch_runs([loud], now) == []
    assert await catalog.silent_runs(now) == {refs[0]: silent, refs[3]: leaving}
    # One that was heard of in between, or has ended, is left alone.
    asked = [silent, loud, done, leaving]
    assert set(await catalog.mark_crashed(asked, now, now + 5)) == {refs[0], refs[3]}
    assert await catalog.silent_runs(now) == {}
    row = await catalog.run(refs[0])
    assert row is not None
    assert (row.state, row.info) == ("crashed", {"silent": True})
    assert row.updated_at == rows[refs[0]].updated_at
    assert await ticks_after(catalog, row.project_number, 2) == {"silent", "leaving", "loud"}

    assert await catalog.touch_runs([silent, loud], now + 10) == [refs[0]]
    row = await catalog.run(refs[0])
    assert row is not None
    assert (row.state, row.info, row.updated_at) == ("running", {}, now + 10)
    assert await catalog.touch_runs([silent], now + 20) == []
    # What a run says itself wins, and is not taken back by a sign of life.
    await catalog.apply_changes(
        [RunChange(leaving, "w1", 2, 0, "state", {"state": "crashed"})], now + 30
    )
    assert await catalog.touch_runs([leaving], now + 40) == []
    row = await catalog.run(refs[3])
    assert row is not None
    assert (row.state, row.info) == ("crashed", {})


async def test_a_heartbeat_is_no_news_of_a_run_that_has_ended(catalog: Catalog) -> None:
    refs = [RunRef("ana", "p", name) for name in ("going", "done", "silent", "dead")]
    rows = await catalog.ensure_runs(refs)
    going, done, silent, dead = (rows[ref].number for ref in refs)
    ends = [
        RunChange(done, "w1", 1, 0, "state", {"state": "finished"}),
        RunChange(dead, "w1", 1, 0, "state", {"state": "crashed"}),
    ]
    await catalog.apply_changes(ends, 1_000)
    now = max(row.updated_at for row in rows.values()) + 10**9
    assert await catalog.mark_crashed([silent], now, now) == [refs[2]]

    assert await catalog.touch_runs([going, done, silent, dead], now, ended=False) == [refs[2]]
    after = [await catalog.run(ref) for ref in refs]
    assert [row and row.updated_at == now for row in after] == [True, False, True, False]
    assert [row and row.state for row in after] == ["running", "finished", "running", "crashed"]
    # Data are news of any run.
    assert await catalog.touch_runs([done], now) == []
    row = await catalog.run(refs[1])
    assert row is not None
    assert (row.updated_at, row.state) == (now, "finished")


async def ticks_after(catalog: Catalog, project: int, tick: int) -> set[str]:
    return {row.run async for part in catalog.runs_since(project, tick) for row in part}


async def test_numbers_of_runs_that_exist(catalog: Catalog) -> None:
    known = [RunRef("ana", "p", "a"), RunRef("ana", "q", "a"), RunRef("bo", "p", "a")]
    rows = await catalog.ensure_runs(known)
    asked = [*known, RunRef("ana", "p", "b"), RunRef("cy", "p", "a")]
    assert await catalog.numbers_of(asked) == {ref: rows[ref].number for ref in known}


async def test_the_clock_only_goes_forward(catalog: Catalog) -> None:
    assert await catalog.clock() == 0
    for at in (5, 10**16, 7):
        await catalog.set_clock(at)
    assert await catalog.clock() == 10**16


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_database_that_cannot_keep_every_name_is_refused(postgres: Postgres) -> None:
    url = await postgres.new_database(encoding="LATIN1")
    with pytest.raises(Broken, match="UTF8, not in LATIN1"):
        async with opened(url):
            pass


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_standby_is_no_refusal(postgres: Postgres) -> None:
    """It takes over later: what it does not take now is not the fault of the data."""
    url = await postgres.new_database()
    async with opened(url) as catalog:
        await new_run(catalog)
    await postgres.set_read_only(url, True)
    catalog = SqlCatalog(url)
    with pytest.raises(Transient, match="read-only transaction"):
        await new_run(catalog, "r2")
    await catalog.close()
    await postgres.set_read_only(url, False)
    async with opened(url) as catalog:
        await new_run(catalog, "r2")
