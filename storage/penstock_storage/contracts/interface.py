"""The protocols of the stores. Implementations are named only where processes are wired together;
everything else depends on these protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy.typing as npt

from penstock.wire.run_fields import STORED_FIELDS, DescribedRun
from penstock_common.http.auth import ApiKey
from penstock_storage.contracts.account_rows import Accounts
from penstock_storage.contracts.ids import KeyNumber, Lane, Micros, RunNumber, SeriesId
from penstock_storage.contracts.lanes import LaneRow, LaneStart

__all__ = [
    "Accounts", "ApiKey", "Column", "Columns", "KeyNumber", "Lane", "LaneRow", "LaneStart", "Micros", "Move",
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
