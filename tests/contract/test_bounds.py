"""What a catalog hands out when there is no more room: nothing for what is beyond, all for the rest.

Tried on SQLite and PostgreSQL, also by two processes at once."""

from __future__ import annotations

import asyncio

import pytest
from support.catalogs import opened

from penstock_common.process.bounds import MAX_LANES, Owner
from penstock_storage.catalog import SqlCatalog
from penstock_storage.contracts.interface import RunRef


def refs(project: str, *numbers: int, entity: str = "ana") -> list[RunRef]:
    return [RunRef(entity, project, f"r{number:03}") for number in numbers]


async def new_run(catalog: SqlCatalog, project: str = "p", entity: str = "ana") -> int:
    (ref,) = refs(project, 0, entity=entity)
    return (await catalog.ensure_runs([ref]))[ref].number


async def test_a_full_project_leaves_the_others_alone(url: str) -> None:
    async with opened(url, runs_per_project=3) as catalog:
        full, other = refs("full", *range(5)), refs("other", *range(3))
        made = await catalog.ensure_runs([*full, *other])
        assert set(made) == {*full[:3], *other}
        # What exists goes on, and is all that is answered.
        assert set(await catalog.ensure_runs(full)) == set(full[:3])
        owner = Owner("runs", "ana/full")
        assert await catalog.at_bound({owner, Owner("runs", "ana")}) == {owner}
        await catalog.delete_runs([made[full[0]].number], 5_000)
        assert await catalog.at_bound({owner}) == set()
        assert set(await catalog.ensure_runs(full[3:])) == {full[3]}


async def test_a_full_entity_makes_no_projects_either(url: str) -> None:
    async with opened(url, runs_per_entity=2) as catalog:
        made = await catalog.ensure_runs([*refs("a", 1), *refs("b", 1), *refs("c", 1)])
        assert set(made) == {*refs("a", 1), *refs("b", 1)}
        assert [each.project for each in await catalog.projects("ana")] == ["b", "a"]
        assert await catalog.ensure_runs(refs("a", 1, entity="bob"))
        assert await catalog.at_bound({Owner("runs", "ana"), Owner("runs", "bob")}) == {
            Owner("runs", "ana")
        }


async def test_keys_beyond_a_projects_bound_have_no_number(url: str) -> None:
    async with opened(url, keys_per_project=3) as catalog:
        first = await catalog.ensure_runs([*refs("p", 1), *refs("q", 1)])
        p, q = (row.project_number for row in first.values())
        assert set(await catalog.ensure_keys(p, ["a", "b"])) == {"a", "b"}
        assert set(await catalog.ensure_keys(p, ["a", "b", "c", "d", "e"])) == {"a", "b", "c"}
        assert set(await catalog.ensure_keys(p, ["e", "a"])) == {"a"}
        assert set(await catalog.ensure_keys(q, ["e"])) == {"e"}
        assert await catalog.at_bound({Owner("keys", "ana/p"), Owner("keys", "ana/q")}) == {
            Owner("keys", "ana/p")
        }
        # A run that is moved takes all its keys along.
        assert set(await catalog.ensure_keys(p, ["e"], bounded=False)) == {"e"}


async def test_a_full_run_leaves_the_others_alone(url: str) -> None:
    async with opened(url, writers_per_run=2) as catalog:
        one, two = await new_run(catalog, "p"), await new_run(catalog, "q")
        asked = [(one, f"w{n}", 0, 5) for n in range(4)] + [(two, "w", 0, 5)]
        given = await catalog.ensure_lanes(asked)
        assert given == {(one, "w0"): 0, (one, "w1"): 1, (two, "w"): 0}
        assert await catalog.ensure_lanes(asked) == given
        (known,) = (await catalog.known_writers({(one, "w0"), (one, "w3")})).values()
        assert (known.run, known.writer, known.lane) == (one, "w0", 0)
        full = Owner("writers", "ana/p/r000")
        assert await catalog.at_bound({full, Owner("writers", "ana/q/r000")}) == {full}


async def test_writers_are_bounded_over_all_runs_of_an_entity(url: str) -> None:
    async with opened(url, writers_per_entity=3) as catalog:
        one, two = await new_run(catalog, "p"), await new_run(catalog, "q")
        bobs = await new_run(catalog, entity="bob")
        asked = [(run, f"w{n}", 0, 5) for n in (0, 1) for run in (one, two, bobs)]
        assert set(await catalog.ensure_lanes(asked)) == {
            (one, "w0"), (two, "w0"), (bobs, "w0"), (one, "w1"), (bobs, "w1"),
        }  # fmt: skip
        assert await catalog.at_bound({Owner("writers", "ana")}) == {Owner("writers", "ana")}


@pytest.mark.heavy
@pytest.mark.smoke
async def test_lanes_end_where_their_type_does_whatever_the_setting(url: str) -> None:
    async with opened(url, writers_per_run=10**9) as catalog:
        run = await new_run(catalog)
        asked = [(run, f"w{n}", 0, n) for n in range(MAX_LANES + 5)]
        given = await catalog.ensure_lanes(asked)
        assert sorted(given.values()) == list(range(MAX_LANES))
        assert await catalog.ensure_lanes([(run, "w7", 0, 0), (run, "new", 0, 0)]) == {
            (run, "w7"): 7
        }


@pytest.mark.parametrize("most", [1, 7])
async def test_two_processes_do_not_overstep_a_bound_together(url: str, most: int) -> None:
    async with (
        opened(url, runs_per_project=most, writers_per_run=most, keys_per_project=most) as one,
        opened(url, runs_per_project=most, writers_per_run=most, keys_per_project=most) as two,
    ):
        made = await asyncio.gather(
            *(each.ensure_runs(refs("p", n)) for n in range(10) for each in (one, two))
        )
        row = next(row for rows in made for row in rows.values())
        assert (await one.newest_runs(row.project_number, 0, 0))[1] == most
        await asyncio.gather(
            *(
                each.ensure_lanes([(row.number, f"w{n}{name}", 0, 1)])
                for n in range(5)
                for name, each in (("a", one), ("b", two))
            )
        )
        assert len(await one.lanes([row.number])) == most
        await asyncio.gather(
            *(
                each.ensure_keys(row.project_number, [f"k{n}{name}"])
                for n in range(5)
                for name, each in (("a", one), ("b", two))
            )
        )
        assert len(await one.keys(row.project_number)) == most
