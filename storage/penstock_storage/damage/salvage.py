"""A SQLite catalog with damaged pages: detected before use, and rebuilt from the readable rows.

The damaged file is kept. Some of the lost rows exist elsewhere: numbers and names are in the point
store, and clients send the data of their runs again.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock_common.process.damaged import new_folder, recent_reports, write_report

__all__ = ["Salvage", "damage_of", "recent_salvages", "salvage"]

_CHECK_S = 10.0
_STEPS_PER_LOOK = 100_000
_ROWS = 200
_TRIES = 10_000
_WHOLE = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Salvage:
    """The rescue of a damaged catalog: the saved rows, incomplete tables, and the place of the damaged
    file."""

    damage: str
    rows: int
    incomplete: list[str] = field(default_factory=list)
    aside: str = ""

    def __str__(self) -> str:
        lacking = f", but not all of {', '.join(self.incomplete)}" if self.incomplete else ""
        return (
            f"The catalog was damaged ({self.damage}): {self.rows:,} rows were taken over{lacking}."
            f" Clients send again what they hold. The damaged file is kept in {self.aside}"
        )


def damage_of(path: Path) -> str:
    """The damage to the pages of this database; '' if there is none, or the file does not exist.

    Checks for at most 10 s: a very large database is used without having been read completely.
    """
    if not path.exists():
        return ""
    deadline = time.monotonic() + _CHECK_S
    try:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            database.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_PER_LOOK)
            found = [row[0] for row in database.execute("PRAGMA quick_check(1)")]
    except sqlite3.OperationalError as error:
        return "" if "interrupted" in str(error) else _unless_busy(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == ["ok"] else " ".join(found).replace("\n", " ")[:300]


def salvage(path: Path, damage: str) -> Salvage:
    """Replace the database at `path` by a new one with its readable rows. No other process may have it
    open."""
    aside = new_folder(path.parent, f"{path.stem}-damaged-")
    for suffix in _WHOLE:
        part = path.with_name(path.name + suffix)
        if part.exists():
            shutil.copy2(part, aside / part.name)
    fresh = path.with_name(f".{path.name}.salvaged")
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
        rows, incomplete = _take_over(aside / path.name, target)
    fresh.chmod(0o600)
    done = Salvage(damage, rows, incomplete, str(aside))
    write_report(aside, done)
    for suffix in _WHOLE[1:]:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    fresh.replace(path)
    return done


def recent_salvages(folder: Path) -> list[Salvage]:
    """The rescues of the last three days whose damaged file is still in this folder."""
    return recent_reports(Salvage, folder, "*-damaged-")


def _take_over(damaged: Path, target: sqlite3.Connection) -> tuple[int, list[str]]:
    """Copy tables, then what depends on them. Returns rows, and the incomplete tables."""
    rows, incomplete = 0, []
    with closing(sqlite3.connect(damaged)) as source:
        try:
            schema = source.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
                " AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
        except sqlite3.DatabaseError:
            return 0, ["all tables"]
        target.execute("BEGIN")
        for _, table, sql in [each for each in schema if each[0] == "table"]:
            target.execute(sql)
            copied, is_whole = _copy(source, target, table)
            rows += copied
            if not is_whole:
                incomplete.append(table)
        _copy_sequences(source, target)
        for _, _, sql in [each for each in schema if each[0] != "table"]:
            target.execute(sql)
        # Without its clock it counts as an older copy, so clients send again what it may have lost.
        with suppress(sqlite3.DatabaseError):
            target.execute("DELETE FROM meta WHERE name = 'clock'")
        target.execute("COMMIT")
    return rows, incomplete


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> tuple[int, bool]:
    rows, is_whole = 0, True
    for batch in _readable(source, table):
        if batch is None:
            is_whole = False
            continue
        places = ", ".join("?" * len(batch[0]))
        # The first column is the row number.
        names = [column[1] for column in source.execute(f'PRAGMA table_info("{table}")')]
        listed = ", ".join(f'"{name}"' for name in ("rowid", *names))
        target.executemany(f'INSERT OR IGNORE INTO "{table}" ({listed}) VALUES ({places})', batch)
        rows += len(batch)
    return rows, is_whole


def _readable(source: sqlite3.Connection, table: str) -> Iterator[list[tuple[Any, ...]] | None]:
    """Rows by number, in batches; None for each unreadable stretch."""
    at, tries, count = -(2**62), 0, _ROWS
    select = f'SELECT rowid, * FROM "{table}" WHERE rowid > ? ORDER BY rowid LIMIT ?'
    while at < 2**62:
        try:
            batch = source.execute(select, (at, count)).fetchall()
        except sqlite3.DatabaseError:
            if count > 1:
                count = 1  # up to the first unreadable row
                continue
            if tries == 0:
                yield None
            tries += 1
            at = max(at, 0) + (1 if tries < _TRIES else 2 ** (tries - _TRIES))
            continue
        if not batch:
            return
        yield batch
        at, tries, count = batch[-1][0], 0, min(_ROWS, 4 * count)


def _copy_sequences(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Assign no number twice, even if its row is lost."""
    with suppress(sqlite3.DatabaseError):
        for name, number in source.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
            target.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, number))


def _unless_busy(error: sqlite3.OperationalError) -> str:
    """Whether the error means damage, not a lock or a full disk."""
    return str(error) if "malformed" in str(error) or "not a database" in str(error) else ""
