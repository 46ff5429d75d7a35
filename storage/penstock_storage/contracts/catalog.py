"""The catalog by subject, as protocols: what needs only runs, or only deletions, takes no more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from penstock_common.http.auth import ApiKey
from penstock_common.process.bounds import Owner
from penstock_storage.contracts.account_rows import Accounts
from penstock_storage.contracts.ids import KeyNumber, Lane, Micros, RunNumber
from penstock_storage.contracts.interface import (
    Move,
    ProjectRow,
    RunChange,
    RunRef,
    RunRow,
    RunText,
    Tombstone,
)
from penstock_storage.contracts.lanes import LaneRow, LaneStart

__all__ = [
    "ApiKeyCatalog",
    "Catalog",
    "ClockCatalog",
    "MoveCatalog",
    "NameCatalog",
    "RunCatalog",
    "TombstoneCatalog",
    "WriterCatalog",
]


class RunCatalog(Protocol):
    """Projects and runs: what there is, what was said of them, and which of them are alive."""

    async def ensure_runs(
        self, refs: Sequence[RunRef], began: Mapping[RunRef, int] | None = None
    ) -> dict[RunRef, RunRow]:
        """The rows of these runs, created (state running, name = id) if missing; `began`: when runs started
        that did not start now (µs). Runs beyond a bound (see `Bounds`) are not in the result."""

    async def ensure_project(self, entity: str, project: str) -> int:
        """The number of this project, created if missing."""

    async def at_bound(self, owners: Collection[Owner]) -> set[Owner]:
        """The owners among these that have reached their bound."""

    async def apply_changes(self, changes: Sequence[RunChange], now: int) -> None:
        """All changes in one transaction; see `RunChange`. `now` becomes updated_at (µs)."""

    async def edited_summaries(self) -> dict[int, set[str]]:
        """The runs that go on with values in their summary that an edit set, and the keys of these."""

    async def touch_runs(
        self, runs: Sequence[int], now: int, *, ended: bool = True
    ) -> list[RunRef]:
        """Record a sign of life of these runs at `now` (µs); with `ended=False`, only of those that have not
        ended. Runs that `mark_crashed` had marked are revived and returned."""

    async def silent_runs(self, before: int) -> dict[RunRef, RunNumber]:
        """The runs whose state is running or preempting, but without a sign of life since `before` (µs),
        with their numbers."""

    async def mark_crashed(self, runs: Sequence[int], before: int, now: int) -> list[RunRef]:
        """Mark the runs among these crashed that `silent_runs` would still list, with `silent` in their
        info; returns them."""

    async def numbers_of(self, refs: Sequence[RunRef]) -> dict[RunRef, RunNumber]:
        """The numbers of the runs among these that exist."""

    async def projects(self, entity: str | None = None) -> list[ProjectRow]: ...

    async def project(self, entity: str, project: str) -> ProjectRow | None: ...

    def runs_since(self, project: int, tick: int) -> AsyncGenerator[Sequence[RunText], None]:
        """The runs of a project that changed after `tick`, in parts and in no order; all of them after -1. To
        continue later, ask for changes after the highest tick seen."""

    async def newest_runs(
        self, project: int, limit: int, offset: int, before: tuple[int, int] | None = None
    ) -> tuple[list[tuple[int, int]], int]:
        """(created_at, number) of a project's runs, newest first, and their total number. `before`: only
        those after this one."""

    async def run(self, ref: RunRef) -> RunRow | None: ...

    async def run_rows(self, numbers: Sequence[int]) -> dict[int, RunRow]:
        """The runs among these that exist, by number."""

    async def run_numbers(self, project: int, names: Sequence[str]) -> dict[str, RunNumber]:
        """The numbers of the runs among these that exist in a project, by id."""

    async def project_number(self, entity: str, project: str) -> int | None: ...


class NameCatalog(Protocol):
    """Keys, and the numbers that the point store has for names."""

    async def ensure_keys(
        self, project: int, names: Sequence[str], *, bounded: bool = True
    ) -> dict[str, KeyNumber]:
        """The 32-bit number of each key name in the project, assigned if missing. If `bounded`, keys beyond
        a bound are not in the result."""

    async def keys(self, project: int) -> dict[str, KeyNumber]:
        """Every key name of the project and its number."""

    async def key_names(self, numbers: Sequence[int]) -> dict[int, str]:
        """The names of the keys with these numbers, in any project."""

    async def key_numbers(self, project: int, names: Sequence[str]) -> dict[str, KeyNumber]:
        """The numbers of the keys among these that exist in a project, by name."""

    async def all_names(self) -> list[tuple[str, int, int, str]]:
        """(kind, id, project, name) of every project, run and key: for reconciling with `names`."""

    async def restore_names(self, names: Sequence[tuple[str, int, int, str]]) -> None:
        """Restore rows that the point store knows and this catalog lacks; raise `Broken` if a number already
        has another name."""


class WriterCatalog(Protocol):
    """The writers of runs."""

    async def ensure_lanes(
        self,
        writers: Sequence[tuple[int, str, int, int]],
        starts: Mapping[tuple[int, str], LaneStart] | None = None,
    ) -> dict[tuple[int, str], Lane]:
        """(run, writer, rank, started) -> lane by (run, writer), assigned if missing, and then with its start
        by (run, writer). Writers beyond a bound are not in the result."""

    async def known_writers(
        self, writers: Collection[tuple[int, str]]
    ) -> dict[tuple[int, str], LaneRow]:
        """The lanes of the writers (run, writer) among these that have one."""

    async def set_outlived(self, lanes: Sequence[tuple[int, int]]) -> None:
        """What these lanes (run, lane) claimed to replace has gone on: they log beside it."""

    async def newest_attempts(
        self, places: Collection[tuple[int, int]]
    ) -> dict[tuple[int, int], LaneRow]:
        """The newest lane of each of these (run, rank) that replaces earlier ones, if its start is known."""

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        """The lanes of these runs, by run, rank and `LaneRow.order`."""


class TombstoneCatalog(Protocol):
    """What was deleted, and how far the point store is with it."""

    async def delete_runs(self, runs: Sequence[int], now: int) -> list[Tombstone]:
        """Delete the runs among these that exist; from now on nothing of them is read."""

    async def delete_project(self, project: int, now: int) -> list[Tombstone]:
        """Delete all runs of a project and hide it until it has a run again."""

    async def tombstones(self, after: int, *, limit: int = 1_000) -> list[Tombstone]:
        """Tombstones with a number above `after`, in the order of their numbers."""

    async def last_tombstone(self) -> int:
        """The highest number of a tombstone, 0 if there is none."""

    async def tombstones_of(self, refs: Sequence[RunRef]) -> dict[RunRef, list[Tombstone]]:
        """The runs among these that were deleted or moved, each with its tombstones in order."""

    async def tombstones_by_run(self, runs: Sequence[int]) -> list[Tombstone]:
        """The tombstones of the runs with these former numbers."""

    async def open_tombstones(self) -> list[Tombstone]:
        """Tombstones whose runs may still have rows in the store."""

    async def note_purged(self, numbers: Sequence[int], now: int, *, final: bool) -> None:
        """The store was found without the rows of these; `final`: it is not checked again."""

    async def deleted_since(self, project: int, tick: int) -> int | None:
        """The highest tick of a deletion in this project after `tick`; None if there is none."""

    async def gone_runs(self, project: int) -> list[int]:
        """The numbers of a project's deleted runs that may still have rows."""


class MoveCatalog(Protocol):
    """Runs that are being moved to another project."""

    async def begin_move(self, run: int, project: str, now: int) -> Move:
        """Record that a run is to be moved to a project of its entity, created if missing.

        Raises `Rejected` (409) if the run has not ended or the project has a run with its id, 404 if
        it is deleted."""

    async def moves(self) -> list[Move]:
        """The unfinished moves, oldest first."""

    async def finish_move(self, run: int, now: int) -> bool:
        """The copy replaces the run, whose old number is left as if deleted.

        False if that is no longer possible: the run is running again or deleted, or the project now has
        a run with its id. The move is then cancelled, and its copy is deleted."""


class ClockCatalog(Protocol):
    """The catalog's copy of the clock by which an older copy of it is noticed."""

    async def clock(self) -> Micros:
        """As `PointStore.clock`."""

    async def set_clock(self, at: int) -> None:
        """As `PointStore.set_clock`."""


class ApiKeyCatalog(Protocol):
    """API keys, and the accounts that have them."""

    async def add_api_key(self, key: ApiKey, label: str) -> None: ...

    async def api_key(self, key_id: str) -> ApiKey | None: ...

    @property
    def accounts(self) -> Accounts: ...


class Catalog(
    RunCatalog,
    NameCatalog,
    WriterCatalog,
    TombstoneCatalog,
    MoveCatalog,
    ClockCatalog,
    ApiKeyCatalog,
    Protocol,
):
    """All subjects together: small rows, many readers, transactions. What needs one subject takes its protocol."""

    def setup_alone(self) -> AbstractAsyncContextManager[None]:
        """Let no other process set up the installation's stores while the block runs."""
        ...

    async def setup(self) -> None:
        """Create or upgrade the tables; raise `Broken` if newer code made them incompatible. Several
        processes may do so at once."""

    async def close(self) -> None: ...
