"""The files of runs in the catalog, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from penstock.errors import Rejected
from penstock_storage.catalog import SqlCatalog
from penstock_storage.catalog.runs.run_files import RunFile, RunFiles, file_name
from penstock_storage.contracts.interface import RunRef


def a_file(name: str, content: bytes = b"x", updated_at: int = 1_000) -> RunFile:
    sha256 = hashlib.sha256(content).hexdigest()
    return RunFile(name, sha256, "md5==", len(content), "text/plain", updated_at)


async def new_runs(catalog: SqlCatalog, *names: str) -> list[int]:
    refs = [RunRef("ana", "mnist", name) for name in names]
    rows = await catalog.ensure_runs(refs)
    return [rows[ref].number for ref in refs]


@pytest.fixture
def files(catalog: SqlCatalog) -> RunFiles:
    return RunFiles(catalog.database)


async def test_a_file_comes_back_as_it_was_put(catalog: SqlCatalog, files: RunFiles) -> None:
    run, other = await new_runs(catalog, "r1", "r2")
    file = a_file("media/images/a b%20 ü☃.png", b"content")
    await files.put(run, file)
    assert await files.get(run, file.name) == file
    assert await files.get(run, "media") is None
    assert await files.get(other, file.name) is None
    assert (await files.list(run), await files.count(run)) == ([file], 1)
    assert (await files.list(other), await files.count(other)) == ([], 0)


async def test_the_newest_content_of_a_name_wins(catalog: SqlCatalog, files: RunFiles) -> None:
    (run,) = await new_runs(catalog, "r1")
    newer, older = a_file("a", b"2", updated_at=2), a_file("a", b"1", updated_at=1)
    again = a_file("a", b"again", updated_at=2)
    for put, wins in ((newer, newer), (older, newer), (again, again)):
        await files.put(run, put)
        assert await files.list(run) == [wins]
    await asyncio.gather(*(files.put(run, a_file("a", b"%d" % n, updated_at=n)) for n in range(20)))
    assert await files.list(run) == [a_file("a", b"19", updated_at=19)]


async def test_pages_hold_every_file_once(catalog: SqlCatalog, files: RunFiles) -> None:
    (run,) = await new_runs(catalog, "r1")
    names = {f"media/{n}" for n in range(25)} | {"Config.yaml", "output.log", "ä"}
    for name in names:
        await files.put(run, a_file(name))
    found: list[str] = []
    while page := await files.list(run, after=found[-1] if found else None, limit=10):
        assert len(page) <= 10
        found += (file.name for file in page)
    assert len(found) == len(names) == await files.count(run)
    assert set(found) == names


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("%.PNG", {"media/a_b.png", "media/a%b.png"}),
        ("media/a_b%", {"media/a_b.png", "media/a%b.png", "media/axb.txt"}),
        (r"%a\_b%", {"media/a_b.png"}),
        (r"media/a\%%", {"media/a%b.png"}),
        ("config.yaml", {"config.yaml"}),
        ("config", set()),
        ("con\0fig.yaml", {"config.yaml"}),
        ("back\\", set()),
        ("", set()),
    ],
)
async def test_patterns_choose(
    catalog: SqlCatalog, files: RunFiles, pattern: str, wanted: set[str]
) -> None:
    (run,) = await new_runs(catalog, "r1")
    for name in ("media/a_b.png", "media/a%b.png", "media/axb.txt", "config.yaml"):
        await files.put(run, a_file(name))
    assert {file.name for file in await files.list(run, pattern=pattern)} == wanted
    assert await files.count(run, pattern=pattern) == len(wanted)


async def test_names_choose_however_many(catalog: SqlCatalog, files: RunFiles) -> None:
    (run,) = await new_runs(catalog, "r1")
    for name in ("a", "b", "c"):
        await files.put(run, a_file(name))
    many = [f"no{n}" for n in range(3_000)]
    assert [file.name for file in await files.list(run, names=[*many, "c", "a"])] == ["a", "c"]
    assert await files.list(run, names=[]) == []
    assert [file.name for file in await files.list(run, names=["a", "c"], limit=1)] == ["a"]
    assert await files.delete(run, [*many, "a", "b", "a"]) == 2
    assert [file.name for file in await files.list(run)] == ["c"]


async def test_names_are_counted_however_many(catalog: SqlCatalog, files: RunFiles) -> None:
    run, other = await new_runs(catalog, "r1", "r2")
    for name in ("a.txt", "b.txt", "c.bin"):
        await files.put(run, a_file(name))
    await files.put(other, a_file("a.txt"))
    many = [f"missing{n}" for n in range(2_000)]
    assert await files.count(run, names=["a.txt", "a.txt", "missing"]) == 1
    assert await files.count(run, names=["c.bin", *many, "b.txt"]) == 2
    assert await files.count(run, names=["a.txt", "c.bin"], pattern="%.txt") == 1
    assert await files.count(run, names=[]) == 0


async def test_content_is_used_while_any_run_has_it(catalog: SqlCatalog, files: RunFiles) -> None:
    one, two = await new_runs(catalog, "r1", "r2")
    await files.put(one, a_file("a", b"shared"))
    await files.put(two, a_file("b", b"shared"))
    shared, unused = a_file("", b"shared").sha256, a_file("", b"unused").sha256
    assert await files.digests_in_use([shared, unused]) == {shared}
    await files.delete(one, ["a"])
    assert await files.is_used(shared)
    await files.delete(two, ["b"])
    assert not await files.is_used(shared)


def test_names_are_paths_inside_of_the_run() -> None:
    assert file_name("./media//a/./b c%.png") == "media/a/b c%.png"
    assert file_name("/config.yaml") == "config.yaml"
    assert file_name("..a/b..") == "..a/b.."
    for bad in ("", ".", "/", "../a", "a/../b", "a\0b", "\ud800", "ä" * 1_001):
        with pytest.raises(Rejected, match="file"):
            file_name(bad)
