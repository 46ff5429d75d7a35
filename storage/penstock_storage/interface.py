"""What the rest of Penstock asks of its stores. Implementations are named only where processes are
built; everything else depends on these protocols."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy.typing as npt

from penstock.wire import SYSTEM_RANK
from penstock_common.auth import ApiKey
from penstock_common.bounds import Owner
from penstock_storage.account_rows import Accounts

__all__ = [
    "Accounts", "ApiKey", "Catalog", "Column", "Columns", "LaneRow", "Move", "PointStore", "ProjectRow",
    "RunChange", "RunRef", "RunRow", "RunText", "Tombstone",
]  # fmt: skip

Column: TypeAlias = "npt.NDArray[Any] | list[Any] | tuple[npt.NDArray[Any], npt.NDArray[Any]]"
"""A numpy array for numbers, a list for strings and arrays, a pair of arrays for the tuple type."""
Columns: TypeAlias = "dict[str, Column]"


class PointStore(Protocol):
    """A ClickHouse, or anything that speaks its HTTP protocol and dialect.

    Every method raises `Transient` if the store cannot be reached or is out of memory or space, and
    `Broken` if it refuses the statement.
    """

    async def setup(self) -> None:
        """Create what is missing; record the store's id and schema version, or raise `Broken` if
        the version is newer than this code's."""

    async def store_id(self) -> str:
        """The random id that this store was given when it was created, or renewed last."""

    async def renew_id(self) -> str:
        """Give the store another id: clients then send again what they still hold."""

    async def clock(self) -> int:
        """The highest time (µs) that `set_clock` was given, 0 before the first."""

    async def set_clock(self, at: int) -> None:
        """Remember this time (µs). A store whose clock is lower than what it was given is an older
        copy of itself."""

    async def noted(self, name: str) -> str | None:
        """What was noted last under this name, or None."""

    async def note(self, name: str, text: str) -> None:
        """Keep a text under a name."""

    @property
    def connections(self) -> int:
        """How many connections were made so far. A store that was replaced is always reached
        through a new one."""

    async def insert(self, table: str, columns: Mapping[str, Column]) -> None:
        """Add rows as one atomic, durable part: returns after fsync. At most 1,048,449 rows."""

    async def query(self, sql: str, params: Mapping[str, object] | None = None) -> Columns:
        """The whole answer as columns. Placeholders are ClickHouse's `{name:Type}`; params may be
        int, float, str, or sequences of them."""

    def stream(
        self, sql: str, params: Mapping[str, object] | None = None
    ) -> AsyncIterator[Columns]:
        """The answer block by block, never whole in memory."""

    def download(self, sql: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """The answer as bytes, in the format that the statement names."""

    async def execute(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        """Run a statement that has no answer."""

    async def close(self) -> None: ...


class RunRef(NamedTuple):
    """A run's full name."""

    entity: str
    project: str
    run: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as the catalog knows it. Times are microseconds since 1970 UTC.

    `number` is the 32-bit number that stands for the run in the point store. `summary` holds only
    what was set explicitly; last logged values come from the point store.
    """

    number: int
    entity: str
    project: str
    project_number: int
    run: str
    name: str
    state: str
    created_at: int
    updated_at: int
    group: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    """host, program, python …, `define_metric` rules, exit_code."""


class RunText(NamedTuple):
    """A run as it lies in the catalog, its JSON columns not decoded (they may hold NaN)."""

    number: int
    tick: int
    run: str
    name: str
    state: str
    group: str
    job_type: str
    notes: str
    tags: str
    config: str
    summary: str
    created_at: int
    updated_at: int
    info: str = "{}"


@dataclass(frozen=True, slots=True)
class ProjectRow:
    number: int
    entity: str
    project: str
    runs: int
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane belongs to one (run, writer). Times in microseconds."""

    run: int
    lane: int
    writer: str
    rank: int
    started: int

    @property
    def is_system(self) -> bool:
        """Whether it holds what the machine measured of itself, whose steps are lines of its own:
        no part of the run's history."""
        return self.rank >= SYSTEM_RANK


@dataclass(frozen=True, slots=True)
class RunChange:
    """What one record says about a run. Applied per top-level field or key only if
    (started, seq, index) is greater than what set it last, so order and repeats do not matter."""

    run: int
    started: int
    seq: int
    index: int
    kind: str
    """config | summary | config_whole | summary_whole | summary_fold | state | run | define_metric; a
    `…_whole` replaces the section, a `…_fold` is put together with what is there"""
    update: dict[str, Any]


_SHARED_WRITERS = ("http-", "wandb-")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a run that was deleted or moved away. Times are microseconds since 1970 UTC.

    `number` counts tombstones; `run` is the number that the run had, which is never given again.
    """

    number: int
    run: int
    ref: RunRef
    project_number: int
    writers: frozenset[str]
    """Those that were known of it."""
    deleted_at: int
    purged_at: int
    """When the store was last seen without its rows; 0: not yet."""
    moved_to: int
    """The number that the run has now in another project; 0 if it was deleted."""
    digests: tuple[str, ...] = ()
    """SHA-256 of the contents of its files; other runs may have files of the same content."""

    def refuses(self, writer: str, started: int, received: int, *, is_live: bool) -> bool:
        """Whether a batch belongs to the run that is gone, not to a later one of the same id.

        `started` is when its writer began by its own clock, `received` when a gateway had the batch
        by ours; `is_live`: a later run of this id exists. Writers whose name says nothing of a
        process, such as those of JSON rows, never bring a run back by themselves.
        """
        if received <= self.deleted_at:
            return True
        if writer.startswith(_SHARED_WRITERS):
            return not is_live
        return writer in self.writers or started <= self.deleted_at


@dataclass(frozen=True, slots=True)
class Move:
    """A run on its way into another project; `copy` is the number that it will have there."""

    run: RunRow
    project_number: int
    copy: int
    asked_at: int


class Catalog(Protocol):
    """Users, projects, runs, keys: small rows, many readers, transactions."""

    async def setup(self) -> None:
        """Create or upgrade the tables; raise `Broken` if newer code made them what this code
        cannot use. Several processes may do so at once."""

    async def ensure_runs(self, refs: Sequence[RunRef]) -> dict[RunRef, RunRow]:
        """The rows of these runs, created (state running, name = id) where missing. Those for which
        there is no room (see `Bounds`) are not in the answer."""

    async def ensure_project(self, entity: str, project: str) -> int:
        """The number of this project, created where missing."""

    async def ensure_keys(
        self, project: int, names: Sequence[str], *, bounded: bool = True
    ) -> dict[str, int]:
        """The 32-bit number of each key name in the project, handed out where missing. If `bounded`,
        those for which there is no room are not in the answer."""

    async def ensure_lanes(
        self, writers: Sequence[tuple[int, str, int, int]]
    ) -> dict[tuple[int, str], int]:
        """(run, writer, rank, started) -> lane by (run, writer), handed out where missing. Those for
        which there is no room are not in the answer."""

    async def at_bound(self, owners: Collection[Owner]) -> set[Owner]:
        """Those of these that have as many as they may have."""

    async def known_writers(
        self, writers: Collection[tuple[int, str]]
    ) -> dict[tuple[int, str], int]:
        """The lanes of those of these writers (run, writer) that have one."""

    async def apply_changes(self, changes: Sequence[RunChange], now: int) -> None:
        """All changes in one transaction; see `RunChange`. `now` becomes updated_at (µs)."""

    async def touch_runs(
        self, runs: Sequence[int], now: int, *, ended: bool = True
    ) -> list[RunRef]:
        """Note that these runs were heard of at `now` (µs); with `ended=False`, only those that
        have not ended. Those that `mark_crashed` had marked run again, and are returned."""

    async def silent_runs(self, before: int) -> dict[RunRef, int]:
        """The runs that go on by their state (running, preempting), but were not heard of since
        `before` (µs), with their numbers."""

    async def mark_crashed(self, runs: Sequence[int], before: int, now: int) -> list[RunRef]:
        """Mark those of these runs crashed that `silent_runs` would still list, with `silent` in
        their info; returns them."""

    async def numbers_of(self, refs: Sequence[RunRef]) -> dict[RunRef, int]:
        """The numbers of those of these runs that exist."""

    async def clock(self) -> int:
        """As `PointStore.clock`."""

    async def set_clock(self, at: int) -> None:
        """As `PointStore.set_clock`."""

    async def projects(self, entity: str | None = None) -> list[ProjectRow]: ...

    async def project(self, entity: str, project: str) -> ProjectRow | None: ...

    def runs_since(self, project: int, tick: int) -> AsyncGenerator[Sequence[RunText], None]:
        """The runs of a project that changed after `tick`, part by part, in no order; all of them
        after -1. To go on later, ask for what changed after the highest tick seen."""

    async def newest_runs(
        self, project: int, limit: int, offset: int, before: tuple[int, int] | None = None
    ) -> tuple[list[tuple[int, int]], int]:
        """(created_at, number) of a project's runs, newest first, and how many it has in all.
        `before`: only those that come behind this one."""

    async def run(self, ref: RunRef) -> RunRow | None: ...

    async def run_rows(self, numbers: Sequence[int]) -> dict[int, RunRow]:
        """Those of these runs that exist, by number."""

    async def run_numbers(self, project: int, names: Sequence[str]) -> dict[str, int]:
        """The numbers of those of these runs of a project that exist, by id."""

    async def project_number(self, entity: str, project: str) -> int | None: ...

    async def keys(self, project: int) -> dict[str, int]:
        """Every key name of the project and its number."""

    async def key_names(self, numbers: Sequence[int]) -> dict[int, str]:
        """The names of the keys that have these numbers, whatever their project."""

    async def key_numbers(self, project: int, names: Sequence[str]) -> dict[str, int]:
        """The numbers of those of these keys of a project that exist, by name."""

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        """The lanes of these runs, by (run, rank, started, lane)."""

    async def delete_runs(self, runs: Sequence[int], now: int) -> list[Tombstone]:
        """Delete those of these runs that exist; nothing of them is read from here on."""

    async def delete_project(self, project: int, now: int) -> list[Tombstone]:
        """Delete all runs of a project and hide it until there is a run in it again."""

    async def tombstones(self, after: int, *, limit: int = 1_000) -> list[Tombstone]:
        """Tombstones with a number above `after`, in the order of their numbers."""

    async def last_tombstone(self) -> int:
        """The highest number of a tombstone, 0 if there is none."""

    async def tombstones_of(self, refs: Sequence[RunRef]) -> dict[RunRef, list[Tombstone]]:
        """Those of these runs that were deleted or moved, each with its tombstones in order."""

    async def tombstones_by_run(self, runs: Sequence[int]) -> list[Tombstone]:
        """The tombstones of the runs that had these numbers."""

    async def open_tombstones(self) -> list[Tombstone]:
        """Tombstones whose runs may still have rows in the store."""

    async def note_purged(self, numbers: Sequence[int], now: int, *, final: bool) -> None:
        """The store was seen without the rows of these; `settled`: for the last time."""

    async def deleted_since(self, project: int, tick: int) -> int | None:
        """The highest tick of a deletion in this project after `tick`; None if there is none."""

    async def gone_runs(self, project: int) -> list[int]:
        """The numbers of a project's runs that were deleted, but may still have rows."""

    async def begin_move(self, run: int, project: str, now: int) -> Move:
        """Note that a run is to be moved into a project of its entity, made if it is missing.

        Raises `Rejected` (409) if the run has not ended or the project has one of its id, 404 if it
        is gone."""

    async def moves(self) -> list[Move]:
        """The moves that are not finished, oldest first."""

    async def finish_move(self, run: int, now: int) -> bool:
        """The copy takes the run's place, and the run's number is left as if it had been deleted.

        False if it must not: the run goes on again, or is gone, or the project has one of its id by
        now. The move is then off, and its copy is deleted."""

    async def all_names(self) -> list[tuple[str, int, int, str]]:
        """(kind, id, project, name) of every project, run and key: for reconciling with `names`."""

    async def restore_names(self, names: Sequence[tuple[str, int, int, str]]) -> None:
        """Put back rows that the point store knows and this catalog lacks; raise `Broken` if a
        number is already taken by another name."""

    async def add_api_key(self, key: ApiKey, label: str) -> None: ...

    async def api_key(self, key_id: str) -> ApiKey | None: ...

    @property
    def accounts(self) -> Accounts: ...

    async def close(self) -> None: ...
