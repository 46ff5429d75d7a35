"""The protocols of the stores. Implementations are named only where processes are wired together;
everything else depends on these protocols."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy.typing as npt

from penstock.wire.run_fields import STORED_FIELDS, DescribedRun
from penstock_common.http.auth import ApiKey
from penstock_common.process.bounds import Owner
from penstock_storage.contracts.account_rows import Accounts
from penstock_storage.contracts.ids import KeyNumber, Lane, Micros, RunNumber, SeriesId
from penstock_storage.contracts.lanes import LaneRow, LaneStart

__all__ = [
    "Accounts", "ApiKey", "Catalog", "Column", "Columns", "KeyNumber", "Lane", "LaneRow", "LaneStart", "Micros", "Move",
    "PointStore", "ProjectRow", "RunChange", "RunNumber", "RunRef", "RunRow", "RunText", "SeriesId",
    "Tombstone",
]  # fmt: skip

Column: TypeAlias = "npt.NDArray[Any] | list[Any] | tuple[npt.NDArray[Any], npt.NDArray[Any]]"
"""A numpy array for numbers, a list for strings and arrays, a pair of arrays for the tuple type."""
Columns: TypeAlias = "dict[str, Column]"
_ID = STORED_FIELDS.index("run")


class PointStore(Protocol):
    """A ClickHouse server, or anything that speaks its HTTP protocol and dialect.

    Every method raises `Transient` if the store cannot be reached or is out of memory or space, and
    `Broken` if it refuses the statement.
    """

    async def setup(self) -> None:
        """Create what is missing; record the store's id and schema version, or raise `Broken` if
        the version is newer than this code's."""

    async def store_id(self) -> str:
        """The store's random id, set when it was created or last renewed."""

    async def renew_id(self) -> str:
        """Give the store a new id: clients then send again what they still hold."""

    async def id_and_clock(self) -> tuple[str, Micros]:
        """`store_id`, and the highest time (µs) given to `set_clock`, 0 before the first; in one query."""

    async def set_clock(self, at: int) -> None:
        """Store this time (µs). A store whose clock is lower than the last time given to it is an older
        copy of itself."""

    async def noted(self, name: str) -> str | None:
        """The text last stored under this name, or None."""

    async def note(self, name: str, text: str) -> None:
        """Store a text under a name."""

    @property
    def connections(self) -> int:
        """The number of connections made so far. A replaced store is always reached through a new one."""

    async def insert(self, table: str, columns: Mapping[str, Column]) -> None:
        """Add rows as one atomic, durable part: returns after fsync. At most 1,048,449 rows."""

    async def query(self, sql: str, params: Mapping[str, object] | None = None) -> Columns:
        """The whole result as columns. Placeholders are ClickHouse's `{name:Type}`; params may be int,
        float, str, or sequences of them."""

    def stream(
        self, sql: str, params: Mapping[str, object] | None = None
    ) -> AsyncIterator[Columns]:
        """The result block by block, never whole in memory."""

    def download(self, sql: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """The result as bytes, in the format that the statement names."""

    async def execute(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        """Run a statement without a result."""

    async def close(self) -> None: ...


class RunRef(NamedTuple):
    """A run's full name."""

    entity: str
    project: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow(DescribedRun):
    """A run in the catalog.

    `number` is the run's 32-bit number in the point store. `summary` holds only what was set
    explicitly; last logged values come from the point store. `info`: the run's facts, `define_metric` rules,
    exit_code.
    """

    number: RunNumber
    project_number: int
    created_at: Micros
    updated_at: Micros


class RunText(NamedTuple):
    """A run in the catalog with undecoded JSON columns (they may contain NaN)."""

    number: int
    tick: int
    fields: tuple[Any, ...]
    """The values of `STORED_FIELDS`, in their order."""

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self.fields[_ID])


@dataclass(frozen=True, slots=True)
class ProjectRow:
    number: int
    entity: str
    project: str
    runs: int
    created_at: Micros
    updated_at: Micros


@dataclass(frozen=True, slots=True)
class RunChange:
    """The change of a run by one record of a batch, or an edit: `writer` is then ''.

    Within a writer (seq, index) decides which of two changes of a field is the later one; between
    writers, and for edits, the one that is heard later. Repeats change nothing.
    """

    run: int
    writer: str
    seq: int
    index: int
    kind: str
    """config | summary | config_whole | summary_whole | summary_fold | logged | state | run | define_metric; a
    `…_whole` replaces the section, a `…_fold` is combined with the present value; `logged` has keys that were
    logged, and takes away what an edit said of them before"""
    update: dict[str, Any]
    is_late: bool = False
    """It was made before what others have set, though it is heard after it: it sets only what nobody has
    set, or its own writer."""

    @classmethod
    def edit(cls, run: int, kind: str, update: dict[str, Any]) -> RunChange:
        """What somebody else than the run says of it, now."""
        return cls(run, "", 0, 0, kind, update)


_SHARED_WRITERS = ("http-", "wandb-")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What remains of a run that was deleted or moved away. Times are microseconds since 1970 UTC.

    `number` counts tombstones; `run` is the run's former number, which is never assigned again.
    """

    number: int
    run: RunNumber
    ref: RunRef
    project_number: int
    writers: frozenset[str]
    """The known writers of the run."""
    deleted_at: Micros
    purged_at: Micros
    """When the store was last found without its rows; 0: not yet."""
    moved_to: RunNumber
    """The run's number in its new project; 0 if it was deleted."""
    digests: tuple[str, ...] = ()
    """SHA-256 of the contents of its files; other runs may have files of the same content."""

    def refuses(self, writer: str, started: int, received: int, *, is_live: bool) -> bool:
        """Whether a batch belongs to the deleted run, not to a later one with the same id.

        `started`: when its writer started, by the server's clock if that is known; `received`: when a gateway got the batch
        by the server's clock; `is_live`: a later run with this id exists. Writers that do not stand for
        one process, such as those of JSON rows, never bring a run back by themselves.
        """
        if received <= self.deleted_at:
            return True
        if writer.startswith(_SHARED_WRITERS):
            return not is_live
        return writer in self.writers or started <= self.deleted_at


@dataclass(frozen=True, slots=True)
class Move:
    """A move of a run to another project; `copy` is its number there."""

    run: RunRow
    project_number: int
    copy: RunNumber
    asked_at: Micros


class Catalog(Protocol):
    """Users, projects, runs, keys: small rows, many readers, transactions."""

    async def setup(self) -> None:
        """Create or upgrade the tables; raise `Broken` if newer code made them incompatible. Several
        processes may do so at once."""

    async def ensure_runs(
        self, refs: Sequence[RunRef], began: Mapping[RunRef, int] | None = None
    ) -> dict[RunRef, RunRow]:
        """The rows of these runs, created (state running, name = id) if missing; `began`: when runs started
        that did not start now (µs). Runs beyond a bound (see `Bounds`) are not in the result."""

    async def ensure_project(self, entity: str, project: str) -> int:
        """The number of this project, created if missing."""

    async def ensure_keys(
        self, project: int, names: Sequence[str], *, bounded: bool = True
    ) -> dict[str, KeyNumber]:
        """The 32-bit number of each key name in the project, assigned if missing. If `bounded`, keys beyond
        a bound are not in the result."""

    async def ensure_lanes(
        self,
        writers: Sequence[tuple[int, str, int, int]],
        starts: Mapping[tuple[int, str], LaneStart] | None = None,
    ) -> dict[tuple[int, str], Lane]:
        """(run, writer, rank, started) -> lane by (run, writer), assigned if missing, and then with its start
        by (run, writer). Writers beyond a bound are not in the result."""

    async def at_bound(self, owners: Collection[Owner]) -> set[Owner]:
        """The owners among these that have reached their bound."""

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

    async def clock(self) -> Micros:
        """As `PointStore.clock`."""

    async def set_clock(self, at: int) -> None:
        """As `PointStore.set_clock`."""

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

    async def keys(self, project: int) -> dict[str, KeyNumber]:
        """Every key name of the project and its number."""

    async def key_names(self, numbers: Sequence[int]) -> dict[int, str]:
        """The names of the keys with these numbers, in any project."""

    async def key_numbers(self, project: int, names: Sequence[str]) -> dict[str, KeyNumber]:
        """The numbers of the keys among these that exist in a project, by name."""

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        """The lanes of these runs, by run, rank and `LaneRow.order`."""

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

    async def all_names(self) -> list[tuple[str, int, int, str]]:
        """(kind, id, project, name) of every project, run and key: for reconciling with `names`."""

    async def restore_names(self, names: Sequence[tuple[str, int, int, str]]) -> None:
        """Restore rows that the point store knows and this catalog lacks; raise `Broken` if a number already
        has another name."""

    async def add_api_key(self, key: ApiKey, label: str) -> None: ...

    async def api_key(self, key_id: str) -> ApiKey | None: ...

    @property
    def accounts(self) -> Accounts: ...

    async def close(self) -> None: ...
