"""What the public API reads of catalogs, on SQLite and PostgreSQL."""

from __future__ import annotations

from support.run_texts import field_of

from penstock_storage.catalog import SqlCatalog
from penstock_storage.catalog.runs.custom_charts import CustomCharts
from penstock_storage.catalog.runs.line_streams import LineStreams
from penstock_storage.contracts.interface import RunChange, RunRef


async def test_one_project_is_found_by_its_name(catalog: SqlCatalog) -> None:
    refs = [RunRef("ana", "mnist", "r1"), RunRef("ana", "mnist", "r2"), RunRef("bo", "mnist", "r")]
    await catalog.ensure_runs(refs)
    found = await catalog.project("ana", "mnist")
    assert found is not None
    assert found in await catalog.projects("ana")
    assert (found.entity, found.project, found.runs) == ("ana", "mnist", 2)
    assert await catalog.project("ana", "none") is None
    assert await catalog.project("nobody", "mnist") is None


async def test_runs_are_searched_with_their_facts(catalog: SqlCatalog) -> None:
    ref = RunRef("ana", "mnist", "r1")
    row = (await catalog.ensure_runs([ref]))[ref]
    facts = {"sweep": "s1", "host": "box", "odd": float("nan")}
    await catalog.apply_changes([RunChange(row.number, "w1", 1, 0, "run", facts)], 2_000)
    [[text]] = [part async for part in catalog.runs_since(row.project_number, -1)]
    assert '"sweep":"s1"' in field_of(text, "info")
    assert '"host":"box"' in field_of(text, "info")


async def test_line_streams_of_several_runs(catalog: SqlCatalog) -> None:
    refs = [RunRef("ana", "mnist", name) for name in ("r1", "r2", "r3")]
    numbers = [row.number for row in (await catalog.ensure_runs(refs)).values()]
    streams = LineStreams(catalog.database)
    for number in numbers[:2]:
        for generation in (10, 20):
            await streams.begin(number, "", generation)
    found = await streams.of_runs(numbers)
    assert found.keys() == set(numbers[:2])
    assert all([each.generation for each in own] == [20, 10] for own in found.values())
    assert await streams.of_client(numbers[1], "") == found[numbers[1]]
    assert await streams.of_client(numbers[2], "") == []


async def test_chart_presets_belong_to_an_entity(catalog: SqlCatalog) -> None:
    charts = CustomCharts(catalog.database)
    await charts.keep("ana", "bars", {"spec": "1"})
    await charts.keep("bo", "bars", {"spec": "2"})
    await charts.keep("ana", "bars", {"spec": "3"})
    assert await charts.find("ana", "bars") == {"spec": "3"}
    assert await charts.find("bo", "bars") == {"spec": "2"}
    assert await charts.find("ana", "none") is None
