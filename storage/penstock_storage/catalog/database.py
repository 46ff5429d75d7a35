"""The catalog's database, and all differences between SQLite and PostgreSQL.

SQLite: WAL, one writing connection per process whose transactions begin with the write lock (otherwise
a read that later writes could fail because the database changed), and synchronous=FULL: entries leave
the queue once the catalog has committed, so a power loss must not undo a commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Transient
from penstock_storage.catalog.file_lock import locked_file
from penstock_storage.catalog.vanished import notice_vanished

__all__ = ["Database", "lock_deletions", "with_driver"]

_BUSY_TIMEOUT_S = 30
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
)
# Transient errors of PostgreSQL by class or code, worth a retry: connection, a standby that has not taken
# over yet, conflicting transactions, locks, and lack of resources (disk, memory, connections).
_PASSING = ("08", "25006", "40", "53", "55P03", "57", "58")
_MALFORMED = ("database disk image is malformed", "file is not a database")
"""SQLite's messages about damaged pages. No batch is at fault for these."""
# Arbitrary numbers that no other application uses for advisory locks.
_SETUP_LOCK, _DELETIONS_LOCK, _STORES_LOCK = 0x70656E73, 0x70656E74, 0x70656E75
_LOCK_EVERY_S = 0.1


class Database:
    """Read and write transactions at an SQLAlchemy URL. Errors are raised as `Transient` if the database
    is unavailable, as `Broken` otherwise."""

    def __init__(self, url: str) -> None:
        self._is_closed = False
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self._file = make_url(url).database or ""
        if self.is_sqlite:
            self._reader = _sqlite_engine(url, "BEGIN", connections=4)
            self._writer = _sqlite_engine(url, "BEGIN IMMEDIATE", connections=1)
        else:
            self._reader = self._writer = create_async_engine(
                with_driver(url), pool_size=8, pool_pre_ping=True
            )
            notice_vanished(self._writer)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view of the database."""
        with _sorted_errors():
            async with self._transaction(self._reader) as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed when the block ends, rolled back if it raises."""
        with _sorted_errors():
            async with self._transaction(self._writer) as connection:
                yield connection

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with engine.connect() as connection:
            try:
                async with connection.begin():
                    yield connection
            finally:
                if self._is_closed:  # nobody closes what is returned to a pool that was closed
                    await connection.invalidate()

    async def lock_setup(self, connection: AsyncConnection) -> None:
        """Until the transaction ends, let no other process create tables."""
        if not self.is_sqlite:  # BEGIN IMMEDIATE has done it there
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_SETUP_LOCK})"))

    @asynccontextmanager
    async def setup_alone(self) -> AsyncIterator[None]:
        """Let no other process set up stores while the block runs. The lock ends with the process or its
        connection, and keeps nobody from reading or writing."""
        if self.is_sqlite:
            async with locked_file(f"{self._file}.setup", every_s=_LOCK_EVERY_S):
                yield
            return
        async with self.writing() as connection:
            # Of the transaction, since a pooler may give each of them another session; and asked again and
            # again, since a statement that waits would hold back the database's clean-up.
            lock = text(f"SELECT pg_try_advisory_xact_lock({_STORES_LOCK})")
            while not await connection.scalar(lock):
                await asyncio.sleep(_LOCK_EVERY_S)
            yield

    async def require_unicode(self, connection: AsyncConnection) -> None:
        """Raise `Broken` for a database that cannot store every name."""
        if self.is_sqlite:
            return
        encoding = await connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise Broken(f"the catalog's database must be encoded in UTF8, not in {encoding}")

    def insert_missing(self, table: Table) -> Any:
        """An INSERT that skips existing rows."""
        insert = sqlite.insert if self.is_sqlite else postgresql.insert
        return insert(table).on_conflict_do_nothing()

    async def raise_sequence(
        self, connection: AsyncConnection, table: Table, least: int = 0
    ) -> None:
        """After inserting rows with explicit numbers: assign only numbers above them, and above `least`,
        which a deleted row may have had."""
        if not self.is_sqlite:
            await connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'number'),"
                    f" GREATEST((SELECT max(number) FROM {table.name}), CAST(:least AS bigint),"
                    f" (SELECT last_value FROM {table.name}_number_seq)))"
                ),
                {"least": max(1, least)},
            )
        elif least:  # AUTOINCREMENT does the rest by itself
            names = {"name": table.name, "least": least}
            known = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
            if await connection.scalar(known, names) is None:
                added = "INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :least)"
                await connection.execute(text(added), names)
            raised = "UPDATE sqlite_sequence SET seq = max(seq, :least) WHERE name = :name"
            await connection.execute(text(raised), names)

    async def close(self) -> None:
        """Close all connections, those of transactions that go on once these have ended."""
        self._is_closed = True
        await self._reader.dispose()
        await self._writer.dispose()


async def lock_deletions(connection: AsyncConnection) -> None:
    """Until the transaction ends, block other deletions: tombstones must become visible in the order of
    their numbers."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_DELETIONS_LOCK})"))


def with_driver(url: str) -> URL:
    """The URL with the driver that Penstock uses, if it names none: operators of databases write
    `postgresql://` or `postgres://`."""
    parts = make_url(url)
    is_bare = parts.drivername in ("postgres", "postgresql")
    return parts.set(drivername="postgresql+asyncpg") if is_bare else parts


def _sqlite_engine(url: str, begin: str, *, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        # Without an isolation level, the driver begins no transactions by itself.
        connect_args={"timeout": _BUSY_TIMEOUT_S, "isolation_level": None},
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_BUSY_TIMEOUT_S,
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Dialect, _: object, args: list[Any], options: dict[str, Any]) -> Any:
        connection = dialect.connect(*args, **options)
        try:
            cursor = connection.cursor()
            for pragma in _PRAGMAS:
                _execute_patiently(cursor, pragma)
            cursor.close()
        except BaseException:
            connection.close()
            raise
        return connection

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _execute_patiently(cursor: Any, pragma: str) -> None:
    """Switching a new file to WAL fails at once, regardless of the timeout, while another process does it."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute(pragma)
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
        await_only(asyncio.sleep(0.02))


@contextlib.contextmanager
def _sorted_errors() -> Any:
    try:
        yield
    except (OperationalError, TimeoutError, OSError) as error:
        raise Transient(
            f"the catalog cannot be reached: {_reason(error)}", code=ErrorCode.CATALOG_UNREACHABLE
        ) from error
    except DBAPIError as error:
        if any(text in str(error.orig) for text in _MALFORMED):
            raise Transient(
                f"the catalog is damaged: {_reason(error)}", code=ErrorCode.CATALOG_DAMAGED
            ) from error
        if error.connection_invalidated:
            raise Transient(
                f"the catalog's connection broke: {_reason(error)}",
                code=ErrorCode.CATALOG_UNREACHABLE,
            ) from error
        if str(getattr(error.orig, "sqlstate", None) or "").startswith(_PASSING):
            raise Transient(
                f"the catalog cannot serve now: {_reason(error)}",
                code=ErrorCode.CATALOG_UNREACHABLE,
            ) from error
        raise Broken(f"the catalog refuses: {_reason(error)}") from error
    except SQLAlchemyError as error:
        raise Broken(f"the catalog fails: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    # The driver's own message: SQLAlchemy's would repeat the statement with all values.
    return str(getattr(error, "orig", None) or error).splitlines()[0]
