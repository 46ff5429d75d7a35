"""Finds a page of a project's runs by filter, search and order, including logged values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import LaneRow, PointStore
from penstock_storage.readers.logged import LaneRanks, LoggedKey, read_logged
from penstock_storage.search.cells import Cells, PathColumn
from penstock_storage.search.evaluation import Deadline, passing
from penstock_storage.search.filters import Filter, paths_of
from penstock_storage.search.index import RunIndex, uninterrupted
from penstock_storage.search.ordering import Cursor, Order, sorted_rows
from penstock_storage.search.paths import Path, bad_request
from penstock_storage.search.table import RunTable

__all__ = ["Finder", "Found", "KnownNames", "Question"]

_MAX_S = 5.0
_MAX_LOGGED_KEYS = 20


@dataclass(frozen=True, slots=True)
class Question:
    """A page starts after the cursor `after`, or skips `offset` runs."""

    filter: Filter | None = None
    search: str = ""
    order: Order = ()
    limit: int = 100
    offset: int = 0
    after: Cursor | None = None
    has_cursors: bool = False
    """Whether every run of the page gets a cursor, not only the last."""

    def is_plain(self) -> bool:
        """Whether all runs are requested, newest first."""
        return self.filter is None and not self.search and not self.order

    def paths(self) -> set[Path]:
        """All paths in the query."""
        filtered = paths_of(self.filter) if self.filter else ()
        return {*filtered, *(term.path for term in self.order)}


@dataclass(frozen=True, slots=True)
class Found:
    """The numbers of a page's runs in order, the total over all pages, the cursor of the next page,
    and, if requested, a cursor after each run."""

    numbers: list[int]
    total: int
    next: str | None
    cursors: tuple[str, ...] = ()


class KnownNames(Protocol):
    """Looks up numbers that the catalog has given to names."""

    async def keys(self, project: int, names: Iterable[str]) -> dict[str, int]: ...

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]: ...


class Finder:
    """Searches whole projects."""

    def __init__(self, store: PointStore, catalog: Catalog, names: KnownNames) -> None:
        self.index = RunIndex(catalog)
        self._store = store
        self._catalog = catalog
        self._names = names
        self._ranks = LaneRanks(names.lanes)

    async def find(self, project: int, question: Question) -> Found:
        """Raises `Rejected` (400) if the search takes too long."""
        if question.is_plain():
            return await self._newest(project, question)
        logged = await self._logged(project, question.paths())
        async with self.index.table(project) as table:
            return await uninterrupted(_answer, table, question, logged)

    async def _newest(self, project: int, question: Question) -> Found:
        """The catalog supports this order itself, so the page opens before there is a table."""
        after, limit = question.after, question.limit
        before = None if after is None else (round(after.created_at * 1e6), after.number)
        found, total = await self._catalog.newest_runs(project, limit + 1, question.offset, before)
        cursors = [
            Cursor(question.order, (), created_at / 1e6, number).encode()
            for created_at, number in found[: limit if question.has_cursors else 0]
        ]
        following = None
        if len(found) > limit > 0:
            created_at, number = found[limit - 1]
            following = Cursor(question.order, (), created_at / 1e6, number).encode()
        return Found([number for _, number in found[:limit]], total, following, tuple(cursors))

    async def _logged(self, project: int, paths: Iterable[Path]) -> Mapping[str, LoggedKey]:
        logged = [path.name for path in paths if path.section == "summary"]
        keys = await self._names.keys(project, logged)
        if len(keys) > _MAX_LOGGED_KEYS:
            raise bad_request(f"filter and order use more than {_MAX_LOGGED_KEYS} logged keys")
        found = await asyncio.gather(
            *(read_logged(self._store, key, self._ranks) for key in keys.values())
        )
        return dict(zip(keys, found, strict=True))


def _answer(table: RunTable, question: Question, logged: Mapping[str, LoggedKey]) -> Found:
    known: dict[Path, Cells] = {}

    def cells_of(path: Path) -> Cells:
        if path not in known:
            known[path] = _cells(table, path, logged)
        return known[path]

    deadline = Deadline(_MAX_S)
    rows = table.newest_first()
    if question.filter is not None:
        rows = rows[passing(question.filter, cells_of, len(table), deadline)[rows]]
    if question.search:
        text = question.search.casefold()
        searched = table.searched
        rows = rows[[text in searched[row] for row in rows.tolist()]]
    every = sorted_rows(rows, question.order, cells_of, table.numbers)
    first = every.place_after(question.after) if question.after else question.offset
    page = every.rows[first : first + question.limit]
    last = first + len(page) - 1
    has_more = len(page) > 0 and last + 1 < len(every.rows)
    return Found(
        every.number[first : first + len(page)].tolist(),
        len(every.rows),
        every.cursor(last).encode() if has_more else None,
        tuple(every.cursor(first + at).encode() for at in range(len(page)))
        if question.has_cursors
        else (),
    )


def _cells(table: RunTable, path: Path, logged: Mapping[str, LoggedKey]) -> Cells:
    if path.section and table.is_full(path.section) and path.name not in table.paths(path.section):
        raise bad_request(f"{path}: the project has too many different paths to search by this one")
    found = table.cells(path)
    if path.section == "summary" and path.name in logged:
        return found.over(_logged_cells(table, path.name, logged[path.name]))
    return found


def _logged_cells(table: RunTable, key: str, logged: LoggedKey) -> Cells:
    column = PathColumn()
    rows = table.rows_of(logged.run)
    counts = (rows >= 0) & table.shows(rows, key)
    column.put(rows[counts], logged.value[counts])
    rows = table.rows_of(logged.text_run)
    counts = (rows >= 0) & table.shows(rows, key)
    texts = zip(counts.tolist(), logged.text, strict=True)
    column.put(rows[counts], [text for is_shown, text in texts if is_shown])
    return column.cells(len(table))
