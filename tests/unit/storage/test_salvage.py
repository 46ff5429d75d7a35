"""A catalog with damaged pages: noticed, and made again from what can be read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from penstock_storage.connect import open_catalog
from penstock_storage.contracts.interface import RunRef
from penstock_storage.damage.salvage import Salvage, damage_of, recent_salvages, salvage

RUNS = 2_000
PAGE = 4_096


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A catalog with many runs, all of it in its file."""
    path = tmp_path_factory.mktemp("whole") / "catalog.db"
    catalog = open_catalog(f"sqlite+aiosqlite:///{path}")
    await catalog.setup()
    await catalog.ensure_runs([RunRef("e", "p", f"run{n:05d}") for n in range(RUNS)])
    await catalog.set_clock(7)
    await catalog.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


@pytest.fixture
def catalog_file(whole: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "catalog.db"
    path.write_bytes(whole)
    return path


def damage(path: Path, *pages: int, with_bytes: bytes = b"\0") -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write((with_bytes * PAGE)[:PAGE])


def pages_of(path: Path, table: str) -> list[int]:
    """Pages that hold rows of this table: those that have its runs' names in them."""
    data, word = path.read_bytes(), table.encode()
    return [at for at in range(1, len(data) // PAGE) if data[at * PAGE :][:PAGE].count(word) > 5]


def runs(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {row[0] for row in database.execute("SELECT run FROM runs")}


def test_a_sound_catalog_is_sound(catalog_file: Path, tmp_path: Path) -> None:
    assert damage_of(catalog_file) == ""
    assert damage_of(tmp_path / "none") == ""


@pytest.mark.parametrize("with_bytes", [b"\0", b"\xff", b"garbage "])
async def test_what_lies_on_other_pages_is_taken_over(
    catalog_file: Path, tmp_path: Path, with_bytes: bytes
) -> None:
    path = catalog_file
    pages = pages_of(path, "run0")
    damage(path, pages[len(pages) // 3], with_bytes=with_bytes)
    before = path.read_bytes()
    found = damage_of(path)
    assert found
    done = salvage(path, found)
    assert damage_of(path) == ""
    left = runs(path)
    assert RUNS * 0.9 < len(left) <= RUNS
    assert (Path(done.aside) / path.name).read_bytes() == before
    assert recent_salvages(tmp_path) == [done]
    # It is used as ever: the same numbers for who is known, new ones for others.
    catalog = open_catalog(f"sqlite+aiosqlite:///{path}")
    await catalog.setup()
    refs = [RunRef("e", "p", "run00000"), RunRef("e", "p", "new")]
    rows = await catalog.ensure_runs(refs)
    assert rows[refs[1]].number == RUNS + 1
    assert await catalog.clock() == 0  # so that clients say again what they hold
    await catalog.close()


@pytest.mark.parametrize("bytes_left", [0, 100, 10 * PAGE + 17])
async def test_what_is_left_of_a_file_that_was_cut_is_taken_over(
    catalog_file: Path, bytes_left: int
) -> None:
    path = catalog_file
    with path.open("r+b") as file:
        file.truncate(bytes_left)
    if found := damage_of(path):
        salvage(path, found)
    catalog = open_catalog(f"sqlite+aiosqlite:///{path}")
    await catalog.setup()
    await catalog.ensure_runs([RunRef("e", "p", "new")])
    await catalog.close()
    assert damage_of(path) == ""


async def test_without_its_first_page_it_starts_empty(catalog_file: Path) -> None:
    path = catalog_file
    damage(path, 0, with_bytes=b"\xff")
    done: Salvage = salvage(path, damage_of(path))
    assert (done.rows, done.incomplete) == (0, ["all tables"])
    catalog = open_catalog(f"sqlite+aiosqlite:///{path}")
    await catalog.setup()
    await catalog.close()


@pytest.mark.heavy
@pytest.mark.smoke
async def test_every_page_may_be_damaged(whole: bytes, tmp_path: Path) -> None:
    for page in range(1, len(whole) // PAGE, 31):
        path = tmp_path / f"{page}.db"
        path.write_bytes(whole)
        damage(path, page, with_bytes=b"\xa5")
        if found := damage_of(path):
            salvage(path, found)
            catalog = open_catalog(f"sqlite+aiosqlite:///{path}")
            await catalog.setup()
            await catalog.ensure_runs([RunRef("e", "p", "new")])
            await catalog.close()
            assert damage_of(path) == ""
